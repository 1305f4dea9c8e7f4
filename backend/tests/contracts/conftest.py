"""What the suites share. Each drives one client of `app.integrations` as wiring builds it and holds
it to its port.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import httpx
import pytest
from redis import Redis

from tests.contracts.tools import Line, Sandbox, Scripted

PARTS = ("dns", "namecheap", "porkbun", "cloudflare", "stripe", "receivers")


@pytest.fixture(scope="session")
def _providers() -> Iterator[Sandbox]:
    sandbox = Sandbox(PARTS)
    yield sandbox
    sandbox.close()


@pytest.fixture
def sandbox(_providers: Sandbox) -> Iterator[Sandbox]:
    """Every provider, well-behaved at the start and at the end."""
    _providers.heal()
    yield _providers
    _providers.heal()


@pytest.fixture
def line(sandbox: Sandbox) -> Iterator[Line]:
    """A way to the sandbox that can be cut."""
    made = Line(sandbox)
    yield made
    made.close()


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    server = Scripted()
    yield server
    server.close()


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    """As wiring makes it."""
    with httpx.Client(timeout=httpx.Timeout(15.0, connect=3.0), follow_redirects=False) as client:
        yield client


@pytest.fixture
def valkey() -> Iterator[Redis]:
    """As wiring makes it, on an empty database."""
    with Redis.from_url(
        os.environ["REDIS_URL"],
        decode_responses=True,
        socket_timeout=0.5,
        socket_connect_timeout=0.5,
        retry=None,
    ) as redis:
        redis.flushdb()
        yield redis


@pytest.fixture
def no_redis(nowhere: str) -> Iterator[Redis]:
    """A Redis that is away."""
    url = f"redis://{nowhere}/0"
    with Redis.from_url(
        url, decode_responses=True, socket_connect_timeout=0.5, retry=None
    ) as redis:
        yield redis


@pytest.fixture
def nowhere() -> Iterator[str]:
    """host:port that refuses connections: bound, so that nobody else gets it, but not listening."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"
