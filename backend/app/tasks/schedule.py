"""What comes round by the calendar: a tick claims each period once and records its event."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app import clock, events
from app.database import outbox
from app.database.tables.base import new_id
from app.database.tables.messaging import ScheduledRun

SCHEDULE: tuple[tuple[type[events.Event], timedelta], ...] = (
    (events.TrialsDue, timedelta(minutes=1)),
    (events.HoldsDue, timedelta(hours=1)),
    (events.SubscriptionsDue, timedelta(minutes=10)),
    (events.BooksDue, timedelta(days=1)),
    (events.ClaimsDue, timedelta(minutes=1)),
    (events.DomainsDue, timedelta(days=1)),
    (events.KeysDue, timedelta(days=1)),
    (events.RecordsDue, timedelta(minutes=15)),
    (events.WarmupDue, timedelta(days=1)),
    (events.AbuseCheckDue, timedelta(minutes=5)),
    (events.BlocklistsDue, timedelta(minutes=15)),
    (events.ScoresDue, timedelta(hours=1)),
    (events.UsageDue, timedelta(minutes=10)),
    (events.ErasuresDue, timedelta(days=1)),
    (events.MailPlaneCheckDue, timedelta(seconds=30)),
    (events.DirectoryCheckDue, timedelta(minutes=5)),
    (events.AuditHeadsDue, timedelta(hours=1)),
    (events.DeliveryDaysDue, timedelta(hours=6)),
    (events.HousekeepingDue, timedelta(hours=6)),
)
PERIODS = {event.__name__: every for event, every in SCHEDULE}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def period_start(now: datetime, every: timedelta) -> datetime:
    """The instant the present period began; periods are counted from 1970, so days are UTC days."""
    return _EPOCH + ((now - _EPOCH) // every) * every


def tick(db: Session) -> list[str]:
    """Record the event of every period that has begun and was not claimed; their names."""
    now = clock.now()
    begun = []
    for event, every in SCHEDULE:
        claimed = db.scalar(
            insert(ScheduledRun)
            .values(
                id=new_id(),
                created_at=now,
                name=event.__name__,
                period=period_start(now, every),
            )
            .on_conflict_do_nothing()
            .returning(ScheduledRun.id)
        )
        if claimed is not None:
            outbox.record(db, event())
            begun.append(event.__name__)
    return begun
