"""Keeping what is recorded of mail."""

from __future__ import annotations

import structlog
from sqlalchemy.orm import Session

from app import clock
from app.database.queries import delivery_days, inbox_weeks
from app.integrations import ports
from app.tasks.jobs import Again, task

log = structlog.get_logger()

WEEKS_AT_ONCE = 20
"""Of tenants, in one transaction: meanwhile records of such weeks wait to be stored."""


@task("delivery.turn_days")
def turn_days(db: Session) -> None:
    """Make the tables of the next days, and drop those that have been kept long enough."""
    keep = ports.current().platform.keep_events
    made, dropped = delivery_days.turn(db, clock.now().date(), keep)
    if made or dropped:
        log.info("days of delivery events", made=made, dropped=dropped)


@task("delivery.sum_weeks")
def sum_weeks(db: Session) -> Again | None:
    """Sum the weeks that are over, for the reports of many days."""
    summed = inbox_weeks.sum_up(db, clock.now().date(), at_most=WEEKS_AT_ONCE)
    return Again(1.0, "more weeks are to be summed") if summed == WEEKS_AT_ONCE else None
