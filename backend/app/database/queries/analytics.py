"""Figures, from the daily counts that ingest keeps of tenants, domains, inboxes and receivers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, String, Uuid, cast, func, null, select, text
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
from app.database.queries import inbox_weeks
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


def _sums(table: Any) -> list[ColumnElement[int]]:
    return [func.coalesce(func.sum(getattr(table, kind)), 0).label(kind) for kind in KINDS]


def totals(db: Session, since: date, until: date, *, inbox_id: UUID | None = None) -> Counts:
    """Sums over the days from `since` to `until`, both included."""
    if inbox_id is None:
        return recent(db, until, since)[0]
    statement = select(*_sums(InboxDay)).where(
        InboxDay.day.between(since, until), InboxDay.inbox_id == inbox_id
    )
    return Counts(**{kind: int(n) for kind, n in db.execute(statement).one()._mapping.items()})


def recent(db: Session, until: date, *since: date) -> list[Counts]:
    """Sums over the days from each of `since` to `until`, in one look."""
    columns = [
        func.coalesce(func.sum(getattr(TenantDay, kind)).filter(TenantDay.day >= first), 0)
        for first in since
        for kind in KINDS
    ]
    statement = select(*columns).where(TenantDay.day.between(min(since), until))
    sums = [int(n) for n in db.execute(statement).one()]
    width = len(KINDS)
    return [
        Counts(**dict(zip(KINDS, sums[n : n + width], strict=True)))
        for n in range(0, len(sums), width)
    ]


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


def grouped(
    db: Session, since: date, until: date, by: str, *, at_most: int | None = TOP
) -> list[Group]:
    """Sums by day (in order), or by domain, inbox or family of receivers (the busiest first).

    None for `at_most` gives every group.
    """
    db.execute(_PLANNED)
    if by == "day":
        return _by_day(db, TenantDay, TenantDay.day, TenantDay.day.between(since, until))
    table, column, named = _GROUPS[by]
    rows = (
        inbox_weeks.counts(since, until)
        if by == "inbox"
        else select(getattr(table, column), *(getattr(table, kind) for kind in KINDS)).where(
            table.day.between(since, until)
        )
    ).subquery()
    what = rows.c[column]
    # Summed before names are looked up: most rows belong to groups that nobody sees.
    tried = func.sum(rows.c.delivered) + func.sum(rows.c.bounced)
    busiest = (func.sum(rows.c.accepted).desc(), tried.desc())
    sums = (
        select(what.label("what"), *_sums(rows.c))
        .group_by(what)
        .order_by(*busiest, what)
        .limit(at_most)
        .subquery()
    )
    counts = [sums.c[kind] for kind in KINDS]
    if named is None:
        statement = select(sums.c.what.label("key"), cast(null(), Uuid).label("id"), *counts)
    else:
        thing, name = named
        statement = select(name.label("key"), thing.id.label("id"), *counts)
        statement = statement.join_from(sums, thing, thing.id == sums.c.what)
    order = (sums.c.accepted.desc(), (sums.c.delivered + sums.c.bounced).desc())
    return [_group(row) for row in db.execute(statement.order_by(*order, "key"))]


def of_inbox(db: Session, since: date, until: date, inbox_id: UUID) -> list[Group]:
    """Sums of one inbox by day, in order."""
    chosen = InboxDay.day.between(since, until) & (InboxDay.inbox_id == inbox_id)
    return _by_day(db, InboxDay, InboxDay.day, chosen)


# For this transaction only. The driver prepares what is asked often, and PostgreSQL then plans it
# once for any days and any tenant: that plan takes twice the time over the many rows of a large
# one. For the policy's OR, PostgreSQL expects so few of a tenant's rows that it would sort them to
# group them, and sorts on disk what there really is; a hash takes a third less time.
_PLANNED = text(
    "SELECT set_config('plan_cache_mode', 'force_custom_plan', true),"
    " set_config('enable_sort', 'off', true)"
)

_GROUPS: dict[str, tuple[Any, str, tuple[Any, Any] | None]] = {
    "domain": (DomainDay, "domain_id", (Domain, Domain.domain_name)),
    "inbox": (InboxDay, "inbox_id", (Inbox, Inbox.full_email)),
    "provider": (ProviderDay, "provider", None),
}
"""By what is grouped: the roll-up, its column, and the thing that the column names."""


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
