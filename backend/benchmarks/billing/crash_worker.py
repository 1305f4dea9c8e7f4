"""A worker that dies by SIGKILL at a given step, for the crash harness.

`python -m benchmarks.billing.crash_worker` reads one order a line from standard input, forks a
child for it and says in one line how the child ended. Steps are the edges of everything that leaves
the process: each call of a provider before it and after it, each commit before it and after it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

HORIZON = timedelta(hours=30)
"""As long as somebody would wait for a registrar that does not know what it has done."""


class Steps:
    """Counts the edges passed, and ends the process at the one it was told."""

    def __init__(self, kill_at: int | None, tell: Callable[[dict[str, Any]], None]) -> None:
        self.passed = 0
        self._kill_at, self._tell = kill_at, tell
        self._last_call = "nothing"

    def passing(self, where: str) -> None:
        self.passed += 1
        commit = where.endswith("commit")
        if self.passed == self._kill_at:
            place = f"{where}, the last call was {self._last_call}" if commit else where
            self._tell({"died": place, "steps": self.passed})
            os.kill(os.getpid(), signal.SIGKILL)
        if not commit:
            self._last_call = where.partition(" ")[2]


class Watched:
    """A provider whose every call passes two edges."""

    def __init__(self, name: str, provider: Any, steps: Steps) -> None:
        self._name, self._provider, self._steps = name, provider, steps

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._provider, name)
        if not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            self._steps.passing(f"before {self._name}.{name}")
            try:
                return found(*args, **kwargs)
            finally:
                self._steps.passing(f"after {self._name}.{name}")

        return call


WATCHED = ("payments", "registrar", "dns", "resolver", "mail", "mailer")


def watch(steps: Steps) -> None:
    """Put the edges around the providers and the commits of this process."""
    from sqlalchemy import event

    from app.database.session import SessionLocal, engine
    from app.integrations import ports

    known = ports.current()
    assert set(WATCHED) < {field.name for field in fields(known)}
    watched = {name: Watched(name, getattr(known, name), steps) for name in WATCHED}
    ports.install(replace(known, **watched))
    event.listen(engine, "commit", lambda _: steps.passing("before commit"))
    event.listen(SessionLocal, "after_commit", lambda _: steps.passing("after commit"))


def work(tenant_id: UUID, control_url: str) -> None:
    """Run everything that concerns the tenant; time moves on to whatever waits, for a while."""
    import httpx

    from app import clock
    from app.tasks import jobs, relay

    until = clock.now() + HORIZON
    batch: list[UUID] = []
    with httpx.Client(base_url=control_url, timeout=30, trust_env=False) as control:
        while True:
            batch.clear()
            relay.sweep(lambda _, job_id: batch.append(job_id))
            for job_id in batch:
                jobs.run(job_id)
            if batch:
                continue
            if control.get("/stripe/deliveries").json()["count"]:
                continue  # An event is just on its way to the API.
            due = next_due(tenant_id)
            if due is None or due > until:
                return
            wait = (due - clock.now()).total_seconds() + 0.05
            if wait > 0:
                control.post("/clock/advance", json={"seconds": wait}).raise_for_status()


def next_due(tenant_id: UUID) -> Any:
    """When the next job of the tenant, or of nobody in particular, is due; None without any."""
    from sqlalchemy import func, or_, select

    from app.database.models import Job, JobState
    from app.database.session import ALL_TENANTS, transaction

    with transaction(tenant=ALL_TENANTS) as db:
        return db.scalar(
            select(func.min(Job.next_try_at)).where(
                Job.state.in_([JobState.WAITING, JobState.SENT]),
                or_(Job.tenant_id == tenant_id, Job.tenant_id.is_(None)),
            )
        )


def child(order: dict[str, Any], pipe: int) -> None:
    from app import wiring

    def tell(result: dict[str, Any]) -> None:
        os.write(pipe, json.dumps(result).encode())

    wiring.boot()
    steps = Steps(order["kill_at"], tell)
    watch(steps)
    work(UUID(order["tenant_id"]), order["control_url"])
    tell({"died": None, "steps": steps.passed})


def main() -> None:
    from app.tasks import celery_app  # noqa: F401  # Registers every task, once for all children.

    for line in sys.stdin:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            code = 1
            try:
                child(json.loads(line), writing)
                code = 0
            except BaseException as error:
                os.write(writing, json.dumps({"died": repr(error)[:500], "steps": 0}).encode())
            finally:
                os._exit(code)
        os.close(writing)
        with os.fdopen(reading) as told:
            result = json.loads(told.read() or "{}")
        _, status = os.waitpid(pid, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        print(json.dumps({**result, "killed": killed, "status": status}), flush=True)


if __name__ == "__main__":
    main()
