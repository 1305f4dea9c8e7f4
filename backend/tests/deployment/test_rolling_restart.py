"""A new release takes over while people work: no request is lost, no job is done twice."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from secrets import token_hex
from uuid import UUID

import httpx
import pytest
from sqlalchemy import func, select

from app.database.models import BillingNotice, NoticeKind, Suppression
from app.database.session import ALL_TENANTS, transaction
from app.services import notices
from tests.fixtures.customer import Customer
from tests.fixtures.world import eventually, free_port

BACKEND = Path(__file__).parents[2]
CLIENTS = 4
MAILS = 40
WIDE = {"RATE_LIMIT_REQUESTS_PER_MINUTE": "100000", "RATE_LIMIT_REQUESTS_PER_HOUR": "1000000"}


@contextmanager
def command(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the product, as its container runs it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", *words], cwd=BACKEND, env={**os.environ, **WIDE}
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_until_ready(port: int) -> None:
    def answers() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=10).status_code == 200
        except httpx.TransportError:
            return False

    eventually(answers, within=60, why="the process serves")


class Crowd:
    """Clients who write without a pause to the process that the proxy sends them to."""

    def __init__(self, port: int, token: str) -> None:
        self.port, self._token = port, token
        self.statuses: Counter[int | str] = Counter()
        self._over = threading.Event()
        self._at: dict[int, int] = {}
        self._threads = [threading.Thread(target=self._work, args=(n,)) for n in range(CLIENTS)]

    def __enter__(self) -> Crowd:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    def turn_to(self, port: int) -> None:
        """What a proxy does with a process that leaves: nobody new is sent there."""
        self.port = port
        self.went_on()
        assert set(self._at.values()) == {port}

    def went_on(self) -> None:
        """Everybody has asked, and been answered, once more than now."""
        done, here = self.statuses.total(), self.port
        eventually(
            lambda: (
                self.statuses.total() >= done + 2 * CLIENTS
                and all(port == here for port in self._at.values())
            ),
            within=60,
            why="everybody was answered",
        )

    def _work(self, number: int) -> None:
        while not self._over.is_set():
            self._at[number] = port = self.port
            target = f"{token_hex(8)}@elsewhere.test"
            try:
                answer = httpx.post(
                    f"http://127.0.0.1:{port}/api/v1/infrastructure/suppressions",
                    json={"targets": [target]},
                    headers={"Authorization": f"Bearer {self._token}"},
                    timeout=60,
                )
                self.statuses[answer.status_code] += 1
            except httpx.TransportError as error:
                self.statuses[type(error).__name__] += 1


def suppressed(tenant_id: str) -> int:
    with transaction(tenant=ALL_TENANTS) as db:
        return (
            db.scalar(
                select(func.count())
                .select_from(Suppression)
                .where(Suppression.tenant_id == UUID(tenant_id))
            )
            or 0
        )


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_new_api_takes_over_and_no_request_is_lost(starter: Customer) -> None:
    token = starter.http.headers["Authorization"].partition(" ")[2]
    before = suppressed(starter.tenant_id)
    old_port, *later = (free_port() for _ in range(3))
    with ExitStack() as alive:
        old = alive.enter_context(command("api", "--port", str(old_port)))
        wait_until_ready(old_port)
        crowd = alive.enter_context(Crowd(old_port, token))
        crowd.went_on()
        for port in later:
            new = alive.enter_context(command("api", "--port", str(port)))
            wait_until_ready(port)
            with half_a_request(old_port, token) as rest:
                crowd.turn_to(port)
                old.send_signal(signal.SIGTERM)
                assert rest().startswith(b"HTTP/1.1 20"), "begun before, answered after"
            assert old.wait(60) == 0
            crowd.went_on()
            old, old_port = new, port
        crowd.end()
    assert set(crowd.statuses) <= {200, 201}, crowd.statuses
    # The two that were half sent are counted too.
    assert suppressed(starter.tenant_id) - before == crowd.statuses.total() + 2


@contextmanager
def half_a_request(port: int, token: str) -> Iterator[Callable[[], bytes]]:
    """A request of which the body is not there yet; calling what is yielded sends the rest."""
    body = f'{{"targets": ["{token_hex(8)}@half.test"]}}'.encode()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as wire:
        wire.sendall(
            b"POST /api/v1/infrastructure/suppressions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            + f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n".encode()
            + f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body[:5]
        )

        def rest() -> bytes:
            wire.sendall(body[5:])
            return wire.recv(65_536)

        yield rest


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_new_worker_takes_over_and_nothing_is_done_twice(starter: Customer) -> None:
    with command("relay"), command("worker") as old:
        owe(starter, range(1, 11))
        eventually(lambda: sent(starter) >= 1, within=90, why="the worker works")
        owe(starter, range(11, MAILS + 1))
        with command("worker") as new:
            old.send_signal(signal.SIGTERM)
            assert old.wait(90) == 0
            eventually(lambda: sent(starter) == MAILS, within=90, why="all mails are sent")
            new.send_signal(signal.SIGTERM)
            assert new.wait(60) == 0
    found = subjects(starter)
    assert found == Counter({f"{n} of 100 inboxes are used": 1 for n in range(1, MAILS + 1)})


def owe(customer: Customer, numbers: range) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        for number in numbers:
            notices.owe(
                db,
                UUID(customer.tenant_id),
                NoticeKind.LIMIT_NEAR,
                f"fact {number}",
                what="inboxes",
                used=number,
                limit=100,
            )


def sent(customer: Customer) -> int:
    with transaction(tenant=ALL_TENANTS) as db:
        rows = select(func.count()).where(
            BillingNotice.tenant_id == UUID(customer.tenant_id),
            BillingNotice.kind == NoticeKind.LIMIT_NEAR,
            BillingNotice.sent_at.is_not(None),
        )
        return db.scalar(rows) or 0


def subjects(customer: Customer) -> Counter[str]:
    answer = customer.world.sandbox.get(
        "/mail/messages",
        params={"to": f"owner@company-{customer.tag}.example", "limit": 500},
    )
    told = Counter(message["subject"] for message in answer.json()["messages"])
    return Counter({subject: n for subject, n in told.items() if "inboxes are used" in subject})
