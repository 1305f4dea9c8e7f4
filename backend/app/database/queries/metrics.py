"""The gauges that are read from the database when somebody looks."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app import clock
from app.database.models import DomainPurchase, Job, JobState, OutboxEvent, ProviderEvent
from app.database.queries import invariants
from app.utils import monitoring


def refresh(db: Session) -> None:
    """Set the gauges; expects a session that sees all tenants."""
    now = clock.now()
    oldest = db.scalar(
        select(func.min(OutboxEvent.created_at)).where(OutboxEvent.routed_at.is_(None))
    )
    monitoring.OUTBOX_OLDEST.set(0 if oldest is None else max(0.0, (now - oldest).total_seconds()))
    monitoring.WEBHOOKS_UNHANDLED.set(
        db.scalar(select(func.count()).where(ProviderEvent.handled_at.is_(None))) or 0
    )
    for state, count in db.execute(
        select(DomainPurchase.state, func.count()).group_by(DomainPurchase.state)
    ):
        monitoring.ORDERS.labels(state=str(state)).set(count)
    for task, finished in db.execute(
        select(Job.task, func.max(Job.finished_at))
        .where(Job.state == JobState.DONE)
        .group_by(Job.task)
    ):
        if finished is not None:
            monitoring.JOB_LAST_SUCCESS.labels(job=task).set(finished.timestamp())
    for name, ids in invariants.run(db).items():
        monitoring.VIOLATIONS.labels(name=name).set(len(ids))
