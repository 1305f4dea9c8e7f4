"""What was recorded about mail, as the rules on warm-up, health and abuse want it.

The only place that knows which roll-ups hold it. Each call sees the rows of the session's scope.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, true
from sqlalchemy.orm import Session

from app.database.models import (
    Complaint,
    Decision,
    DecisionAction,
    DeliveryEvent,
    DomainDay,
    InboxDay,
    Tenant,
    TenantDay,
)
from app.rules import abuse, health, traces


@dataclass(frozen=True)
class Counts:
    """Messages in a period."""

    accepted: int
    deferred: int
    bounced: int
    """What receivers refused for good; not what we took out of the queue ourselves."""
    unknown_users: int


def of_day(db: Session, inbox_ids: Sequence[UUID], day: date) -> dict[UUID, Counts]:
    """By inbox; one about which nothing was recorded on `day` is missing."""
    bounced = (
        InboxDay.soft_bounced + InboxDay.hard_bounced + InboxDay.unknown_users + InboxDay.blocked
    )
    rows = db.execute(
        select(
            InboxDay.inbox_id, InboxDay.accepted, InboxDay.deferred, bounced, InboxDay.unknown_users
        ).where(InboxDay.inbox_id.in_(inbox_ids), InboxDay.day == day)
    )
    return {id_: Counts(*counts) for id_, *counts in rows}


def decided_on(db: Session, inbox_id: UUID, action: DecisionAction, day: date) -> bool:
    """Whether this was decided about the inbox on `day` already."""
    begin = datetime.combine(day, time.min, UTC)
    found = db.scalar(
        select(Decision.id)
        .where(
            Decision.inbox_id == inbox_id,
            Decision.action == action,
            Decision.created_at >= begin,
            Decision.created_at < begin + timedelta(days=1),
        )
        .limit(1)
    )
    return found is not None


def complaints_of_day(db: Session, inbox_ids: Sequence[UUID], day: date) -> dict[UUID, int]:
    """Verified complaints that arrived on `day`, by inbox; those without one are missing."""
    begin = datetime.combine(day, time.min, UTC)
    rows = db.execute(
        select(Complaint.inbox_id, func.count())
        .where(
            Complaint.inbox_id.in_(inbox_ids),
            Complaint.verified,
            Complaint.received_at >= begin,
            Complaint.received_at < begin + timedelta(days=1),
        )
        .group_by(Complaint.inbox_id)
    )
    return {id_: count for id_, count in rows}  # noqa: C416  # dict() would lose the types.


def recipient_of(db: Session, inbox_id: UUID, token: str, since: datetime) -> str | None:
    """Whom the message was sent to that `inbox_id` handed in since then, by its trace.

    None when nothing is recorded of such a message.
    """
    recipient = db.scalar(
        select(DeliveryEvent.recipient)
        .where(
            DeliveryEvent.trace == traces.normal(token),
            DeliveryEvent.event_type == "Reception",
            DeliveryEvent.occurred_at >= since,
            DeliveryEvent.inbox_id == inbox_id,
        )
        .limit(1)
    )
    return None if recipient is None else recipient.lower()


def of_tenants(
    db: Session, now: datetime, *, tenant_id: UUID | None = None
) -> dict[UUID, abuse.Signals]:
    """What abuse is judged by, of one tenant or of all that the session sees.

    What led to a suspension that was lifted does not count again.
    """
    chosen = Tenant.id == tenant_id if tenant_id is not None else true()
    begun = (
        select(Tenant.id, func.max(Decision.created_at).label("at"))
        .outerjoin(
            Decision,
            (Decision.tenant_id == Tenant.id)
            & (Decision.action == DecisionAction.REINSTATE)
            & Decision.inbox_id.is_(None),
        )
        .where(chosen)
        .group_by(Tenant.id)
        .subquery()
    )
    first = now.date() - timedelta(days=abuse.RATE_DAYS - 1)
    later = begun.c.at.is_(None) | (TenantDay.day > func.date(func.timezone("UTC", begun.c.at)))
    dead = TenantDay.hard_bounced + TenantDay.unknown_users
    counts = db.execute(
        select(TenantDay.tenant_id, func.sum(TenantDay.accepted), func.sum(dead))
        .join(begun, begun.c.id == TenantDay.tenant_id)
        .where(TenantDay.day >= first, later)
        .group_by(TenantDay.tenant_id)
    )
    recent = Complaint.received_at >= now - timedelta(days=abuse.RATE_DAYS)
    people = func.count(func.distinct(Complaint.recipient))
    complaints = db.execute(
        select(Complaint.tenant_id, people.filter(recent), people)
        .join(begun, begun.c.id == Complaint.tenant_id)
        .where(
            Complaint.verified,
            Complaint.received_at >= now - timedelta(days=abuse.COMPLAINT_DAYS),
            begun.c.at.is_(None) | (Complaint.received_at > begun.c.at),
        )
        .group_by(Complaint.tenant_id)
    )
    found: dict[UUID, abuse.Signals] = {}
    for id_, sent, bounced in counts:
        found[id_] = abuse.Signals(sent=int(sent), bounced=int(bounced))
    for id_, lately, long in complaints:
        known = found.get(id_, abuse.Signals())
        found[id_] = replace(known, complainers=lately, complainers_long=long)
    return found


def complaint_ids(db: Session, tenant_id: UUID, now: datetime, limit: int) -> list[UUID]:
    """Verified complaints of the last COMPLAINT_DAYS, the latest first."""
    return list(
        db.scalars(
            select(Complaint.id)
            .where(
                Complaint.tenant_id == tenant_id,
                Complaint.verified,
                Complaint.received_at >= now - timedelta(days=abuse.COMPLAINT_DAYS),
            )
            .order_by(Complaint.received_at.desc())
            .limit(limit)
        )
    )


_HEALTH: Mapping[str, tuple[Any, Any, Any]] = {
    "inbox": (InboxDay, InboxDay.inbox_id, Complaint.inbox_id),
    "domain": (DomainDay, DomainDay.domain_id, Complaint.domain_id),
    "tenant": (TenantDay, TenantDay.tenant_id, Complaint.tenant_id),
}
"""By level: the roll-up, whose it is, and whose a complaint is."""

_COUNTED = (
    "accepted", "delivered", "deferred", "hard_bounced", "unknown_users", "soft_bounced", "blocked",
)  # fmt: skip


def health_of(
    db: Session, level: str, ids: Sequence[UUID], since: date
) -> dict[UUID, health.Inputs]:
    """Counts of each inbox, domain or tenant from the day `since` on; without any it is missing."""
    table, key, complained_of = _HEALTH[level]
    sums = [func.sum(getattr(table, name)).label(name) for name in _COUNTED]
    rows = db.execute(
        select(key.label("id"), *sums).where(key.in_(ids), table.day >= since).group_by(key)
    )
    found: dict[UUID, health.Inputs] = {}
    for row in rows:
        counts: dict[str, Any] = {name: int(getattr(row, name)) for name in _COUNTED}
        found[row.id] = health.Inputs(**counts)
    people = db.execute(
        select(complained_of, func.count(func.distinct(Complaint.recipient)))
        .where(
            complained_of.in_(ids),
            Complaint.verified,
            Complaint.received_at >= datetime.combine(since, time.min, UTC),
        )
        .group_by(complained_of)
    )
    for id_, count in people:
        found[id_] = replace(found.get(id_, health.Inputs()), complaints=count)
    return found
