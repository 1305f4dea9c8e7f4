"""What was recorded about mail, as the rules on warm-up, health and abuse want it.

The only place that knows which roll-ups hold it. Each call sees the rows of the session's scope.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

from sqlalchemy import func, select, true
from sqlalchemy.orm import Session

from app.database.models import (
    Complaint,
    Decision,
    DecisionAction,
    DeliveryEvent,
    InboxDay,
    Tenant,
)
from app.rules import abuse, traces


@dataclass(frozen=True)
class Counts:
    """Messages in a period."""

    accepted: int
    deferred: int
    bounced: int


def of_day(db: Session, inbox_ids: Sequence[UUID], day: date) -> dict[UUID, Counts]:
    """By inbox; one about which nothing was recorded on `day` is missing."""
    rows = db.execute(
        select(InboxDay.inbox_id, InboxDay.accepted, InboxDay.deferred, InboxDay.bounced).where(
            InboxDay.inbox_id.in_(inbox_ids), InboxDay.day == day
        )
    )
    return {id_: Counts(accepted, deferred, bounced) for id_, accepted, deferred, bounced in rows}


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
    return {id_: count for id_, count in rows}


def recipient_of(db: Session, inbox_id: UUID, token: str, key: str, since: datetime) -> str | None:
    """Whom the message that bears the trace `token` was sent to; None when there was none.

    Looks at what the inbox handed in from `since` on: a token holds no id that could be looked up,
    only a hash of one.
    """
    wanted = token.replace(".", "")
    rows = db.execute(
        select(DeliveryEvent.message_id, DeliveryEvent.recipient).where(
            DeliveryEvent.inbox_id == inbox_id,
            DeliveryEvent.occurred_at >= since,
            DeliveryEvent.event_type == "Reception",
        )
    )
    for message_id, recipient in rows:
        if traces.make(key, inbox_id, message_id).replace(".", "") == wanted:
            return str(recipient).lower()
    return None


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
            (Decision.tenant_id == Tenant.id) & (Decision.action == DecisionAction.REINSTATE),
        )
        .where(chosen)
        .group_by(Tenant.id)
        .subquery()
    )
    first = now.date() - timedelta(days=abuse.RATE_DAYS - 1)
    later = begun.c.at.is_(None) | (InboxDay.day > func.date(func.timezone("UTC", begun.c.at)))
    counts = db.execute(
        select(InboxDay.tenant_id, func.sum(InboxDay.accepted), func.sum(InboxDay.bounced))
        .join(begun, begun.c.id == InboxDay.tenant_id)
        .where(InboxDay.day >= first, later)
        .group_by(InboxDay.tenant_id)
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
