"""At least once, with effects once: what happens to a job whatever happens to its worker."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app import clock, errors
from app.database import outbox
from app.database.models import Job, JobState, OutboxEvent, ScheduledRun
from app.database.session import ALL_TENANTS, transaction
from app.events import HoldsDue, HousekeepingDue, TenantSuspended
from app.tasks import jobs, relay, schedule
from tests.fixtures.money import alerts

pytestmark = pytest.mark.usefixtures("clean")
TASK = "test.step"


def make_job(state: JobState = JobState.SENT, **fields: object) -> UUID:
    with transaction(tenant=ALL_TENANTS) as db:
        event = OutboxEvent(event="Test", payload={}, routed_at=clock.now())
        db.add(event)
        db.flush()
        job = Job(
            **{
                "outbox_id": event.id,
                "task": TASK,
                "payload": {},
                "state": state,
                "next_try_at": clock.now(),
                **fields,
            }
        )
        db.add(job)
        db.flush()
        return job.id


def job_of(job_id: UUID) -> Job:
    with transaction(tenant=ALL_TENANTS) as db:
        return db.get_one(Job, job_id)


def write_something(db: Session) -> None:
    outbox.record(db, HousekeepingDue())


def written() -> int:
    with transaction(tenant=ALL_TENANTS) as db:
        events = select(OutboxEvent).where(OutboxEvent.event == "HousekeepingDue")
        return len(db.scalars(events).all())


def test_effect_and_tick_are_one() -> None:
    job_id = make_job()
    assert jobs.run(job_id, {TASK: write_something}) == JobState.DONE
    assert written() == 1


def test_a_second_delivery_does_nothing() -> None:
    job_id = make_job()
    jobs.run(job_id, {TASK: write_something})
    assert jobs.run(job_id, {TASK: write_something}) is None
    assert written() == 1


def test_a_failed_run_leaves_nothing_and_waits_longer_each_time() -> None:
    job_id = make_job()

    def fail(db: Session) -> None:
        write_something(db)
        raise errors.ProviderUnavailable(provider="Stripe")

    waits = []
    for _ in range(4):
        assert jobs.run(job_id, {TASK: fail}) == JobState.WAITING
        job = job_of(job_id)
        waits.append((job.next_try_at - clock.now()).total_seconds())
        assert job.last_error is not None
        assert "Stripe" in job.last_error
        with transaction(tenant=ALL_TENANTS) as db:
            db.execute(update(Job).values(state=JobState.SENT))
    assert written() == 0
    assert waits == sorted(waits)
    assert 1 < waits[0] < 3


def test_after_the_last_try_it_is_dead_and_can_be_replayed() -> None:
    from app.database.queries import jobs as queries

    job_id = make_job(attempts=jobs.MAX_ATTEMPTS - 1)

    def fail(_: Session) -> None:
        raise ValueError("no")

    assert jobs.run(job_id, {TASK: fail}) == JobState.DEAD
    assert alerts() == ["job_dead"]
    with transaction(tenant=ALL_TENANTS) as db:
        assert queries.summary(db)["dead"][0]["error"] == "ValueError: no"
        assert queries.replay(db, None) == 1
    assert job_of(job_id).state == JobState.WAITING
    assert job_of(job_id).attempts == 0


def test_the_death_of_an_alert_s_own_mail_raises_no_other() -> None:
    job_id = make_job(task=jobs.TELLS_OPERATORS, attempts=jobs.MAX_ATTEMPTS - 1)

    def fail(_: Session) -> None:
        raise errors.ProviderUnavailable("mail")

    assert jobs.run(job_id, {jobs.TELLS_OPERATORS: fail}) == JobState.DEAD
    assert alerts() == []


def test_again_commits_and_waits() -> None:
    job_id = make_job()

    def not_yet(db: Session) -> jobs.Again:
        write_something(db)
        return jobs.Again(30, "the zone is not visible yet")

    assert jobs.run(job_id, {TASK: not_yet}) == JobState.WAITING
    job = job_of(job_id)
    assert written() == 1
    assert (job.attempts, job.last_error) == (0, "the zone is not visible yet")
    assert timedelta(seconds=28) < job.next_try_at - clock.now() <= timedelta(seconds=30)


def test_a_job_that_kills_its_worker_is_quarantined() -> None:
    job_id = make_job(deliveries=jobs.MAX_DELIVERIES)
    assert jobs.run(job_id, {TASK: write_something}) is None
    assert job_of(job_id).state == JobState.DEAD
    assert alerts() == ["job_dead"]
    assert written() == 0


# The relay --------------------------------------------------------------------------------------


def sweep() -> list[str]:
    sent: list[str] = []
    relay.sweep(lambda task, _: sent.append(task))
    return sent


def test_an_event_becomes_its_tasks_once() -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        outbox.record(db, HoldsDue())
    assert sweep() == ["billing.release_stale_holds"]
    assert sweep() == []


def test_an_event_of_a_rolled_back_transaction_is_none() -> None:
    with pytest.raises(RuntimeError), transaction(tenant=ALL_TENANTS) as db:
        outbox.record(db, HoldsDue())
        raise RuntimeError
    assert sweep() == []


def test_many_relays_send_each_job_once() -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        for _ in range(300):
            outbox.record(db, HoldsDue())
    sent: list[UUID] = []
    lock = threading.Lock()

    def send(_: str, job_id: UUID) -> None:
        with lock:
            sent.append(job_id)

    threads = [
        threading.Thread(target=lambda: [relay.sweep(send) for _ in range(5)]) for _ in "1234"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sent) == len(set(sent)) == 300


def test_a_broker_that_is_away_loses_nothing(travel: Callable[..., None]) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        outbox.record(db, HoldsDue())

    def refuse(*_: object) -> None:
        raise ConnectionError("no broker")

    with pytest.raises(errors.Unavailable):
        relay.sweep(refuse)
    assert sweep() == []
    travel(seconds=3)
    assert sweep() == ["billing.release_stale_holds"]


def test_a_message_lost_in_the_broker_is_sent_again(travel: Callable[..., None]) -> None:
    make_job(JobState.WAITING)
    assert sweep() == [TASK]
    assert sweep() == []
    travel(seconds=jobs.SENT_LEASE.total_seconds() + 1)
    assert sweep() == [TASK]


def test_a_message_that_still_waits_is_not_sent_twice(travel: Callable[..., None]) -> None:
    make_job(JobState.WAITING)
    sent: list[str] = []
    first = clock.now()

    def round_(oldest: datetime | None) -> int:
        return relay.sweep(lambda task, _: sent.append(task), lambda _: oldest)

    assert round_(None) == 1
    travel(seconds=jobs.SENT_LEASE.total_seconds() + 1)
    # Workers are behind: the first message in the queue is as old as this job's.
    assert round_(first) == 0
    assert round_(clock.now()) == 0, "and is left alone for another lease"
    travel(seconds=jobs.SENT_LEASE.total_seconds() + 1)
    # All that was sent a minute ago is through, and nobody has begun this one.
    assert round_(clock.now() - timedelta(seconds=5)) == 1


def test_what_a_dead_worker_had_begun_goes_again_however_long_the_queue(
    travel: Callable[..., None],
) -> None:
    make_job(deliveries=1)
    long_ago = clock.now()
    travel(seconds=jobs.SENT_LEASE.total_seconds() + 1)
    assert relay.sweep(lambda *_: None, lambda _: long_ago) == 1


def test_a_second_message_of_a_running_job_keeps_nobody() -> None:
    job_id = make_job()
    running, finish = threading.Event(), threading.Event()

    def slow(_: Session) -> None:
        running.set()
        finish.wait(30)

    worker = threading.Thread(target=jobs.run, args=(job_id, {TASK: slow}))
    worker.start()
    assert running.wait(10)
    # Else it would wait for the lock, and then count as a failed try.
    assert jobs.run(job_id, {TASK: write_something}) is None
    assert (job_of(job_id).deliveries, job_of(job_id).attempts) == (1, 0)
    finish.set()
    worker.join()
    assert job_of(job_id).state == JobState.DONE
    assert written() == 0


def test_a_running_job_is_not_sent_again_but_a_dead_workers_is(
    travel: Callable[..., None],
) -> None:
    job_id = make_job()
    running, finish = threading.Event(), threading.Event()

    def slow(_: Session) -> None:
        running.set()
        finish.wait(10)

    worker = threading.Thread(target=jobs.run, args=(job_id, {TASK: slow}))
    worker.start()
    assert running.wait(10)
    travel(seconds=11)
    assert sweep() == []
    finish.set()
    worker.join()
    assert job_of(job_id).state == JobState.DONE


CRASH = """
import sys, time
from uuid import UUID
from app.tasks import jobs
def step(db):
    print("running", flush=True)
    time.sleep(60)
