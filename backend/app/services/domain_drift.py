"""Records that somebody deleted or altered after the name was active: found, put back, or told.

A look asks the DNS as a receiver would. What differs is put back in the zone, where only our own
records are touched; what putting back cannot cure (a second SPF record of the customer's, name
servers that are not ours) stands on the name as its failure until it is gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import errors, events
from app.database import outbox
from app.database.models import Domain, DomainStatus, NoticeKind
from app.integrations import ports
from app.rules import dns_records, dns_views
from app.rules.dns_records import Record
from app.services import domain_delegation, domain_setup, domain_steps, domain_views, notices

MARK = "DNS: "
"""How a failure begins that a look at the DNS has written, and that it may take away again."""


def due(db: Session) -> list[Domain]:
    """Every name that sends, of all tenants: those whose zone we hold, and those set by hand."""
    return list(
        db.scalars(select(Domain).where(Domain.status == DomainStatus.ACTIVE).order_by(Domain.id))
    )


def overview(db: Session) -> list[dict[str, object]]:
    """Names whose DNS is not as it should be, for operators; the session sees all tenants."""
    return [
        {
            "domain": domain.domain_name,
            "domain_id": str(domain.id),
            "tenant_id": str(domain.tenant_id),
            "difference": domain.failure,
        }
        for domain in due(db)
        if (domain.failure or "").startswith(MARK)
    ]


def look(domain_id: UUID, db: Session, *, providers: ports.Providers | None = None) -> None:
    """Compare one name with its records and put back what is ours. Repeats are harmless.

    Raises ProviderUnavailable when no server answers: then it is not known what is published, and
    nothing is changed or told.
    """
    providers = providers or ports.current()
    domain = domain_steps.lock(domain_id, db)
    zone_id = domain.cloudflare_zone_id
    if domain.status != DomainStatus.ACTIVE:
        return
    if zone_id is None:
        _look_at_theirs(domain, providers, db)
        return
    records = domain_setup.wanted_records(domain, providers.platform, db)
    if _plan(domain, records):
        _publish(domain, zone_id, records, providers, db)
        return
    lost = domain_delegation.lost(domain, providers.resolver)
    if lost is not None:
        why = domain_delegation.put_back(domain, lost, MARK, db, providers)
        if why is not None:
            _tell(domain, why, db)
        return
    verdicts = domain_views.inspect_or_wait(records, providers.resolver)
    wrong = [verdict for verdict in verdicts if dns_views.differs(verdict)]
    if not wrong:
        _cured(domain, db)
        return
    try:
        changed = providers.dns.apply(zone_id, _as_sent(records))
    except errors.ProviderFailed as refusal:
        _tell(domain, f"{_words(wrong)}; it cannot be put back: {refusal.message}", db)
        return
    if changed:
        # Resolvers may show the old record for the length of its TTL; the next look decides.
        domain_steps.move(
            domain, "domain_records_healed", db, records=[_words(wrong), f"{changed} changes"]
        )
        return
    _tell(domain, _words(wrong), db)


def _look_at_theirs(domain: Domain, providers: ports.Providers, db: Session) -> None:
    """Records that their owner sets by hand: only they can cure them, so they are told."""
    signing = f"{domain.dkim_selector}._domainkey."
    records = [
        record
        for record in domain_setup.planned(domain)
        # A key that is about to be used is asked for by its own letter.
        if record.purpose != "dkim" or record.name.startswith(signing)
    ]
    verdicts = domain_views.inspect_or_wait(records, providers.resolver)
    wrong = [verdict for verdict in verdicts if dns_views.differs(verdict)]
    if wrong:
        _tell(domain, _words(wrong), db)
    else:
        _cured(domain, db)


def set_dmarc_policy(domain: Domain, policy: str, db: Session) -> None:
    """Say what receivers are to do with mail that fails; an active name's zone follows at once.

    One that is not active yet gets it with its records, or at the first look after it is.
    """
    domain = domain_steps.lock(domain.id, db)
    before = domain.dmarc_policy
    if before == policy:
        return
    domain.dmarc_policy = policy
    domain_steps.move(domain, "domain_changed", db, dmarc_policy=[before, policy])
    if domain.status == DomainStatus.ACTIVE:
        outbox.record(db, events.DomainLookDue(tenant_id=domain.tenant_id, domain_id=domain.id))


def _plan(domain: Domain, records: Sequence[Record]) -> list[str]:
    """What we want otherwise than we published it: a choice or a setting was changed since."""
    before, now = domain_setup.planned(domain), list(records)
    return [
        *(
            f"- {record.type} {record.name} {record.answer}"
            for record in before
            if record not in now
        ),
        *(
            f"+ {record.type} {record.name} {record.answer}"
            for record in now
            if record not in before
        ),
    ]


def publish(domain: Domain, db: Session, providers: ports.Providers) -> None:
    """Carry out what we want otherwise than we published it; nothing when that is nothing."""
    records = domain_setup.wanted_records(domain, providers.platform, db)
    if domain.cloudflare_zone_id is not None and _plan(domain, records):
        _publish(domain, domain.cloudflare_zone_id, records, providers, db)


def _publish(
    domain: Domain,
    zone_id: str,
    records: Sequence[Record],
    providers: ports.Providers,
    db: Session,
) -> None:
    """Carry the plan out; whether it is seen, the next look tells."""
    changes = _plan(domain, records)
    try:
        providers.dns.apply(zone_id, _as_sent(records))
    except errors.ProviderFailed as refusal:
        _tell(domain, f"{changes[0]} cannot be published: {refusal.message}", db)
        return
    domain.dns_records = [domain_setup.as_json(record) for record in records]
    domain_steps.move(domain, "domain_records_replanned", db, records=[None, changes])


def _as_sent(records: Sequence[Record]) -> list[ports.DNSRecord]:
    return [ports.DNSRecord(**asdict(record)) for record in records]


def _words(wrong: Sequence[dns_records.Verdict]) -> str:
    """The first difference with its cure, and how many there are."""
    first = wrong[0]
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    subject = f"{first.record.type} {first.record.name}"
    return f"{subject}: {first.difference}. {first.fix}{more}"


def _tell(domain: Domain, why: str, db: Session) -> None:
    """Show it on the name at once; tell tenant and operators when the next look still finds it.

    One look alone may have seen what a resolver kept from before a repair; and another difference
    than the one that stands there is a new matter.
    """
    before, now = domain.failure, f"{MARK}{why}"[:500]
    if before == now:
        fact = f"{domain.id}:{domain.updated_at.isoformat()}"
        notices.alert(
            db,
            "domain_dns_differs",
            fact,
            f"{domain.domain_name}: {why}",
            tenant_id=domain.tenant_id,
        )
        notices.owe(
            db,
            domain.tenant_id,
            NoticeKind.DOMAIN_DNS_DIFFERS,
            fact,
            domain_name=domain.domain_name,
            why=why[:500],
        )
        return
    domain.failure = now
    domain_steps.move(domain, "domain_dns_differs", db, failure=[before, now])


def _cured(domain: Domain, db: Session) -> None:
    before = domain.failure
    if before is not None and before.startswith(MARK):
        domain.failure = None
        domain_steps.move(domain, "domain_dns_as_wanted", db, failure=[before, None])
