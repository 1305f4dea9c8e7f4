"""The Magic Button: exactly N inboxes, or none."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app import errors, events
from app.database import audit, outbox
from app.database.models import (
    Domain,
    DomainStatus,
    Inbox,
    InboxStatus,
    Provision,
    Tenant,
    new_id,
)
from app.database.session import transaction
from app.integrations import ports
from app.rules import exports, limits, naming
from app.services import inbox_batch
from app.services.subscription_service import SubscriptionService
from app.utils import monitoring

MAX_AT_ONCE = 25_000
EXPORT_BLOCK = 1_000


@dataclass(frozen=True)
class NewInbox:
    id: UUID
    full_email: str
    status: str = "pending"


@dataclass(frozen=True)
class ProvisionResult:
    provision_id: UUID
    domain: str
    inboxes: list[NewInbox]
    csv_data: str = field(repr=False)
    """The generic CSV, passwords in clear: shown once."""
    duration_ms: int

    @property
    def inboxes_created(self) -> int:
        return len(self.inboxes)


class ProvisioningService:
    @staticmethod
    def provision_inboxes(
        tenant_id: UUID,
        domain_id: UUID | Sequence[UUID],
        inbox_count: int = 50,
        naming_convention: str = "firstname",
        *,
        names: Sequence[str] | None = None,
        db: Session | None = None,
        platform: ports.Platform | None = None,
    ) -> ProvisionResult:
        """Make `inbox_count` inboxes, spread over the given domains, in one transaction.

        Without `db` it opens and commits its own. The inboxes are pending until the relay has
        acknowledged them. Raises Invalid, NotFound, DomainNotReady, InboxLimitExceeded,
        TenantSuspended, TrialExpired; nothing is made then.
        """
        began = time.perf_counter()
        _check_form(inbox_count, naming_convention, names)
        platform = platform or ports.current().platform
        domain_ids = [domain_id] if isinstance(domain_id, UUID) else list(dict.fromkeys(domain_id))
        with nullcontext(db) if db is not None else transaction(tenant=tenant_id) as session:
            tenant = _lock_tenant(tenant_id, session)
            SubscriptionService.require_active(tenant, session)
            _check_room(tenant, inbox_count)
            domains = _ready_domains(domain_ids, session)
            batch = inbox_batch.draw(domains, inbox_count, naming_convention, names, session)
            provision = Provision(
                id=new_id(),
                tenant_id=tenant.id,
                domain_id=domains[0].id,
                inbox_count=inbox_count,
                naming_convention=naming_convention,
            )
            session.add(provision)
            session.flush()  # The inboxes refer to it.
            batch.insert(session, tenant, provision)
            tenant.inboxes_count += inbox_count
            outbox.record(
                session, events.InboxesProvisioned(tenant_id=tenant.id, provision_id=provision.id)
            )
        monitoring.PROVISIONED.inc(inbox_count)
        return ProvisionResult(
            provision_id=provision.id,
            domain=domains[0].domain_name,
            inboxes=[
                NewInbox(id_, email) for id_, email in zip(batch.ids, batch.emails, strict=True)
            ],
            csv_data="".join(exports.lines("generic", batch.credentials(platform))),
            duration_ms=round((time.perf_counter() - began) * 1000),
        )

    @staticmethod
    def csv_lines(
        tenant_id: UUID,
        db: Session,
        *,
        fmt: str = "generic",
        provision_id: UUID | None = None,
        domain_id: UUID | None = None,
        inbox_ids: Sequence[UUID] | None = None,
        platform: ports.Platform | None = None,
    ) -> Iterator[str]:
        """A credential file of the tenant's living inboxes, read in blocks, for streaming.

        Whoever gets it is written down. Raises Invalid, and NotFound for a provision, domain or
        inbox that is not there: a file that lacks some silently would be taken for complete.
        """
        if fmt not in exports.FORMATS:
            raise errors.Invalid(f"format must be one of {', '.join(exports.FORMATS)}.", format=fmt)
        _must_exist(db, provision_id, domain_id, inbox_ids)
        _tell_of_export(tenant_id, fmt, provision_id, domain_id, inbox_ids, db)
        wanted = select(Inbox).where(Inbox.status != InboxStatus.DELETED)
        if provision_id is not None:
            wanted = wanted.where(Inbox.provision_id == provision_id)
        if domain_id is not None:
            wanted = wanted.where(Inbox.domain_id == domain_id)
        if inbox_ids is not None:
            wanted = wanted.where(Inbox.id.in_(inbox_ids))
        rows = db.scalars(wanted.order_by(Inbox.id).execution_options(yield_per=EXPORT_BLOCK))
        platform = platform or ports.current().platform
        return exports.lines(fmt, (inbox_batch.credential_of(inbox, platform) for inbox in rows))


def _must_exist(
    db: Session,
    provision_id: UUID | None,
    domain_id: UUID | None,
    inbox_ids: Sequence[UUID] | None,
) -> None:
    if provision_id is not None and db.get(Provision, provision_id) is None:
        raise errors.NotFound(resource="provision")
    if domain_id is not None and db.get(Domain, domain_id) is None:
        raise errors.NotFound(resource="domain")
    if inbox_ids is None:
        return
    living = select(func.count(Inbox.id)).where(
        Inbox.id.in_(inbox_ids), Inbox.status != InboxStatus.DELETED
    )
    if db.scalar(living) != len(set(inbox_ids)):
        raise errors.NotFound(resource="inbox")


def _tell_of_export(
    tenant_id: UUID,
    fmt: str,
    provision_id: UUID | None,
    domain_id: UUID | None,
    inbox_ids: Sequence[UUID] | None,
    db: Session,
) -> None:
    changes: dict[str, list[object]] = {"format": [None, fmt]}
    if inbox_ids is not None:
        changes["inbox_ids"] = [None, list(inbox_ids)]
    kind, id_ = "tenant", tenant_id
    if provision_id is not None:
        kind, id_ = "provision", provision_id
    elif domain_id is not None:
        kind, id_ = "domain", domain_id
    audit.write(db, tenant_id, "credentials_exported", kind, id_, changes)


def _check_form(count: int, convention: str, names: Sequence[str] | None) -> None:
    if not 1 <= count <= MAX_AT_ONCE:
        raise errors.Invalid(f"inbox_count must be from 1 to {MAX_AT_ONCE}.", inbox_count=count)
    if convention not in naming.CONVENTIONS:
        raise errors.Invalid(
            f"naming_convention must be one of {', '.join(naming.CONVENTIONS)}.",
            naming_convention=convention,
        )
    if (convention == "custom") != (names is not None):
        raise errors.Invalid("names are given with naming_convention custom, and only with it.")


def _lock_tenant(tenant_id: UUID, db: Session) -> Tenant:
    """Parallel calls queue here, so that together they never pass the plan's limit."""
    tenant = db.scalars(
        select(Tenant)
        .where(Tenant.id == tenant_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()
    if tenant is None:
        raise errors.NotFound(resource="tenant")
    return tenant


def _check_room(tenant: Tenant, count: int) -> None:
    verdict = limits.check_inboxes(
        SubscriptionService.limits_of(tenant), tenant.inboxes_count, count
    )
    if isinstance(verdict, limits.Denied):
        raise errors.InboxLimitExceeded(
            limit=verdict.limit, used=verdict.used, requested=verdict.requested
        )


def _ready_domains(domain_ids: Sequence[UUID], db: Session) -> list[Domain]:
    found = {d.id: d for d in db.scalars(select(Domain).where(Domain.id.in_(domain_ids)))}
    if not domain_ids or len(found) != len(domain_ids):
        raise errors.NotFound(resource="domain")
    domains = [found[id_] for id_ in domain_ids]
    for domain in domains:
        if domain.status != DomainStatus.ACTIVE or not domain.kumo_authorized:
            raise errors.DomainNotReady(domain_name=domain.domain_name, status=str(domain.status))
    return domains
