"""The relay: outbox rows become jobs, due jobs are handed to Celery.

It is nudged by PostgreSQL when a transaction with an outbox row commits, and looks by itself twice
a second, so that a lost nudge costs half a second. Several relays may run: rows are claimed with
SKIP LOCKED.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import cache
from threading import Event as Flag
from uuid import UUID

import psycopg
import structlog
from sqlalchemy import exists, or_, select
from sqlalchemy.orm import Session

from app import clock
from app.database import outbox
from app.database.role import AS_RUNTIME
from app.database.session import ALL_TENANTS, engine, transaction
from app.database.tables.messaging import Job, JobState
from app.database.tables.tenancy import Tenant
from app.errors import Unavailable
from app.services import restored_mode
from app.tasks.jobs import RUN_LEASE, SENT_LEASE, is_running
from app.tasks.routing import ROUTES, UNSTOPPABLE, WAIT_WHILE_RESTORED
from app.utils import monitoring

BATCH = 200
POLL_SECONDS = 0.5
log = structlog.get_logger()
Send = Callable[[str, UUID], None]
"""Hands a job's id to the messenger, under the task's name."""

Oldest = Callable[[str], datetime | None]
"""When the oldest message was sent that waits where this task's do; None when none is known."""


def route(db: Session) -> int:
    """Turn unrouted events into jobs, one for each task; how many events."""
    events = outbox.claim(db, BATCH)
    now = clock.now()
    for event in events:
        for task in ROUTES[event.event]:
            db.add(
                Job(
                    outbox_id=event.id,
                    task=task,
                    payload=event.payload,
                    tenant_id=event.tenant_id,
                    request_id=event.request_id,
                    traceparent=event.traceparent,
                    next_try_at=now,
                )
            )
        event.routed_at = now
    return len(events)


def _nobody_knows(_: str) -> None:
    return None


def claim_due(db: Session, oldest: Oldest = _nobody_knows) -> Sequence[Job]:
    """Due jobs, marked as sent. A sent one whose lease ran out is due again, unless it runs or
    its message still waits: when workers are behind, a second message of every job would take
    from them what they need for the first.

    The jobs of a suspended tenant wait, but for those that must go on. On a restored database that
    nobody has released, whatever could happen a second time waits.
    """
    now = clock.now()
    held = exists().where(Tenant.id == Job.tenant_id, Tenant.is_suspended)
    waiting = WAIT_WHILE_RESTORED if restored_mode.is_held(db) else ()
    jobs = db.scalars(
        select(Job)
        .where(
            Job.state.in_([JobState.WAITING, JobState.SENT]),
            Job.next_try_at <= now,
            or_(Job.task.in_(UNSTOPPABLE), ~held),
            Job.task.not_in(waiting),
        )
        .order_by(Job.next_try_at)
        .limit(BATCH)
        .with_for_update(skip_locked=True, of=Job)
    ).all()
    due = []

    @cache
    def is_behind(task: str) -> bool:
        # A queue is first in, first out: what was sent before its oldest message is not in it.
        sent = oldest(task)
        return sent is not None and now - sent >= SENT_LEASE

    for job in jobs:
        if job.state == JobState.SENT:
            if is_running(db, job.id):
                job.next_try_at = now + RUN_LEASE
                continue
            if job.deliveries == 0 and is_behind(job.task):
                job.next_try_at = now + SENT_LEASE
                continue
        job.state, job.next_try_at = JobState.SENT, now + SENT_LEASE
        due.append(job)
    return due


def sweep(send: Send, oldest: Oldest = _nobody_knows) -> int:
    """One round: route, claim, commit, then send; how many jobs were sent.

    A crash after the commit leaves jobs marked as sent; their lease runs out and they go again.
    """
    with transaction(tenant=ALL_TENANTS) as db:
        restored_mode.observe(db)
        route(db)
    with transaction(tenant=ALL_TENANTS) as db:
        due = [(job.task, job.id) for job in claim_due(db, oldest)]
    for position, (task, job_id) in enumerate(due):
        try:
            send(task, job_id)
        except Exception as error:
            # The broker is away. Nothing is lost: the rows are due again in two seconds.
            log.warning("broker does not take jobs", error=str(error), waiting=len(due) - position)
            _put_back([job_id for _, job_id in due[position:]])
            raise Unavailable from error
        monitoring.RELAY_SENT.inc()
    return len(due)


def _put_back(ids: list[UUID]) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        for job in db.scalars(select(Job).where(Job.id.in_(ids), Job.state == JobState.SENT)):
            job.state, job.next_try_at = JobState.WAITING, clock.now() + timedelta(seconds=2)


def run() -> None:
    """Relay until SIGTERM or Ctrl-C; a database or broker that is away is waited for."""
    # Celery is heavy; tests need no broker.
    from app.tasks.celery_app import oldest, send  # noqa: PLC0415

    stop = Flag()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    log.info("relay started")
    while not stop.is_set():
        try:
            _listen(stop, send, oldest)
        except (Unavailable, psycopg.OperationalError) as error:
            monitoring.RELAY_ROUNDS.labels(result="failed").inc()
            log.warning("relay waits", error=str(error))
            stop.wait(1.0)
    log.info("relay stopped")


def _listen(stop: Flag, send: Send, oldest: Oldest) -> None:
    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True, connect_timeout=2, options=AS_RUNTIME) as listener:
        listener.execute(f"LISTEN {outbox.CHANNEL}")
        while not stop.is_set():
            began = time.monotonic()
            sent = sweep(send, oldest)
            monitoring.RELAY_ROUNDS.labels(result="done").inc()
            if sent == BATCH:
                continue
            left = max(0.0, POLL_SECONDS - (time.monotonic() - began))
            for _ in listener.notifies(timeout=left, stop_after=1):
                pass
