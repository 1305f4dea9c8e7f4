"""Running a job: the row decides, Celery only carries its id.

A job that meets ProviderUnavailable waits and is tried again; any other error counts the same way,
so that a bug mended by a deploy heals by itself. After MAX_ATTEMPTS, or three deliveries that ended
in a dead worker, the job is dead: an operator is called, sees it and can replay it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from opentelemetry.trace import SpanKind
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app import clock
from app.database import audit
from app.database.session import ALL_TENANTS, transaction
from app.database.tables.messaging import Job, JobState
from app.errors import InboxGroveError, ProviderUnavailable, Unavailable
from app.services import notices, restored_mode
from app.tasks.routing import WAIT_WHILE_RESTORED
from app.telemetry import tracing
from app.utils import monitoring

TELLS_OPERATORS = "billing.send_alert"

MAX_ATTEMPTS = 12
MAX_DELIVERIES = 3
SENT_LEASE = timedelta(seconds=60)
"""How long a job may stay unstarted before the relay asks whether its message was lost."""

RUN_LEASE = timedelta(seconds=10)
"""How long a started job is left alone before the relay asks whether its worker still lives."""

log = structlog.get_logger()


@dataclass(frozen=True)
class Again:
    """What a task returns when nothing is wrong but the step is not finished.

    Its writes are committed, and it is run again after `seconds`.
    """

    seconds: float
    why: str


class NotBegun(Exception):
    """The database is away, and the job's row says nothing of this delivery: hand it out again."""


Task = Callable[..., Again | None]
_tasks: dict[str, Task] = {}


def task(name: str) -> Callable[[Task], Task]:
    """Register a task by its routing name; it is called as `fn(db, **ids)` in one transaction."""

    def register(fn: Task) -> Task:
        if name in _tasks:
            raise RuntimeError(f"Two tasks are called {name}.")
        _tasks[name] = fn
        return fn

    return register


def known() -> frozenset[str]:
    return frozenset(_tasks)


def run(job_id: UUID, tasks: Mapping[str, Task] | None = None) -> JobState | None:
    """Run one job to its next state; None when there is nothing to do any more.

    `tasks` are the registered ones unless others are given. Raises NotBegun when the database
    cannot be asked about the job, Unavailable when it goes away later.
    """
    tasks = _tasks if tasks is None else tasks
    try:
        begun = _begin(job_id)
    except Unavailable as error:
        raise NotBegun from error
    if begun is None:
        return None
    name = begun.task
    payload: dict[str, Any] = begun.payload
    # What a job does is the system's doing, for the request that caused it.
    with (
        audit.acting(audit.Actor(request_id=begun.request_id)),
        monitoring.about(
            request_id=begun.request_id,
            tenant_id=None if begun.tenant_id is None else str(begun.tenant_id),
            task=name,
            job=str(job_id),
        ),
        tracing.span(name, SpanKind.CONSUMER, parent=begun.traceparent, job_id=str(job_id)),
        monitoring.job(name),
    ):
        try:
            ids = {key: UUID(value) for key, value in payload.items()}
            # A tenant's own job sees that tenant's rows and no others.
            with transaction(tenant=ids.get("tenant_id", ALL_TENANTS)) as db:
                _hold(db, job_id)
                again = tasks[name](db, **ids)
                return _finish(db, job_id, again)
        except ProviderUnavailable as error:
            wait = error.details.get("retry_after")
            why = f"{type(error).__name__}: {error}"
            if wait is None:
                log.warning("job failed", error=str(error))
                return _failed(job_id, why)
            return _waits(job_id, why, float(wait))
        except Exception as error:
            if not isinstance(error, InboxGroveError):
                monitoring.report(error)
            log.warning("job failed", error=str(error))
            return _failed(job_id, f"{type(error).__name__}: {error}")


