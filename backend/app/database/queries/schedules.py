"""What came round by the calendar, and whether it was done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app import clock
from app.database.tables.messaging import Job, JobState, OutboxEvent, ScheduledRun
from app.database.tables.tenancy import Tenant


@dataclass(frozen=True)
class Scheduled:
    """One kind of scheduled work."""

    name: str
    every: timedelta
    last_run: datetime | None
    """When its last period was begun; None when none ever was."""
    next_run: datetime
    """When the next period begins, or should have begun."""
    lag_seconds: float
    """How long after that it is; 0 while there is time."""
    last_done: datetime | None
    """When a job of it last ended well."""
    pending: int
    """Jobs of it that are still to be done, those that are tried again among them."""
    retrying: int
    """Of these, those whose last try failed."""
    dead: int
    """Jobs of it that were given up within the days that jobs are kept."""
    last_error: str | None
    """Of a job that is being tried again or was given up."""


def report(db: Session, periods: Mapping[str, timedelta]) -> list[Scheduled]:
    """One row for each of `periods`, in their order."""
    begun = {
        name: (period, at)
        for name, period, at in db.execute(
            select(
                ScheduledRun.name, func.max(ScheduledRun.period), func.max(ScheduledRun.created_at)
            ).group_by(ScheduledRun.name)
        )
    }
    open_ = Job.state.in_([JobState.WAITING, JobState.SENT])
    done = {
        row.event: row
        for row in db.execute(
            select(
                OutboxEvent.event,
                func.max(Job.finished_at).filter(Job.state == JobState.DONE).label("last_done"),
                func.count().filter(open_).label("pending"),
                func.count().filter(open_, Job.attempts > 0).label("retrying"),
                func.count().filter(Job.state == JobState.DEAD).label("dead"),
                func.max(Job.last_error).filter(Job.state != JobState.DONE).label("error"),
            )
            .join(Job, Job.outbox_id == OutboxEvent.id)
            .where(OutboxEvent.event.in_(periods))
            .group_by(OutboxEvent.event)
        )
    }
    now = clock.now()
    # What never ran has been late since there was somebody to do it for.
    beginning = db.scalar(select(func.min(Tenant.created_at))) or now
    rows = []
    for name, every in periods.items():
        period, at = begun.get(name, (None, None))
        following = beginning if period is None else period + every
        rows.append(
            Scheduled(
                name=name,
                every=every,
                last_run=at,
                next_run=following,
                lag_seconds=max(0.0, (now - following).total_seconds()),
                last_done=done[name].last_done if name in done else None,
                pending=done[name].pending if name in done else 0,
                retrying=done[name].retrying if name in done else 0,
                dead=done[name].dead if name in done else 0,
                last_error=done[name].error if name in done else None,
            )
        )
    return rows
