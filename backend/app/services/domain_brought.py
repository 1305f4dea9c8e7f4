"""What differs in setting up a name that its owner brought: records and name servers of theirs."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import clock, errors
from app.database.models import Domain, DomainConnection, DomainStep, StepName
from app.integrations import ports
from app.rules import dns_coexist, dns_records
from app.rules.dns_coexist import Conflict
from app.rules.dns_records import Record, Seen
from app.services import domain_steps
from app.services.domain_steps import NotYet

SLOWEST_LOOK = 900.0
LATE_LOOK = 6 * 3600.0
_LATE_AFTER = 3 * 24 * 3600.0
"""Seconds after which a name whose servers were not changed is looked at rarely."""


def connection_of(domain: Domain, db: Session) -> DomainConnection | None:
    """How the name was brought; None for one that was bought here."""
    return db.scalars(
        select(DomainConnection).where(DomainConnection.domain_id == domain.id)
    ).one_or_none()


def kept(domain: Domain, db: Session) -> Sequence[str]:
    """Purposes of records that the owner's own serve, so that none of ours stand beside them."""
    connection = connection_of(domain, db)
    return () if connection is None else connection.kept


def look(
    questions: Sequence[tuple[str, str]], resolver: ports.DNSResolver
) -> dict[tuple[str, str], Sequence[str]]:
    """What the DNS answers to each (type, name)."""
    return {(kind, name): _ask(resolver, name, kind) for kind, name in questions}


def conflicts(
    domain: Domain, records: Sequence[Record], resolver: ports.DNSResolver
) -> tuple[Conflict, ...]:
    """What of the owner's is in the way of our records now; () for names that were bought."""
    if domain.registrar_provider is not None:
        return ()
    seen = look(dns_coexist.questions(domain.domain_name, records), resolver)
    return _conflicts(domain, records, seen, resolver)


def make_ready(domain: Domain, providers: ports.Providers, db: Session) -> NotYet | None:
    """Before the zone moves to us: see that nothing of the owner's would be in the way.

    What the owner's records do already is remembered, so that ours are not put beside them: the
    provider takes over the old zone's records when it makes the new one.
    """
    connection = connection_of(domain, db)
    if connection is None:
        raise errors.NotFound(resource="connection")
    # The key is made with the zone; what can be in the way does not depend on it.
    records = dns_records.wanted(
        domain.domain_name,
        mail_zone=providers.platform.mail_zone,
        selector="ig",
        public_key="",
    )
    asked = dns_coexist.questions(domain.domain_name, records)
    # Silence must not pass for an empty zone here: ProviderUnavailable ends the attempt.
    seen = {(kind, name): providers.resolver.lookup(name, kind) for kind, name in asked}
    found = _conflicts(domain, records, seen, providers.resolver, owner_edits=False)
    if not found:
        connection.kept = dns_coexist.kept(records, seen)
        return None
    row = domain_steps.begin(domain, StepName.ZONE, db)
    return wait_for_cure(domain, row, found[0], db)


def is_delegated(domain: Domain, resolver: ports.DNSResolver) -> bool:
    """Whether the DNS names the servers of our zone, and no others, for the name."""
    seen = {server.lower().rstrip(".") for server in _ask(resolver, domain.domain_name, "NS")}
    return bool(seen) and seen == {server.lower() for server in domain.name_servers}


def wait_for_delegation(domain: Domain, resolver: ports.DNSResolver, db: Session) -> NotYet:
    """Say which name servers the owner must set, and look again."""
    row = domain_steps.begin(domain, StepName.DELEGATION, db)
    seen = ", ".join(sorted(_ask(resolver, domain.domain_name, "NS"))) or "none"
    why = (
        f"At your registrar, set these name servers and no others:"
        f" {', '.join(domain.name_servers)}; seen now: {seen}"
    )
    waited = (clock.now() - (row.started_at or clock.now())).total_seconds()
    pause = LATE_LOOK if waited > _LATE_AFTER else min(30.0 * row.attempts, SLOWEST_LOOK)
    return domain_steps.wait(row, pause, why)


def wait_for_cure(domain: Domain, row: DomainStep, found: Conflict, db: Session) -> NotYet:
    """Show what is in the way on the name and its step, and look again."""
    why = f"{found.message}. {found.fix}"
    if row.detail != why[:500]:
        domain_steps.give_up(domain, row, why)
        domain_steps.move(domain, "domain_dns_conflict", db, failure=[None, why[:500]])
    return domain_steps.wait(row, SLOWEST_LOOK, why)


def _conflicts(
    domain: Domain,
    records: Sequence[Record],
    seen: Seen,
    resolver: ports.DNSResolver,
    *,
    owner_edits: bool = True,
) -> tuple[Conflict, ...]:
    return dns_coexist.conflicts(
        domain.domain_name,
        records,
        seen,
        lambda name, kind: _ask(resolver, name, kind),
        owner_edits=owner_edits,
    )


def _ask(resolver: ports.DNSResolver, name: str, kind: str) -> Sequence[str]:
    try:
        return resolver.lookup(name, kind)
    except errors.ProviderUnavailable:
        # A name whose servers do not answer yet is not seen yet: that is what is being found out.
        return ()