def _begin(job_id: UUID) -> Job | None:
    """Count the delivery in a transaction of its own, so that a crash leaves a trace."""
    with transaction(tenant=ALL_TENANTS) as db:
        job = db.get(Job, job_id, with_for_update=True)
        if job is None or job.state != JobState.SENT or is_running(db, job_id):
            # Done, taken back, or a second message of what another process is doing this moment:
            # to wait for that one would cost a process, and to begin would count as its death.
            return None
        if job.task in WAIT_WHILE_RESTORED and restored_mode.is_held(db):
            # The broker may still hold what was sent before the database was put back.
            job.state, job.next_try_at = JobState.WAITING, clock.now()
            return None
        if job.deliveries >= MAX_DELIVERIES:
            job.last_error = "The worker died three times while it ran this."
            monitoring.QUARANTINED.inc()
            _bury(db, job)
            return None
        job.deliveries += 1
        job.started_at = clock.now()
        job.next_try_at = clock.now() + RUN_LEASE
        return job


def _hold(db: Session, job_id: UUID) -> None:
    """Sign of life: a lock that PostgreSQL gives back the moment this worker dies."""
    db.execute(select(func.pg_advisory_xact_lock(lock_number(job_id))))


def is_running(db: Session, job_id: UUID) -> bool:
    """Whether a living worker holds the job's lock; a dead one's is free at once."""
    return not db.scalar(select(func.pg_try_advisory_xact_lock(lock_number(job_id))))


def lock_number(job_id: UUID) -> int:
    """The job's advisory lock: 63 bits of its id, random ones."""
    return job_id.int & 0x7FFF_FFFF_FFFF_FFFF


def _finish(db: Session, job_id: UUID, again: Again | None) -> JobState:
    # In the task's own transaction: the effect and the tick stand or fall together.
    job = db.get_one(Job, job_id, with_for_update=True)
    job.deliveries = 0
    if again is None:
        job.state, job.finished_at, job.last_error = JobState.DONE, clock.now(), None
    else:
        job.state, job.last_error = JobState.WAITING, again.why[:1000]
        job.next_try_at = clock.now() + timedelta(seconds=again.seconds)
    return job.state


LONGEST_SPREAD = 600.0
"""Seconds by which those who wait for the same room are spread at most."""


def _waits(job_id: UUID, why: str, seconds: float) -> JobState:
    """There is no room with a provider yet: no failure of the job's, and no end of its patience.

    Many wait for the same room; they come back one after the other, and the rarer the longer they
    have waited: what was just asked for finds room first.
    """
    with transaction(tenant=ALL_TENANTS) as db:
        job = db.get_one(Job, job_id, with_for_update=True)
        job.deliveries, job.last_error = 0, why[:1000]
        job.state = JobState.WAITING
        waited = (clock.now() - job.created_at).total_seconds()
        most = min(max(seconds, waited / 5, 1.0), LONGEST_SPREAD)
        spread = random.uniform(0.0, most)  # noqa: S311  # No secret here.
        job.next_try_at = clock.now() + timedelta(seconds=seconds + spread)
        return job.state


def _failed(job_id: UUID, why: str) -> JobState:
    with transaction(tenant=ALL_TENANTS) as db:
        job = db.get_one(Job, job_id, with_for_update=True)
        job.deliveries, job.last_error = 0, why[:1000]
        job.attempts += 1
        if job.attempts >= MAX_ATTEMPTS:
            _bury(db, job)
        else:
            job.state = JobState.WAITING
            job.next_try_at = clock.now() + timedelta(seconds=backoff(job.attempts))
        return job.state


def _bury(db: Session, job: Job) -> None:
    """A dead job waits for a person, so a person is called."""
    job.state, job.finished_at = JobState.DEAD, clock.now()
    if job.task != TELLS_OPERATORS:
        # The death of an alert's own mail would only make another that cannot be sent.
        notices.alert(
            db,
            "job_dead",
            f"{job.id} {job.finished_at:%Y-%m-%d}",
            f"{job.task} was given up: {job.last_error}",
            tenant_id=job.tenant_id,
        )


def backoff(attempts: int) -> float:
    """Seconds before the next try: 2, 4, 8 … at most an hour, with a fifth of jitter."""
    return min(2.0**attempts, 3600.0) * random.uniform(0.8, 1.2)  # noqa: S311  # No secret here.
