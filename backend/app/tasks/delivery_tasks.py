"""Keeping what is recorded of mail."""

from __future__ import annotations

import structlog
from sqlalchemy.orm import Session

from app import clock
from app.database.queries import delivery_days
from app.integrations import ports
from app.tasks.jobs import task

log = structlog.get_logger()


@task("delivery.turn_days")
def turn_days(db: Session) -> None:
    """Make the tables of the next days, and drop those that have been kept long enough."""
    keep = ports.current().platform.keep_events
    made, dropped = delivery_days.turn(db, clock.now().date(), keep)
    if made or dropped:
        log.info("days of delivery events", made=made, dropped=dropped)
