"""From a registered name to one that sends: zone, records, delegation, verification, relay.

Each function is one step: one transaction, at most one change outside, harmless when repeated. The
provider calls here are safe to repeat, so a step simply runs again after a fault.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from app import clock, errors, events
from app.database import outbox
from app.database.models import (
    Domain,
    DomainStatus,
    StepName,
)
from app.integrations import ports
from app.rules import dns_coexist, dns_records
from app.services import dkim_keys, domain_brought, domain_steps, domain_views
from app.services.domain_steps import NotYet

KEY_BITS = 2048
"""The least that RFC 8301 recommends for signers, and the most that fits every resolver."""

REFUSED_SECONDS = 900.0
"""A provider that said no is asked again this often: an operator may have mended the cause."""

PATIENCE = timedelta(hours=72)
"""Delegations are seen everywhere within two days; after three something is wrong."""

SLOWEST_LOOK = 900.0
LATE_LOOK = 6 * 3600.0


def create_zone(
    domain_id: UUID, db: Session, *, providers: ports.Providers | None = None
) -> NotYet | None:
    """Have a zone for the name, and a key to sign with."""
    providers = providers or ports.current()
    domain = domain_steps.lock(domain_id, db)
    if domain.status != DomainStatus.REGISTERED:
        return None

    if domain.registrar_provider is None:
        waits = domain_brought.make_ready(domain, providers, db)
        if waits is not None:
            return waits

    def work() -> None:
        zone = providers.dns.ensure_zone(domain.domain_name)
        domain.cloudflare_zone_id, domain.name_servers = zone.id, list(zone.name_servers)
        if domain.dkim_selector is None:
            domain.dkim_selector = dkim_keys.make(domain, db).selector
        domain_steps.finish(domain, StepName.ZONE, db, then=StepName.RECORDS)
        domain_steps.move(
            domain,
            "domain_zone_created",
            db,
            status=DomainStatus.CONFIGURING_DNS,
            dkim_selector=[None, domain.dkim_selector],
        )
        outbox.record(db, events.DomainZoneCreated(tenant_id=domain.tenant_id, domain_id=domain.id))

    return _attempt(domain, StepName.ZONE, work, db)


def publish_records(
    domain_id: UUID, db: Session, *, providers: ports.Providers | None = None
) -> NotYet | None:
    """Write our records into the zone; a customer's own are left alone."""
    providers = providers or ports.current()
    domain = domain_steps.lock(domain_id, db)
    if domain.status != DomainStatus.CONFIGURING_DNS or domain_steps.is_done(
        domain, StepName.RECORDS, db
    ):
        return None
    zone_id = domain.cloudflare_zone_id
    if zone_id is None:
        raise errors.Conflict("The name has no zone yet.", domain_name=domain.domain_name)

    def work() -> None:
        records = wanted_records(domain, providers.platform, db)
        providers.dns.apply(zone_id, [ports.DNSRecord(**asdict(record)) for record in records])
        domain.dns_records = [as_json(record) for record in records]
        domain_steps.finish(domain, StepName.RECORDS, db, then=StepName.DELEGATION)
        domain_steps.move(domain, "domain_records_published", db, records=[None, len(records)])
        outbox.record(
            db, events.DomainRecordsPublished(tenant_id=domain.tenant_id, domain_id=domain.id)
        )

    return _attempt(domain, StepName.RECORDS, work, db)


def delegate(
    domain_id: UUID, db: Session, *, providers: ports.Providers | None = None
) -> NotYet | None:
    """Point the name at the name servers of its zone."""
    providers = providers or ports.current()
    domain = domain_steps.lock(domain_id, db)
    if domain.status != DomainStatus.CONFIGURING_DNS or not domain_steps.is_done(
        domain, StepName.RECORDS, db
    ):
        return None

    if domain.registrar_provider is None and not domain_brought.is_delegated(
        domain, providers.resolver
    ):
        return domain_brought.wait_for_delegation(domain, providers.resolver, db)

    def work() -> None:
        if domain.registrar_provider is not None:
            registrar = providers.at(domain.registrar_provider).registrar
            registrar.set_nameservers(domain.domain_name, domain.name_servers)
        domain_steps.finish(domain, StepName.DELEGATION, db, then=StepName.VERIFICATION)
        domain_steps.move(
            domain,
            "domain_delegated",
            db,
            status=DomainStatus.VERIFYING_DNS,
            name_servers=[None, domain.name_servers],
        )
        outbox.record(db, events.DomainDelegated(tenant_id=domain.tenant_id, domain_id=domain.id))

    return _attempt(domain, StepName.DELEGATION, work, db)


