"""Celery, set up to lose nothing: at least once, small prefetch, no long waits in the broker."""

from __future__ import annotations

import json
import time
from datetime import datetime
from functools import cache
from importlib import import_module
from typing import Any, cast
from uuid import UUID

from celery import Celery
from celery.exceptions import Reject
from celery.signals import (
    after_task_publish,
    setup_logging,
    worker_process_init,
    worker_process_shutdown,
)
from redis import Redis
from redis.exceptions import RedisError

from app import clock, wiring
from app.config import get_settings
from app.database.session import ALL_TENANTS, engine, transaction
from app.tasks import jobs, schedule
from app.tasks.routing import QUEUES, queue_of
from app.telemetry import tracing
from app.utils import monitoring

# Importing an area is what registers its tasks.
for _area in (
    "account",
    "billing",
    "delivery",
    "domain",
    "health",
    "monitoring",
    "provisioning",
    "webhook",
):
    import_module(f"app.tasks.{_area}_tasks")

VISIBILITY_SECONDS = 300
"""After this a message that nobody acknowledged is delivered again; above the hard time limit."""

TICK = "schedule.tick"
PREFIX = "celery:"
"""Of every key in the broker, which the mail plane shares."""

_broker_options = {
    "visibility_timeout": VISIBILITY_SECONDS,
    "socket_timeout": 5,
    "socket_connect_timeout": 1,
    "global_keyprefix": PREFIX,
}

app = Celery("inboxgrove", broker=get_settings().redis_url)
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    task_time_limit=120,
    task_soft_time_limit=90,
    task_ignore_result=True,
    task_publish_retry=False,
    task_serializer="json",
    accept_content=["json"],
    broker_transport_options=_broker_options,
    visibility_timeout=VISIBILITY_SECONDS,
    broker_connection_retry_on_startup=True,
    # What runs may end; what does not end in time goes again, because its row says so. Nothing
    # waits in a worker (later work is a row), so an idle one leaves at once.
    worker_soft_shutdown_timeout=8,
    worker_hijack_root_logger=False,
    task_default_queue="default",
    beat_schedule={"tick": {"task": TICK, "schedule": 5.0, "options": {"expires": 30}}},
    timezone="UTC",
)

ALL_QUEUES = ",".join(sorted({*QUEUES.values(), "default"}))


SENT = "sent"
"""The header by which a message says how long it waits."""

_LOOK = 8
"""Beat's ticks wait among the others and do not say."""


def send(task: str, job_id: UUID) -> None:
    """Hand a job to a worker; raises when the broker does not take it."""
    said = {SENT: clock.now().isoformat()}
    app.send_task(task, args=[str(job_id)], queue=queue_of(task), headers=said)


def oldest(task: str) -> datetime | None:
    """When the oldest message was sent that waits in the task's queue.

    None when none is known: the queue is empty, or the broker is away.
    """
    try:
        # Kombu pushes to the left of a list and takes from its right.
        waiting = _broker().lrange(f"{PREFIX}{queue_of(task)}", -_LOOK, -1)
    except RedisError:
        return None
    told = (json.loads(message)["headers"].get(SENT) for message in cast("list[str]", waiting))
    return min((datetime.fromisoformat(sent) for sent in told if sent), default=None)


@cache
def _broker() -> Redis:
    return wiring.build_redis(get_settings())


AWAY_SECONDS = 1.0
"""How long a process of the pool waits before it gives back what it could not begin."""


def _register(name: str) -> None:
    def run(job_id: str) -> None:
        try:
            jobs.run(UUID(job_id))
        except jobs.NotBegun as away:
            # Else a database that is away for a second would use up every message in the queue,
            # and their jobs would wait for the end of their leases.
            time.sleep(AWAY_SECONDS)
            raise Reject(away, requeue=True) from away

    app.task(name=name)(run)


for _name in sorted(jobs.known()):
    _register(_name)


@app.task(name=TICK)
def tick() -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        schedule.tick(db)


@after_task_publish.connect(sender=TICK)
def _count_tick(**_: Any) -> None:
    monitoring.BEAT_TICKS.inc()


@worker_process_init.connect
def _fresh_process(**_: Any) -> None:
    # Connections must not be shared with the parent that forked us.
    engine.dispose(close=False)
    wiring.boot()


@worker_process_shutdown.connect
def _last_traces(**_: Any) -> None:
    tracing.stop()


@setup_logging.connect
def _keep_our_logs(**_: Any) -> None:
    """Connecting to this signal is what tells Celery to leave logging alone."""
