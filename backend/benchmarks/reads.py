"""`python -m benchmarks.reads [SECONDS]`: authenticated reads, as a share of a raw ASGI handler.

One process of the API and one of benchmarks/http/floor.py, both under uvicorn on one PostgreSQL,
asked in turn by a client that does as little as it can over 1, 16 and 64 kept connections. The
tenant has 50 inboxes in one domain. Told are requests a second, milliseconds at the median and the
99th percentile, and the share of the floor. Exit 1 when a read is below the goal at 16 connections.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg

from benchmarks.mail.stage import BACKEND

PATHS = ("/api/v1/auth/me", "/api/v1/infrastructure/inboxes", "/api/v1/domains")
WITHOUT_FLOOR = ("/api/v1/analytics/overview",)
CONNECTIONS = (1, 16, 64)
SECONDS = 5.0
GOAL, GOAL_AT = 0.4, 16
INBOXES = 50
SECRET = "benchmark-secret-that-is-long-enough-to-sign"


@dataclass(frozen=True)
class Person:
    id: UUID
    tenant: UUID
    family: UUID
    token: str


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    with stage() as (api, floor, token):
        good = True
        print(
            f"{'read':<34} {'at once':>7} {'a second':>9} {'p50 ms':>7} {'p99 ms':>7} {'share':>6}"
        )
        for path in (*PATHS, *WITHOUT_FLOOR):
            for connections in CONNECTIONS:
                share = compare(path, connections, seconds, api, floor, token)
                good = good and (connections != GOAL_AT or path in WITHOUT_FLOOR or share >= GOAL)
    print(f"goal: {GOAL} of the floor at {GOAL_AT} connections: {'held' if good else 'NOT held'}")
    sys.exit(0 if good else 1)


def compare(path: str, connections: int, seconds: float, api: int, floor: int, token: str) -> float:
    """Ask both and tell; the share of the floor."""
    ours = asyncio.run(ask(api, path, token, connections, seconds))
    theirs = asyncio.run(ask(floor, path, token, connections, seconds))
    share = len(ours) / len(theirs)
    told = f"{share:.2f}" if path in PATHS else "-"
    print(
        f"{path.removeprefix('/api/v1'):<34} {connections:>7} {len(ours) / seconds:>9.0f}"
        f" {median(ours) * 1e3:>7.1f} {quantiles(ours, n=100)[-1] * 1e3:>7.1f} {told:>6}",
        flush=True,
    )
    return share


async def ask(port: int, path: str, token: str, connections: int, seconds: float) -> list[float]:
    """Seconds of each answer. Raises RuntimeError for one that is not 200."""
    request = (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    )
    taken: list[float] = []
    end = time.perf_counter() + seconds

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (began := time.perf_counter()) < end:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            if not head.startswith(b"http/1.1 200"):
                raise RuntimeError(head.decode())
            length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            taken.append(time.perf_counter() - began)
        writer.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    return taken


# The stage --------------------------------------------------------------------------------------


@contextmanager
def stage() -> Iterator[tuple[int, int, str]]:
    """Ports of the API and of the floor, and a token that both are asked with."""
    from app.embedded import EmbeddedPostgres, EmbeddedValkey

    with (
        tempfile.TemporaryDirectory(prefix="inboxgrove-bench-") as folder,
        EmbeddedPostgres(Path(folder) / "postgres", port=0) as server,
        EmbeddedValkey(Path(folder) / "valkey", port=0) as valkey,
        ExitStack() as processes,
    ):
        os.environ |= {
            "DATABASE_URL": server.url,
            "REDIS_URL": valkey.url_for(0),
            "SECRET_KEY": SECRET,
            "LOG_LEVEL": "WARNING",
            "RATE_LIMIT_REQUESTS_PER_MINUTE": "100000000",
            "RATE_LIMIT_REQUESTS_PER_HOUR": "100000000",
        }
        subprocess.run([sys.executable, "-m", "app.cli", "migrate"], cwd=BACKEND, check=True)
        admin_url = server.admin_url.rpartition("/")[0] + "/" + server.url.rpartition("/")[2]
        person = settle(admin_url)
        floor = processes.enter_context(serving("benchmarks.http.floor:app", person))
        api = processes.enter_context(serving("app.main:app", person))
        yield api, floor, person.token


def settle(admin_url: str) -> Person:
    """A company with its inboxes, and somebody of it who is signed in."""
    from app import clock, wiring
    from app.database.models import RefreshToken, User
    from app.database.session import ALL_TENANTS, transaction
    from app.utils import security
    from benchmarks.analytics import new_tenant

    wiring.boot()
    tenant, person, family, now = new_tenant(1, INBOXES), uuid4(), uuid4(), clock.now()
    with transaction(tenant=ALL_TENANTS) as db:
        db.add(
            User(
                id=person, tenant_id=tenant, email="bench@x.test", password_hash="", is_active=True
            )
        )
        db.flush()
        db.add(
            RefreshToken(
                tenant_id=tenant,
                user_id=person,
                family_id=family,
                token_hash=security.token_hash("bench"),
                expires_at=now + security.refresh_lifetime(),
                authenticated_at=now,
            )
        )
    token = security.access_token(
        user_id=person,
        tenant_id=tenant,
        session_version=1,
        family_id=family,
        authenticated_at=now,
    )
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute("VACUUM ANALYZE")
    return Person(person, tenant, family, token)


@contextmanager
def serving(application: str, person: Person) -> Iterator[int]:
    """One process under uvicorn, with the options that `inboxgrove api` gives it; its port."""
    from tests.fixtures.world import eventually, free_port

    port = free_port()
    command = [sys.executable, "-m", "uvicorn", application, "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--log-level", "error", "--no-access-log"],
        cwd=BACKEND,
        env={
            **os.environ,
            "TENANT": str(person.tenant),
            "PERSON": str(person.id),
            "FAMILY": str(person.family),
        },
    )

    def answers() -> Any:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=5).is_success
        except httpx.HTTPError:
            return False

    try:
        eventually(answers, within=60.0, why="the server answers")
        yield port
    finally:
        process.terminate()
        process.wait(30)


if __name__ == "__main__":
    main()