def verify_dns(
    domain_id: UUID, db: Session, *, providers: ports.Providers | None = None
) -> NotYet | None:
    """Ask the DNS, as any receiver would, until every record is seen as we want it.

    It never stops looking. After PATIENCE the step shows as failed with what is missing, and is
    looked at every six hours, so that a late cure is still noticed.
    """
    providers = providers or ports.current()
    domain = domain_steps.lock(domain_id, db)
    if domain.status != DomainStatus.VERIFYING_DNS:
        return None
    row = domain_steps.begin(domain, StepName.VERIFICATION, db)
    verdicts = inspect(domain, providers.resolver)
    if not verdicts:
        raise errors.Conflict("The name has no records yet.", domain_name=domain.domain_name)
    conflicts = domain_brought.conflicts(domain, planned(domain), providers.resolver)
    if conflicts:
        return domain_brought.wait_for_cure(domain, row, conflicts[0], db)
    bad = [verdict for verdict in verdicts if not verdict.ok]
    if not bad:
        domain_steps.finish(domain, StepName.VERIFICATION, db, then=StepName.AUTHORIZATION)
        domain_steps.move(domain, "domain_dns_verified", db, status=DomainStatus.AUTHORIZING)
        outbox.record(db, events.DomainVerified(tenant_id=domain.tenant_id, domain_id=domain.id))
        return None
    first = bad[0]
    why = (
        f"{len(verdicts) - len(bad)} of {len(verdicts)} records are seen; {first.record.type}"
        f" {first.record.name}: {first.difference}"
    )
    if row.started_at is not None and clock.now() - row.started_at >= PATIENCE:
        if row.state != domain_steps.FAILED:
            domain_steps.give_up(domain, row, why)
            domain_steps.move(domain, "domain_dns_overdue", db, failure=[None, why[:500]])
        return domain_steps.wait(row, LATE_LOOK, why)
    return domain_steps.wait(row, min(1.5 ** min(row.attempts, 20), SLOWEST_LOOK), why)


def authorize_in_kumo(
    domain_id: UUID, db: Session, *, providers: ports.Providers | None = None
) -> NotYet | None:
    """Allow the relay to send and sign for the name; with that it is active."""
    providers = providers or ports.current()
    domain = domain_steps.lock(domain_id, db)
    if domain.status != DomainStatus.AUTHORIZING or domain.dkim_selector is None:
        return None
    selector = domain.dkim_selector

    def work() -> None:
        providers.mail.add_relay(
            domain.domain_name, tenant_id=str(domain.tenant_id), selector=selector
        )
        providers.mail.reload()
        domain_steps.finish(domain, StepName.AUTHORIZATION, db)
        domain.kumo_authorized = True
        domain_steps.move(
            domain,
            "domain_activated",
            db,
            status=DomainStatus.ACTIVE,
            kumo_authorized=[False, True],
        )
        outbox.record(db, events.DomainActivated(tenant_id=domain.tenant_id, domain_id=domain.id))

    return _attempt(domain, StepName.AUTHORIZATION, work, db)


def _attempt(
    domain: Domain, name: StepName, work: Callable[[], None], db: Session
) -> NotYet | None:
    """Do `work`; a provider's clear no is shown on the step and tried again after a while.

    One that says when to come back is waited for, however often: that is no failure. Any other
    ProviderUnavailable passes through: the job runner waits and repeats.
    """
    row = domain_steps.begin(domain, name, db)
    try:
        work()
    except errors.ProviderUnavailable as wait:
        if "retry_after" not in wait.details:
            raise
        why = f"{wait.message} {wait.details.get('reason', '')}".strip()
        return domain_steps.wait(row, float(wait.details["retry_after"]), why)
    except errors.ProviderFailed as refusal:
        if row.state != domain_steps.FAILED:
            domain_steps.give_up(domain, row, refusal.message)
            domain_steps.move(domain, f"domain_{name}_refused", db, failure=[None, refusal.message])
        return domain_steps.wait(row, REFUSED_SECONDS, refusal.message)
    return None


# Keys and records -------------------------------------------------------------------------------


def wanted_records(
    domain: Domain, platform: ports.Platform, db: Session
) -> tuple[dns_records.Record, ...]:
    """What the zone of `domain` must hold. Raises NotFound before it has a signing key."""
    key = dkim_keys.in_use(domain, db)
    records = dns_records.wanted(
        domain.domain_name,
        mail_zone=platform.mail_zone,
        selector=key.selector,
        public_key=key.public_key,
        other_keys=[(other.selector, other.public_key) for other in dkim_keys.beside(domain, db)],
        dmarc_policy=domain.dmarc_policy,
        tracking_host=platform.tracking_host,
        mta_sts=platform.mta_sts_mode,
    )
    kept = domain_brought.kept(domain, db)
    return tuple(record for record in records if record.purpose not in kept)


def as_json(record: dns_records.Record) -> dict[str, Any]:
    """How a record stands in `domains.dns_records`."""
    return {name: value for name, value in asdict(record).items() if value is not None}


def planned(domain: Domain) -> list[dns_records.Record]:
    """The records that were last published for the name."""
    return [dns_records.Record(**fields) for fields in domain.dns_records]


def inspect(domain: Domain, resolver: ports.DNSResolver) -> tuple[dns_records.Verdict, ...]:
    """Wanted against seen, record by record, by real queries.

    A name whose servers do not answer yet is not seen yet: that is what is being found out. Beside
    the records of a name's owner ours may have to look otherwise.
    """
    records: Sequence[dns_records.Record] = planned(domain)
    if domain.registrar_provider is None:
        seen = domain_brought.look(dns_records.questions(records), resolver)
        records = dns_coexist.adapt(records, seen)
    return domain_views.inspect(records, resolver)
