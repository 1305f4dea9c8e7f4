"""Each period's work begins once: with two beats, with none for two hours, and it can be seen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app import clock
from app.database.models import Job, JobState, OutboxEvent, ScheduledRun
from app.database.queries import schedules
from app.database.session import ALL_TENANTS, transaction
from app.tasks import jobs, relay, schedule

pytestmark = pytest.mark.usefixtures("clean")
BACKEND = Path(__file__).parents[2]
Travel = Callable[..., None]


def two_beats() -> None:
    def tick() -> None:
        with transaction(tenant=ALL_TENANTS) as db:
            schedule.tick(db)

    threads = [threading.Thread(target=tick) for _ in "12"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def begun() -> tuple[Counter[str], Counter[str]]:
    """How often each work was set going, and how many of its periods were claimed."""
    with transaction(tenant=ALL_TENANTS) as db:
        events = Counter(db.scalars(select(OutboxEvent.event)))
        periods = Counter(db.scalars(select(ScheduledRun.name)))
    return events, periods


def reported() -> dict[str, schedules.Scheduled]:
    with transaction(tenant=ALL_TENANTS) as db:
        return {row.name: row for row in schedules.report(db, schedule.PERIODS)}


def test_two_beats_for_two_days(travel: Travel) -> None:
    travel(seconds=0)
    began = clock.now()
    for _ in range(32):
        two_beats()
        travel(minutes=90)
    two_beats()
    events, periods = begun()
    assert events == periods
    for name, every in schedule.PERIODS.items():
        # A look each 90 minutes meets every period that is longer, and each shorter one once.
        looks = {
            schedule.period_start(began + timedelta(minutes=90 * look), every) for look in range(33)
        }
        assert events[name] == len(looks), name


def test_none_for_two_hours_then_each_once(travel: Travel) -> None:
    travel(seconds=0)
    two_beats()
    before, _ = begun()
    assert set(before) == set(schedule.PERIODS)
    travel(hours=2)
    late = reported()
    assert late["MailPlaneCheckDue"].lag_seconds > 7_000
    assert late["WarmupDue"].next_run - late["WarmupDue"].last_run <= timedelta(days=1)  # type: ignore[operator]
    two_beats()
    two_beats()
    after, _ = begun()
    for name, every in schedule.PERIODS.items():
        if every <= timedelta(hours=1):
            assert after[name] == before[name] + 1, name
    assert max(row.lag_seconds for row in reported().values()) == 0


def test_the_effects_are_as_many_as_the_periods(travel: Travel) -> None:
    """Jobs done, not only events written: a message that comes twice has one effect."""
    done: Counter[str] = Counter()

    def work(task: str, job_id: Any) -> None:
        def once(_: Any) -> None:
            done[task] += 1

        for _ in "12":
            jobs.run(job_id, {task: once})

    travel(seconds=0)
    for _ in range(4):
        two_beats()
        relay.sweep(work)
        relay.sweep(work)
        travel(minutes=1)
    events, _ = begun()
    assert done["billing.expire_trials"] == events["TrialsDue"] == 4
    assert done["monitoring.reconcile_mail_plane"] == events["MailPlaneCheckDue"] == 4


def test_failures_and_what_is_given_up_are_told(travel: Travel) -> None:
    travel(seconds=0)
    two_beats()

    def fail(_: Any) -> None:
        raise ValueError("no such thing")

    relay.sweep(lambda task, job_id: jobs.run(job_id, {task: fail}) and None)
    row = reported()["TrialsDue"]
    assert (row.pending, row.retrying, row.dead, row.last_done) == (1, 1, 0, None)
    assert row.last_error == "ValueError: no such thing"
    with transaction(tenant=ALL_TENANTS) as db:
        job = db.scalars(select(Job).where(Job.task == "billing.expire_trials")).one()
        job.state, job.finished_at = JobState.DEAD, clock.now()
    assert reported()["TrialsDue"].dead == 1


def ops_jobs(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app.cli", "ops", "jobs", *words],
        cwd=BACKEND,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "COLUMNS": "200"},
    )


def test_the_command_shows_it(make_tenant: Callable[..., Any]) -> None:
    two_beats()
    said = ops_jobs("--json")
    assert said.returncode == 0, said.stdout + said.stderr
    rows = {row["name"]: row for row in json.loads(said.stdout)["jobs"]}
    assert list(rows) == list(schedule.PERIODS)
    books = rows["BooksDue"]
    assert (books["every_seconds"], books["tasks"]) == (86_400, ["billing.reconcile"])
    assert books["last_run"] < books["next_run"]
    assert (books["lag_seconds"], books["dead"]) == (0, 0)
    with transaction(tenant=ALL_TENANTS) as db:
        run = db.scalars(select(ScheduledRun).where(ScheduledRun.name == "TrialsDue")).one()
        run.period -= timedelta(hours=1)
    shown = ops_jobs()
    assert shown.returncode == 1
    (line,) = [line for line in shown.stdout.splitlines() if line.startswith("TrialsDue")]
    assert "0:01:00" in line
    assert len(shown.stdout.splitlines()) == len(schedule.PERIODS) + 1


def test_work_that_never_began_is_late_once_there_is_somebody(
    travel: Travel, make_tenant: Callable[..., Any]
) -> None:
    travel(seconds=0)
    assert {row.lag_seconds for row in reported().values()} == {0}
    with transaction(tenant=ALL_TENANTS) as db:
        make_tenant(db).created_at = clock.now() - timedelta(hours=3)
    assert {round(row.lag_seconds) for row in reported().values()} == {10_800}
