"""What operators see of the jobs, and how a dead one is tried again."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import exists, func, or_, select, update
from sqlalchemy.orm import Session

from app import clock
from app.database.tables.messaging import Job, JobState, OutboxEvent
from app.database.tables.tenancy import Tenant


def summary(db: Session) -> dict[str, Any]:
    """Counts by state, seconds the oldest unrouted event waits, and the dead jobs."""
    counts = db.execute(select(Job.state, func.count()).group_by(Job.state)).all()
    oldest = db.scalar(
        select(func.min(OutboxEvent.created_at)).where(OutboxEvent.routed_at.is_(None))
    )
    dead = db.execute(
        select(Job.id, Job.task, Job.last_error).where(Job.state == JobState.DEAD).order_by(Job.id)
    ).all()
    return {
        "jobs": {str(state): count for state, count in counts},
        "oldest_unrouted_seconds": (
            0.0 if oldest is None else max(0.0, (clock.now() - oldest).total_seconds())
        ),
        "dead": [{"id": str(i), "task": task, "error": error} for i, task, error in dead],
    }


def hurry(db: Session, domain_id: UUID) -> int:
    """Make the waiting jobs of a domain due now; how many there are."""
    due = db.scalars(
        update(Job)
        .where(Job.state == JobState.WAITING, Job.payload["domain_id"].astext == str(domain_id))
        .values(next_try_at=clock.now())
        .returning(Job.id)
    ).all()
    return len(due)


def replay(db: Session, job_id: UUID | None) -> int:
    """Give one dead job, or all of them, a fresh set of tries; how many."""
    dead = update(Job).where(Job.state == JobState.DEAD)
    if job_id is not None:
        dead = dead.where(Job.id == job_id)
    revived = db.scalars(
        dead.values(
            state=JobState.WAITING,
            attempts=0,
            deliveries=0,
            next_try_at=clock.now(),
            finished_at=None,
        ).returning(Job.id)
    ).all()
    return len(revived)


def unfinished(db: Session) -> int:
    """Events that are no jobs yet, and jobs that are due; those that wait for later do not count.

    The jobs of a suspended tenant that wait for its reinstatement are not due.
    """
    unrouted = select(func.count()).where(OutboxEvent.routed_at.is_(None))
    held = exists().where(Tenant.id == Job.tenant_id, Tenant.is_suspended)
    due = select(func.count()).where(
        or_(
            Job.state == JobState.SENT,
            (Job.state == JobState.WAITING) & (Job.next_try_at <= clock.now()) & ~held,
        )
    )
    return (db.scalar(unrouted) or 0) + (db.scalar(due) or 0)


def late_seconds(db: Session) -> float:
    """How long the oldest job that is due has waited; 0 when none is.

    A job in the broker is late only from the end of its lease. Those of suspended tenants wait by
    intent, but what the kill switch does.
    """
    held = exists().where(Tenant.id == Job.tenant_id, Tenant.is_suspended)
    due = db.scalar(
        select(func.min(Job.next_try_at)).where(
            Job.state.in_([JobState.WAITING, JobState.SENT]), ~held
        )
    )
    return 0.0 if due is None else max(0.0, (clock.now() - due).total_seconds())


def oldest_kill_seconds(db: Session) -> float:
    """Age of the oldest order to silence a tenant that is not carried out on every node."""
    since = db.scalar(
        select(func.min(Job.created_at)).where(
            Job.task == "monitoring.silence_tenant", Job.state != JobState.DONE
        )
    )
    return 0.0 if since is None else max(0.0, (clock.now() - since).total_seconds())
