"""A name that its tenant lets go of, and what is left of it in DNS.

First it falls silent: its inboxes end, the relay forgets it. A week later, when no mail is under
way any more, our records go; the zone too, unless its owner has records of their own there.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from sqlalchemy import or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app import clock, errors, events
from app.database import outbox
from app.database.models import (
    Domain,
    DomainPurchase,
    DomainStatus,
    DomainStep,
    Inbox,
    InboxStatus,
    PurchaseKind,
    PurchaseState,
    StepName,
    Tenant,
)
from app.integrations import ports
from app.rules import limits
from app.services import domain_connection, domain_life, domain_renewal, domain_steps
from app.services.inbox_service import InboxService
from app.services.subscription_service import SubscriptionService

KEEP_RECORDS = timedelta(days=7)
"""Mail under way is verified by them for as long as queues live."""

_DELETABLE = (DomainStatus.ACTIVE, DomainStatus.EXPIRED)
_SET_UP_AGAIN = (
    StepName.ZONE,
    StepName.RECORDS,
    StepName.DELEGATION,
    StepName.VERIFICATION,
    StepName.AUTHORIZATION,
)


def delete(
    domain_id: UUID,
    db: Session,
    *,
    with_inboxes: bool = False,
    providers: ports.Providers | None = None,
) -> None:
    """Let go of a name; until the end of its term it can be had back. A repeat changes nothing.

    A bought name stays registered until its term ends and is not renewed. Raises NotFound, and
    Conflict while it is being set up or renewed, or while it has inboxes and `with_inboxes` does
    not say that they go too.
    """
    providers = providers or ports.current()
    domain = db.get(Domain, domain_id)
    if domain is None:
        raise errors.NotFound(resource="domain")
    if domain.status == DomainStatus.DELETED:
        return
    # Inboxes lock the tenant first, so they come before the name is locked.
    _end_inboxes(domain, db, agreed=with_inboxes)
    if domain.registrar_provider is None:
        domain_connection.disconnect(domain, db, providers=providers)
        return
    domain = domain_steps.lock(domain_id, db)
    if domain.status not in _DELETABLE:
        raise errors.Conflict(
            "This name is still being set up, or has failed.", status=str(domain.status)
        )
    _end_order(domain, db)
    counted = domain.status == DomainStatus.ACTIVE
    domain_connection.stop(domain, providers)
    domain.auto_renew, domain.failure = False, None
    domain_steps.move(domain, "domain_deleted", db, status=DomainStatus.DELETED)
    if counted:
        _count(domain, -1, db)


def restore(domain: Domain, db: Session, *, providers: ports.Providers | None = None) -> Domain:
    """Have a deleted name back, while its term lasts; it is set up anew and counts again.

    Raises Conflict, DomainLimitExceeded, TenantSuspended, TrialExpired and provider errors.
    """
    providers = providers or ports.current()
    tenant = db.scalars(
        select(Tenant)
        .where(Tenant.id == domain.tenant_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).one()
    SubscriptionService.require_active(tenant, db)
    domain = domain_steps.lock(domain.id, db)
    if domain.status != DomainStatus.DELETED:
        raise errors.Conflict("This name was not deleted.", status=str(domain.status))
    registrar = providers.at(domain.registrar_provider).registrar
    ends_at = domain.expiry_date
    if registrar.find(domain.domain_name) is None or (ends_at and ends_at <= clock.now()):
        raise errors.Conflict("Its term is over; search for it and buy it again.")
    allowed = SubscriptionService.limits_of(tenant)
    match limits.check_domains(allowed, tenant.domains_count, 1):
        case limits.Denied(limit, used, requested):
            raise errors.DomainLimitExceeded(limit=limit, used=used, requested=requested)
        case limits.Allowed():
            pass
    db.execute(
        update(DomainStep)
        .where(DomainStep.domain_id == domain.id, DomainStep.name.in_(_SET_UP_AGAIN))
        .values(state=domain_steps.PENDING, started_at=None, finished_at=None, detail=None)
    )
    domain.auto_renew = True
    try:
        # The unique index decides: the name may have another living owner here.
        with db.begin_nested():
            domain_steps.move(domain, "domain_restored", db, status=DomainStatus.REGISTERED)
            db.flush()  # Now, so that the index speaks before anything else is written.
    except IntegrityError:
        raise errors.DomainTaken(domain_name=domain.domain_name) from None
    _count(domain, 1, db)
    outbox.record(db, events.DomainOwnershipProven(tenant_id=tenant.id, domain_id=domain.id))
    return domain


def restore_by_name(domain_name: str, db: Session) -> UUID:
    """What an operator does for a tenant; raises NotFound when no such name was deleted."""
    found = db.scalars(
        select(Domain)
        .where(Domain.domain_name == domain_name.lower(), Domain.status == DomainStatus.DELETED)
        .order_by(Domain.updated_at.desc())
        .limit(1)
    ).one_or_none()
    if found is None:
        raise errors.NotFound(resource="deleted domain")
    return restore(found, db).id


def overview(db: Session) -> list[dict[str, object]]:
    """Names on their way out, for operators; expects a session that sees all tenants."""
    rows = db.scalars(
        select(Domain)
        .where(
            Domain.transfer_out_at.is_not(None)
            | ((Domain.status == DomainStatus.DELETED) & Domain.cloudflare_zone_id.is_not(None))
        )
        .order_by(Domain.updated_at)
    )
    return [
        {
            "domain": domain.domain_name,
            "domain_id": str(domain.id),
            "tenant_id": str(domain.tenant_id),
            "status": str(domain.status),
            "transfer_since": domain.transfer_out_at and domain.transfer_out_at.isoformat(),
            "records_until": None
            if domain.status != DomainStatus.DELETED
            else (domain.updated_at + KEEP_RECORDS).isoformat(),
        }
        for domain in rows
    ]


# What is left in DNS ----------------------------------------------------------------------------


def due(db: Session) -> list[Domain]:
    """Names whose zone is of no use any more, of all tenants."""
    return list(
        db.scalars(
            select(Domain)
            .where(
                Domain.cloudflare_zone_id.is_not(None),
                Domain.updated_at < clock.now() - KEEP_RECORDS,
                or_(
                    Domain.status == DomainStatus.DELETED,
                    (Domain.status == DomainStatus.EXPIRED)
                    & (
                        Domain.registrar_provider.is_(None)
                        | (Domain.failure == domain_life.RELEASED)
                    ),
                ),
            )
            .order_by(Domain.id)
        )
    )


def clean_up(domain_id: UUID, db: Session, *, providers: ports.Providers | None = None) -> None:
    """Take our records out of the zone, and the zone away if nobody else's are in it.

    Repeats are harmless. A name that another tenant has meanwhile keeps its zone, which is theirs.
    """
    providers = providers or ports.current()
    domain = domain_steps.lock(domain_id, db)
    zone_id = domain.cloudflare_zone_id
    if zone_id is None or domain.status not in (DomainStatus.DELETED, DomainStatus.EXPIRED):
        return
    others = select(Domain.id).where(Domain.cloudflare_zone_id == zone_id, Domain.id != domain.id)
    gone = False
    if db.scalars(others).first() is None:
        gone = providers.dns.remove_zone(zone_id)
    domain.cloudflare_zone_id, domain.dns_records = None, []
    domain_steps.move(
        domain, "domain_records_removed", db, zone=[zone_id, None if gone else "kept by others"]
    )


def _end_inboxes(domain: Domain, db: Session, *, agreed: bool) -> None:
    living = db.scalars(
        select(Inbox.id)
        .where(Inbox.domain_id == domain.id, Inbox.status != InboxStatus.DELETED)
        .order_by(Inbox.id)
    ).all()
    if living and not agreed:
        raise errors.Conflict(
            "This name has inboxes. Delete them first, or repeat with with_inboxes=true.",
            inboxes=len(living),
        )
    for inbox_id in living:
        InboxService.delete(inbox_id, db)


def _end_order(domain: Domain, db: Session) -> None:
    """Nothing more is paid for the name; what is being renewed this moment is awaited."""
    order = db.scalars(
        select(DomainPurchase)
        .where(
            DomainPurchase.domain_id == domain.id,
            DomainPurchase.kind == PurchaseKind.RENEWAL,
            DomainPurchase.state.in_(domain_renewal.LIVE),
        )
        .with_for_update()
    ).first()
    if order is None:
        return
    if order.state == PurchaseState.AUTHORISED:
        raise errors.Conflict("This name is being renewed. Try again in a moment.")
    outbox.record(db, events.DomainQuoteAbandoned(tenant_id=order.tenant_id, purchase_id=order.id))


def _count(domain: Domain, step: int, db: Session) -> None:
    db.execute(
        update(Tenant)
        .where(Tenant.id == domain.tenant_id)
        .values(domains_count=Tenant.domains_count + step)
        .execution_options(synchronize_session="fetch")
    )
