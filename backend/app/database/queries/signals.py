"""What was recorded about mail, as the rules on warm-up, health and abuse want it.

The only place that knows which roll-ups hold it. Each call sees the rows of the session's scope.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.database.models import Complaint, InboxDay


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
