"""Figures, from the daily counts that ingest keeps of tenants, domains, inboxes and receivers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, String, Uuid, cast, func, null, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.database.models import (
    Domain,
    DomainDay,
    Inbox,
    InboxDay,
    InboxStatus,
    ProviderDay,
    TenantDay,
)
from app.database.tables.sending import Counted
from app.rules.records import KINDS

TOP = 500
"""Groups in one answer at most, the busiest first."""


@dataclass(frozen=True)
class Counts:
    accepted: int = 0
    delivered: int = 0
    deferred: int = 0
    bounced: int = 0
    rejected: int = 0
    complained: int = 0
    soft_bounced: int = 0
    hard_bounced: int = 0
    unknown_users: int = 0
    blocked: int = 0

    @property
    def delivery_rate(self) -> float | None:
        return _share(self.delivered, self.delivered + self.bounced)

    @property
    def bounce_rate(self) -> float | None:
        return _share(self.bounced, self.delivered + self.bounced)

    @property
    def complaint_rate(self) -> float | None:
        return _share(self.complained, self.delivered)


@dataclass(frozen=True)
class Group(Counts):
    key: str = ""
    id: UUID | None = None


def _share(part: int, whole: int) -> float | None:
    return None if whole == 0 else round(part / whole, 4)


def _sums(table: type[Counted]) -> list[ColumnElement[int]]:
    return [func.coalesce(func.sum(getattr(table, kind)), 0).label(kind) for kind in KINDS]


def totals(db: Session, since: date, until: date, *, inbox_id: UUID | None = None) -> Counts:
    """Sums over the days from `since` to `until`, both included."""
    if inbox_id is None:
        statement = select(*_sums(TenantDay)).where(TenantDay.day.between(since, until))
    else:
        statement = select(*_sums(InboxDay)).where(
            InboxDay.day.between(since, until), InboxDay.inbox_id == inbox_id
        )
    return Counts(**{kind: int(n) for kind, n in db.execute(statement).one()._mapping.items()})


def by_status(db: Session) -> tuple[dict[str, int], dict[str, int]]:
    """How many domains and how many living inboxes there are in each status."""
    domains = select(Domain.status, func.count()).group_by(Domain.status)
    inboxes = (
        select(Inbox.status, func.count())
        .where(Inbox.status != InboxStatus.DELETED)
        .group_by(Inbox.status)
    )
    return (
        {str(status): count for status, count in db.execute(domains)},
        {str(status): count for status, count in db.execute(inboxes)},
    )


def grouped(db: Session, since: date, until: date, by: str) -> list[Group]:
    """Sums by day (in order), or by domain, inbox or family of receivers (the busiest first)."""
    if by == "day":
        return _by_day(db, TenantDay, TenantDay.day, TenantDay.day.between(since, until))
    key, id_, table = _GROUPS[by]
    statement = (
        select(key.label("key"), id_.label("id"), *_sums(table))
        .where(table.day.between(since, until))
        .group_by(key, id_)
        .order_by(
            func.sum(table.accepted).desc(),
            func.sum(table.delivered + table.bounced).desc(),
            key,
        )
        .limit(TOP)
    )
    if by == "domain":
        statement = statement.join(Domain, Domain.id == DomainDay.domain_id)
    elif by == "inbox":
        statement = statement.join(Inbox, Inbox.id == InboxDay.inbox_id)
    return [_group(row) for row in db.execute(statement)]


def of_inbox(db: Session, since: date, until: date, inbox_id: UUID) -> list[Group]:
    """Sums of one inbox by day, in order."""
    chosen = InboxDay.day.between(since, until) & (InboxDay.inbox_id == inbox_id)
    return _by_day(db, InboxDay, InboxDay.day, chosen)


_GROUPS: dict[str, tuple[Any, Any, Any]] = {
    "domain": (Domain.domain_name, Domain.id, DomainDay),
    "inbox": (Inbox.full_email, Inbox.id, InboxDay),
    # A bare NULL is nothing to group by.
    "provider": (ProviderDay.provider, cast(null(), Uuid), ProviderDay),
}
"""By what is grouped: how a group is called, its id, and the roll-up."""


def _by_day(
    db: Session,
    table: type[Counted],
    day: InstrumentedAttribute[date],
    chosen: ColumnElement[bool],
) -> list[Group]:
    statement = (
        select(cast(day, String).label("key"), null().label("id"), *_sums(table))
        .where(chosen)
        .group_by(day)
        .order_by(day)
    )
    return [_group(row) for row in db.execute(statement)]


def _group(row: Row[*tuple[Any, ...]]) -> Group:
    values = dict(row._mapping)
    return Group(key=values["key"], id=values["id"], **{kind: int(values[kind]) for kind in KINDS})
