"""Figures, summed from the daily counts of each inbox."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, String, cast, func, literal, null, select
from sqlalchemy.orm import Session

from app.database.models import DeliveryEvent, Domain, Inbox, InboxDay, InboxStatus
from app.rules.records import COUNTERS

KINDS = ("accepted", "delivered", "deferred", "bounced", "rejected", "complained")
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


def _sums() -> list[ColumnElement[int]]:
    return [func.coalesce(func.sum(getattr(InboxDay, kind)), 0).label(kind) for kind in KINDS]


def totals(db: Session, since: date, until: date, *, inbox_id: UUID | None = None) -> Counts:
    """Sums over the days from `since` to `until`, both included."""
    statement = select(*_sums()).where(InboxDay.day.between(since, until))
    if inbox_id is not None:
        statement = statement.where(InboxDay.inbox_id == inbox_id)
    return Counts(
        **{name: int(value) for name, value in db.execute(statement).one()._mapping.items()}
    )


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
    db: Session, since: date, until: date, by: str, *, inbox_id: UUID | None = None
) -> list[Group]:
    """Sums by day (in order), domain, inbox or recipients' domain (the busiest first)."""
    if by == "provider":
        return _by_recipients_domain(db, since, until)
    key: Any
    id_: Any
    if by == "domain":
        key, id_ = Domain.domain_name, Domain.id
        statement = select(key.label("key"), id_.label("id"), *_sums()).join(
            Domain, Domain.id == InboxDay.domain_id
        )
    elif by == "inbox":
        key, id_ = Inbox.full_email, Inbox.id
        statement = select(key.label("key"), id_.label("id"), *_sums()).join(
            Inbox, Inbox.id == InboxDay.inbox_id
        )
    else:
        key, id_ = cast(InboxDay.day, String), null()
        statement = select(key.label("key"), id_.label("id"), *_sums()).select_from(InboxDay)
    statement = statement.where(InboxDay.day.between(since, until))
    if inbox_id is not None:
        statement = statement.where(InboxDay.inbox_id == inbox_id)
    if by == "day":
        statement = statement.group_by(InboxDay.day).order_by(InboxDay.day)
    else:
        statement = (
            statement.group_by(key, id_)
            .order_by(func.sum(InboxDay.accepted).desc(), key)
            .limit(TOP)
        )
    return [_group(row) for row in db.execute(statement)]


def _by_recipients_domain(db: Session, since: date, until: date) -> list[Group]:
    counted = {
        kind: [event for event, counter in COUNTERS.items() if counter == kind] for kind in KINDS
    }
    sums = [
        func.count().filter(DeliveryEvent.event_type.in_(events)).label(kind)
        for kind, events in counted.items()
    ]
    statement = (
        select(DeliveryEvent.recipient_domain.label("key"), null().label("id"), *sums)
        .where(
            func.date(func.timezone("UTC", DeliveryEvent.occurred_at)).between(since, until),
            # The same bounds on the bare column, so that the index is used.
            DeliveryEvent.occurred_at >= literal(since - timedelta(days=1)),
            DeliveryEvent.occurred_at < literal(until + timedelta(days=2)),
            DeliveryEvent.recipient_domain != "",
        )
        .group_by(DeliveryEvent.recipient_domain)
        .order_by(func.count().desc(), DeliveryEvent.recipient_domain)
        .limit(TOP)
    )
    return [_group(row) for row in db.execute(statement)]


def _group(row: Row[*tuple[Any, ...]]) -> Group:
    values = dict(row._mapping)
    return Group(key=values["key"], id=values["id"], **{kind: int(values[kind]) for kind in KINDS})
