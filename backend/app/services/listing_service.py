"""What DNS blocklists say of tenants' domains and of the relay's addresses, and what follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, TypeVar
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app import clock
from app.database import audit
from app.database.models import (
    AddressStanding,
    DomainStanding,
    NoticeKind,
    SuspensionReason,
    Tenant,
)
from app.database.queries import standings
from app.integrations import dnsbl, ports
from app.integrations.dnsbl import Asked
from app.rules import abuse, blocklists
from app.rules.blocklists import Answer, Blocklist, Kind, State
from app.services import kill_switch, notices

BLOCK: Final = 100
"""Domains in one round: the transaction waits for the answers, and must not wait for long."""

KEEP: Final = timedelta(days=366)
"""How long the past is kept."""

Row = TypeVar("Row", DomainStanding, AddressStanding)


class ListingService:
    @staticmethod
    def look(db: Session, *, providers: ports.Providers | None = None) -> int:
        """Ask every list about the next domains, and about all addresses; how many domains.

        0 when none is due. Expects a session that sees all tenants.
        """
        providers = providers or ports.current()
        lists, addresses = providers.platform.blocklists, providers.platform.sending_addresses
        of_domains = [each for each in lists if each.kind == Kind.DOMAIN]
        of_addresses = [each for each in lists if each.kind == Kind.ADDRESS]
        now = clock.now()
        before = now - blocklists.CONFIRM_AFTER
        due = standings.due_domains(db, before, BLOCK) if of_domains else []
        fresh = standings.addresses_asked_since(db, before)
        due_addresses = [each for each in addresses if each not in fresh] if of_addresses else []
        answers = {
            **dnsbl.ask(of_domains, [name for _, _, name in due], providers.resolver),
            **dnsbl.ask(of_addresses, due_addresses, providers.resolver),
        }
        _note_addresses(db, of_addresses, due_addresses, answers, now)
        for tenant_id in sorted({tenant_id for _, tenant_id, _ in due}):
            own = [(id_, name) for id_, owner, name in due if owner == tenant_id]
            _note_domains(db, tenant_id, own, of_domains, answers, now)
        return len(due)

    @staticmethod
    def forget(db: Session) -> None:
        """Drop what ended so long ago that nobody asks."""
        for table in (DomainStanding, AddressStanding):
            db.execute(
                delete(table).where(table.ended_at < clock.now() - KEEP),
                execution_options={"synchronize_session": False},
            )


# Noting answers ---------------------------------------------------------------------------------


def _note_domains(
    db: Session,
    tenant_id: UUID,
    domains: Sequence[tuple[UUID, str]],
    lists: Sequence[Blocklist],
    answers: Asked,
    now: datetime,
) -> None:
    known = standings.of_domains(db, [id_ for id_, _ in domains])
    for domain_id, name in domains:
        for of in lists:
            row = known.get((domain_id, of.name))
            fresh = DomainStanding(tenant_id=tenant_id, domain_id=domain_id)
            change = _note(db, row, fresh, of, answers[of.name, name], now)
            if change is not None:
                changes = {"list": [None, of.name], "state": list(change)}
                audit.write(db, tenant_id, "domain_standing_changed", "domain", domain_id, changes)
            believed = answers[of.name, name].trouble is None
            if believed and change is not None and change[1] == State.LISTED.value:
                notices.owe(
                    db,
                    tenant_id,
                    NoticeKind.DOMAIN_LISTED,
                    f"{name[:60]} {of.name} {now.isoformat()}",
                    domain_name=name,
                    list=of.name,
                    answer=answers[of.name, name].codes,
                    minutes=int(blocklists.CONFIRM_AFTER.total_seconds() // 60),
                )
    db.flush()  # The judgement looks at what was just written down.
    _judge(db, tenant_id, dict(domains))


def _note_addresses(
    db: Session,
    lists: Sequence[Blocklist],
    addresses: Sequence[str],
    answers: Asked,
    now: datetime,
) -> None:
    known = standings.of_addresses(db)
    for address in addresses:
        for of in lists:
            row = known.get((address, of.name))
            change = _note(
                db, row, AddressStanding(address=address), of, answers[of.name, address], now
            )
            if change is not None and change[1] == "confirmed":
                notices.alert(
                    db,
                    "address_listed",
                    f"{address} {of.name} {now.isoformat()}",
                    f"{address}, which the relay sends from, is on the blocklist {of.name}"
                    f" ({answers[of.name, address].codes}). Take its node out of service, stop the"
                    " sender, and ask the list for removal.",
                )


def _note(
    db: Session, row: Row | None, fresh: Row, of: Blocklist, answer: Answer, now: datetime
) -> tuple[str | None, str] | None:
    """Write down one answer; (state before, state now) when it changed what is known.

    "confirmed" is the state of a listing that a second look bore out.
    """
    if row is not None and answer.state in {State.UNKNOWN, row.state}:
        row.tried_at, row.trouble = now, answer.trouble
        if answer.state == State.UNKNOWN:
            return None
        row.looked_at, row.codes = now, answer.codes
        confirmed = row.state == State.LISTED and now - row.since >= blocklists.CONFIRM_AFTER
        if not confirmed or row.confirmed_at is not None:
            return None
        row.confirmed_at = now
        return State.LISTED.value, "confirmed"
    before = None
    if row is not None:
        before, row.ended_at = row.state, now
        db.flush()  # Before the other row comes: there is but one without an end.
    fresh.zone, fresh.state, fresh.codes = of.name, answer.state.value, answer.codes
    fresh.since = fresh.tried_at = now
    fresh.trouble = answer.trouble
    fresh.looked_at = None if answer.state == State.UNKNOWN else now
    db.add(fresh)
    # That a domain is on no list, or cannot be looked up yet, is no news.
    quiet = before in {None, State.UNKNOWN.value} and answer.state != State.LISTED
    return None if quiet else (before, answer.state.value)


def _judge(db: Session, tenant_id: UUID, names: Mapping[UUID, str]) -> None:
    """Stop a tenant of whom a domain is confirmed to be listed, once for each listing."""
    since = standings.reinstated_at(db, tenant_id)
    rows = db.scalars(
        select(DomainStanding)
        .where(
            DomainStanding.tenant_id == tenant_id,
            DomainStanding.domain_id.in_(names),
            DomainStanding.ended_at.is_(None),
            DomainStanding.trouble.is_(None),
            DomainStanding.confirmed_at.is_not(None),
        )
        .order_by(DomainStanding.since)
    ).all()
    found = [
        {
            "domain_id": str(row.domain_id),
            "list": row.zone,
            "answer": row.codes,
            "first_seen": row.since.isoformat(),
            "confirmed": row.confirmed_at.isoformat(),
        }
        for row in rows
        # What led to a suspension that was lifted does not count again.
        if row.confirmed_at is not None and (since is None or row.confirmed_at > since)
    ]
    if not found:
        return
    name = names[UUID(found[0]["domain_id"])]
    kill_switch.turn_on(
        db.get_one(Tenant, tenant_id),
        SuspensionReason.BLACKLISTED,
        db,
        note=f"{name} is on the blocklist {found[0]['list']} ({found[0]['answer']}).",
        evidence={
            "rule": abuse.Rule.LISTED.value,
            "listings": found,
            "thresholds": {"confirm_after_minutes": blocklists.CONFIRM_AFTER.total_seconds() / 60},
        },
    )
