"""The database is killed while events come in: none is lost, none counted twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from app.embedded import EmbeddedPostgres
from app.embedded.postgres import ADMIN, DATABASE
from app.rules.records import KINDS
from tests.fixtures.relay import Address, Node, noon
from tests.fixtures.world import Running, eventually, free_port

BACKEND = Path(__file__).resolve().parents[1]
SENDERS, BATCH, CRASHES = 4, 60, 2


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A server of this test's own, as durable as in production, with the product's schema."""
    with EmbeddedPostgres(tmp_path / "postgres", port=0) as server:
        _run_cli(server, "migrate").wait(120)
        yield server


def _run_cli(server: EmbeddedPostgres, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "app.cli", *words],
        cwd=BACKEND,
        env={**os.environ, "DATABASE_URL": server.url},
    )


@contextmanager
def serving(server: EmbeddedPostgres) -> Iterator[str]:
    """The API in a process of its own, on that database."""
    port = free_port()
    process = _run_cli(server, "api", "--port", str(port))
    url = f"http://127.0.0.1:{port}"
    try:
        eventually(lambda: _answers(url), within=30, why="the API starts")
        yield url
    finally:
        process.terminate()
        process.wait(30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").status_code < 500
    except httpx.TransportError:
        return False


def kill(server: EmbeddedPostgres) -> None:
    """As the power fails: every process at once, without a word."""
    pid = server.pid
    assert pid is not None
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for each in (pid, *map(int, children)):
        os.kill(each, signal.SIGKILL)
    eventually(lambda: not server.alive, within=30, why="the server is dead")


class Relay:
    """A node's log hook: batches go out again and again until they are answered with 200."""

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes
        self.over = threading.Event()
        self.statuses: Counter[int] = Counter()
        self.sent = 0
        self.repeated = 0
        self._lock = threading.Lock()

    def run(self, number: int) -> None:
        turn = number
        while not self.over.is_set():
            turn += 1
            # Each batch is about all inboxes, in an order of its own.
            records = [
                self.nodes[(turn + n) % len(self.nodes)].record(
                    ("Reception", "Delivery")[n % 2], noon(ago=n % 2), recipient="bob@gmail.com"
                )
                for n in range(BATCH)
            ]
            # Of every fourth batch the answer is lost on the way.
            for _ in range(2 if turn % 4 == 0 else 1):
                self._deliver(records)
            with self._lock:
                self.sent += BATCH

    def _deliver(self, records: list[dict[str, Any]]) -> None:
        while True:
            answer = self.nodes[0].post(records)
            with self._lock:
                self.statuses[answer.status_code] += 1
            if answer.status_code == 200:
                with self._lock:
                    self.repeated += answer.json()["data"]["repeated"]
                return
            time.sleep(0.05)  # The hook waits as well before it tries again.


@pytest.fixture
def addresses(
    postgres: EmbeddedPostgres, make_tenant: Callable[..., Any], make_domain: Callable[..., Any]
) -> list[Address]:
    """Three inboxes of two tenants."""
    from tests.fixtures.relay import add_inbox

    engine = create_engine(
        postgres.url_for(DATABASE, role=ADMIN).replace("postgresql://", "postgresql+psycopg://")
    )
    with Session(engine) as db, db.begin():
        first, second = make_tenant(db), make_tenant(db)
        domains = [make_domain(db, tenant) for tenant in (first, first, second)]
        found = [add_inbox(db, domain) for domain in domains]
    engine.dispose()
    return found


def test_nothing_is_lost_or_counted_twice_when_the_database_dies(
    world: Running, postgres: EmbeddedPostgres, addresses: list[Address]
) -> None:
    with serving(postgres) as url:
        relay = Relay([Node(url, address) for address in addresses])
        senders = [threading.Thread(target=relay.run, args=(n,)) for n in range(SENDERS)]
        for sender in senders:
            sender.start()
        try:
            for _ in range(CRASHES):
                goal = relay.sent + 20 * BATCH
                eventually(lambda goal=goal: relay.sent >= goal, within=30, why="events come in")
                kill(postgres)
                refused = relay.statuses[503]
                eventually(
                    lambda refused=refused: relay.statuses[503] > refused, within=30, why="refused"
                )
                postgres.start()
            goal = relay.sent + 20 * BATCH
            eventually(lambda: relay.sent >= goal, within=30, why="events come in again")
        finally:
            relay.over.set()
            for sender in senders:
                sender.join(60)
    assert set(relay.statuses) == {200, 503}
    assert relay.repeated > 0
    half = relay.sent // 2
    with psycopg.connect(postgres.url_for(DATABASE, role=ADMIN)) as admin:
        ask = admin.execute
        found = ask("SELECT count(*), count(DISTINCT natural_key) FROM delivery_events").fetchone()
        assert found == (relay.sent, relay.sent)
        for table in ("inbox_days", "domain_days", "provider_days", "tenant_days"):
            sums = ask(f"SELECT {', '.join(f'sum({kind})' for kind in KINDS)} FROM {table}")
            counts = dict(zip(KINDS, sums.fetchone() or (), strict=True))
            assert {kind: n for kind, n in counts.items() if n} == {
                "accepted": half, "delivered": half,
            }, table  # fmt: skip