jobs.run(UUID(sys.argv[1]), {"test.step": step})
"""


def test_kill_nine_frees_the_job_at_once(travel: Callable[..., None]) -> None:
    job_id = make_job()
    with subprocess.Popen(
        [sys.executable, "-c", CRASH, str(job_id)], stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline().strip() == "running"
        travel(seconds=11)
        assert sweep() == []
        worker.send_signal(signal.SIGKILL)
    travel(seconds=11)
    deadline = time.monotonic() + 5
    again: list[str] = []
    while not again and time.monotonic() < deadline:
        again = sweep()
    assert again == [TASK]
    assert job_of(job_id).deliveries == 1


def test_jobs_of_a_suspended_tenant_wait_but_the_kill_switch_goes_on(
    make_tenant: Callable[..., object],
) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        tenant = make_tenant(db, is_suspended=False)
        tenant.is_suspended = True  # type: ignore[attr-defined]
        outbox.record(db, TenantSuspended(tenant_id=tenant.id))  # type: ignore[attr-defined]
        tenant_id = tenant.id  # type: ignore[attr-defined]
    make_job(JobState.WAITING, tenant_id=tenant_id)
    assert "monitoring.silence_tenant" in sweep()
    assert TASK not in sweep()
    with transaction(tenant=ALL_TENANTS) as db:
        from app.database.models import Tenant

        db.get_one(Tenant, tenant_id).is_suspended = False
    assert sweep() == [TASK]


# The calendar -----------------------------------------------------------------------------------


def tick() -> list[str]:
    with transaction(tenant=ALL_TENANTS) as db:
        return schedule.tick(db)


def test_each_period_begins_once_whoever_ticks(travel: Callable[..., None]) -> None:
    travel(seconds=0)
    first = tick()
    assert set(first) == {event.__name__ for event, _ in schedule.SCHEDULE}
    assert tick() == []
    travel(days=1)
    assert "WarmupDue" in tick()


def test_two_beats_at_once() -> None:
    begun: list[str] = []
    lock = threading.Lock()

    def beat() -> None:
        names = tick()
        with lock:
            begun.extend(names)

    threads = [threading.Thread(target=beat) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with transaction(tenant=ALL_TENANTS) as db:
        claimed = db.scalars(select(ScheduledRun)).all()
    assert len(begun) == len(claimed)


def test_unknown_jobs_are_nobodys() -> None:
    assert jobs.run(uuid4(), {}) is None


def test_waiting_for_room_is_no_failure(travel: Callable[..., None]) -> None:
    full = errors.ProviderUnavailable(provider="X", reason="our own rate limit", retry_after=60)

    def no_room(_: object) -> None:
        raise full

    job_id = make_job()
    for _ in range(jobs.MAX_ATTEMPTS + 5):
        before = clock.now()
        assert jobs.run(job_id, {TASK: no_room}) == JobState.WAITING
        job = job_of(job_id)
        assert (job.attempts, job.deliveries) == (0, 0)
        # After the wait, and not all at once.
        assert timedelta(seconds=60) <= job.next_try_at - before <= timedelta(seconds=125)
        with transaction(tenant=ALL_TENANTS) as db:
            db.execute(update(Job).values(state=JobState.SENT))
    assert alerts() == []
