"""Connecting a name that the tenant owns: the claim, what to publish for it, and its end."""

from __future__ import annotations

from sqlalchemy import exists, select, update
from sqlalchemy.orm import Session

from app import clock, errors
from app.database.models import (
    Domain,
    DomainConnection,
    DomainStatus,
    Inbox,
    InboxStatus,
    StepName,
    Tenant,
)
from app.integrations import ports
from app.rules import domain_claims, hostnames, limits
from app.rules.dns_records import Record
from app.services import dkim_keys, domain_brought, domain_setup, domain_steps, notices
from app.services.subscription_service import SubscriptionService
from app.utils import security

MANUAL, NAMESERVERS = "manual", "nameservers"

_STEPS = {
    MANUAL: (StepName.OWNERSHIP, StepName.VERIFICATION, StepName.AUTHORIZATION),
    NAMESERVERS: (
        StepName.OWNERSHIP,
        StepName.ZONE,
        StepName.RECORDS,
        StepName.DELEGATION,
        StepName.VERIFICATION,
        StepName.AUTHORIZATION,
    ),
}
_OVER = (DomainStatus.FAILED, DomainStatus.EXPIRED, DomainStatus.DELETED)


def connect(
    tenant: Tenant,
    domain_name: str,
    dns: str,
    db: Session,
    *,
    providers: ports.Providers | None = None,
) -> Domain:
    """Claim a name; nothing is published or signed for it before it is proven.

    Asking again for a claim that waits for its proof gives the same one, with the same token.
    Raises Invalid, Conflict, DomainLimitExceeded, TenantSuspended and TrialExpired.
    """
    providers = providers or ports.current()
    name = _checked(domain_name, dns)
    if domain_claims.registrable(name) == domain_claims.registrable(providers.platform.mail_zone):
        raise errors.Invalid("This name is the platform's own.", domain_name=name)
    # Two requests of one tenant come one after the other: the limit is counted under the lock.
    tenant = db.scalars(
        select(Tenant)
        .where(Tenant.id == tenant.id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).one()
    SubscriptionService.require_active(tenant, db)
    there = db.scalars(
        select(Domain).where(Domain.domain_name == name, Domain.status.not_in(_OVER))
    ).one_or_none()
    if there is not None:
        return _same(there, dns, db)
    allowed = SubscriptionService.limits_of(tenant)
    match limits.check_domains(allowed, tenant.domains_count, 1):
        case limits.Denied(limit, used, requested):
            raise errors.DomainLimitExceeded(limit=limit, used=used, requested=requested)
        case limits.Allowed():
            pass
    domain = Domain(
        tenant_id=tenant.id,
        domain_name=name,
        status=DomainStatus.VERIFYING_OWNERSHIP,
        auto_renew=False,
    )
    db.add(domain)
    db.flush()  # Steps, connection and key refer to its id.
    tenant.domains_count += 1
    now = clock.now()
    db.add(
        DomainConnection(
            tenant_id=tenant.id,
            domain_id=domain.id,
            dns=dns,
            token=security.new_token(),
            next_look_at=now + domain_claims.pause(now, now),
        )
    )
    domain_steps.plan(domain, db, _STEPS[dns])
    domain_steps.begin(domain, StepName.OWNERSHIP, db)
    if dns == MANUAL:
        # With the key all records are known now, and the owner sets them in one go.
        domain.dkim_selector = dkim_keys.make(domain, db).selector
        db.flush()  # The key is read again for its record.
        records = domain_setup.wanted_records(domain, providers.platform, db)
        domain.dns_records = [domain_setup.as_json(record) for record in records]
    domain_steps.move(
        domain,
        "domain_connection_requested",
        db,
        domain_name=[None, name],
        dns=[None, dns],
    )
    _call_for_lookalikes(domain, db)
    return domain


def required_records(domain: Domain, db: Session) -> list[Record]:
    """What the owner has to publish: the proof, and with manual DNS all the rest."""
    connection = domain_brought.connection_of(domain, db)
    if connection is None:
        raise errors.NotFound(resource="connection")
    proof = Record(
        "TXT",
        domain_claims.challenge_name(domain.domain_name),
        domain_claims.challenge_value(connection.token),
        purpose="ownership",
    )
    return [proof, *(domain_setup.planned(domain) if connection.dns == MANUAL else ())]


def disconnect(domain: Domain, db: Session, *, providers: ports.Providers | None = None) -> None:
    """Let go of a connected name: it no longer sends, and its place in the plan is free.

    Records that we published stay until the zone is given up, so that mail under way still passes.
    Raises Conflict for a name that was bought or has inboxes; a repeat changes nothing.
    """
    providers = providers or ports.current()
    domain = domain_steps.lock(domain.id, db)
    if domain.registrar_provider is not None or domain_brought.connection_of(domain, db) is None:
        raise errors.Conflict("This name was bought here; it was never connected.")
    if domain.status in _OVER:
        return
    living = exists().where(Inbox.domain_id == domain.id, Inbox.status != InboxStatus.DELETED)
    if db.scalar(select(living)):
        raise errors.Conflict("Delete the inboxes of this name first.")
    release(domain, "domain_disconnected", "disconnected by its owner", providers, db)


def release(domain: Domain, action: str, why: str, providers: ports.Providers, db: Session) -> None:
    """End a connection: the relay forgets the name, and its place in the plan is free again."""
    stop(domain, providers)
    domain.failure = why
    domain_steps.move(domain, action, db, status=DomainStatus.EXPIRED, failure=[None, why])
    db.execute(
        update(Tenant)
        .where(Tenant.id == domain.tenant_id)
        .values(domains_count=Tenant.domains_count - 1)
        .execution_options(synchronize_session="fetch")
    )


def stop(domain: Domain, providers: ports.Providers) -> None:
    """Have the relay send and sign nothing more for the name. Repeats are harmless."""
    if domain.kumo_authorized:
        providers.mail.remove_relay(domain.domain_name)
        providers.mail.reload()
        domain.kumo_authorized = False


def _checked(domain_name: str, dns: str) -> str:
    try:
        name = domain_claims.owned(domain_name)
    except hostnames.BadName as error:
        raise errors.Invalid(f"{error}.", domain_name=domain_name) from None
    if dns not in _STEPS:
        raise errors.Invalid("dns is manual or nameservers.", dns=dns)
    if dns == NAMESERVERS and domain_claims.registrable(name) != name:
        raise errors.Invalid(
            "Only a registered name can be moved to our name servers; connect a name below it with"
            " dns=manual.",
            domain_name=name,
        )
    return name


def _same(there: Domain, dns: str, db: Session) -> Domain:
    connection = domain_brought.connection_of(there, db)
    waits = there.status == DomainStatus.VERIFYING_OWNERSHIP
    if connection is None or not waits or connection.dns != dns:
        raise errors.Conflict(
            "You have this name already. To connect it in another way, disconnect it first.",
            domain_id=str(there.id),
            status=str(there.status),
        )
    return there


def _call_for_lookalikes(domain: Domain, db: Session) -> None:
    """A name like a brand's may be the brand's own, or a phisher's: a person looks at it."""
    labels = domain_claims.registrable(domain.domain_name).split(".")
    brand = hostnames.lookalike(labels[0])
    if brand is not None:
        notices.alert(
            db,
            "domain_lookalike",
            str(domain.id),
            f"{domain.domain_name} was claimed and looks like {brand}.",
            tenant_id=domain.tenant_id,
        )
