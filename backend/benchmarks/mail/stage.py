"""A durable database with customers, and the API on it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg

from app import clock
from benchmarks.mail.traffic import BATCH, TOKEN, Inbox, connect

BACKEND = Path(__file__).resolve().parents[2]
WORKERS = 2


class Server:
    """The database, seen by its superuser."""

    def __init__(self, url: str, admin_url: str, inboxes: list[Inbox]) -> None:
        self.url, self.inboxes = url, inboxes
        self._admin_url = admin_url

    def copy_again(self, number: int, batches: int, writers: int) -> float:
        """Seconds that COPY takes for the rows of the last round, which is the `number`th."""
        table = f"floor_{number}_{writers}"
        with psycopg.connect(self._admin_url, autocommit=True) as admin:
            admin.execute(f"CREATE TABLE {table} (LIKE delivery_events INCLUDING ALL)")
            with admin.cursor().copy(
                "COPY (SELECT * FROM delivery_events ORDER BY created_at DESC"
                f" LIMIT {BATCH * batches}) TO STDOUT"
            ) as rows:
                lines = b"".join(bytes(row) for row in rows).splitlines(keepends=True)
        blocks = [b"".join(lines[n : n + BATCH]) for n in range(0, len(lines), BATCH)]

        def write(blocks: list[bytes]) -> None:
            with psycopg.connect(self._admin_url) as connection:
                for block in blocks:
                    with connection.cursor().copy(f"COPY {table} FROM STDIN") as copy:
                        copy.write(block)
                    connection.commit()

        began = time.perf_counter()
        with ThreadPoolExecutor(writers) as pool:
            list(pool.map(write, dealt(blocks, writers)))
        took = time.perf_counter() - began
        with psycopg.connect(self._admin_url, autocommit=True) as admin:
            admin.execute(f"DROP TABLE {table}")
        return took

    def check(self, records: int) -> None:
        """Every record is stored once and in every roll-up once."""
        with psycopg.connect(self._admin_url) as admin:
            found = [admin.execute("SELECT count(*) FROM delivery_events").fetchone()]
            for table in ("inbox_days", "domain_days", "provider_days", "tenant_days"):
                counted = f"SELECT sum(accepted + delivered + deferred) FROM {table}"
                found.append(admin.execute(counted).fetchone())
        if {row[0] for row in found if row is not None} != {records}:
            raise RuntimeError(f"{records} records were sent, but there are {found}")


def dealt(things: Sequence[bytes], hands: int) -> list[list[bytes]]:
    return [list(things[n::hands]) for n in range(hands)]


@contextmanager
def database(*, inboxes: int, domains: int, tenants: int) -> Iterator[Server]:
    """A durable PostgreSQL of its own with so many customers."""
    from app.embedded import EmbeddedPostgres

    with (
        tempfile.TemporaryDirectory(prefix="inboxgrove-bench-") as folder,
        EmbeddedPostgres(Path(folder) / "postgres", port=0) as server,
    ):
        subprocess.run(
            [sys.executable, "-m", "app.cli", "migrate"],
            cwd=BACKEND,
            env={**os.environ, "DATABASE_URL": server.url},
            check=True,
        )
        admin_url = server.admin_url.rpartition("/")[0] + "/" + server.url.rpartition("/")[2]
        yield Server(server.url, admin_url, fill(admin_url, inboxes, domains, tenants))


def fill(admin_url: str, inboxes: int, domains: int, tenants: int) -> list[Inbox]:
    now = clock.now()
    with psycopg.connect(admin_url) as admin:
        ids: dict[str, list[UUID]] = {}
        for table, count, fields in (
            ("tenants", tenants, _tenant(now)),
            ("domains", domains, {"status": "active", "kumo_authorized": True}),
        ):
            ids[table] = [uuid4() for _ in range(count)]
            for n, id_ in enumerate(ids[table]):
                more: dict[str, Any] = {"id": id_, "created_at": now, "updated_at": now}
                if table == "domains":
                    more |= {"tenant_id": ids["tenants"][n % tenants]}
                    more |= {"domain_name": f"bench{n}.example"}
                _insert(admin, table, {**fields, **more})
        for n in range(domains):
            _insert(admin, "inboxes", _inbox(now, ids["tenants"][n % tenants], ids["domains"][n]))
        # The others of each domain are like its first.
        admin.execute(
            "INSERT INTO inboxes SELECT (jsonb_populate_record(i, jsonb_build_object("
            " 'id', gen_random_uuid(), 'local_part', 'u' || n, 'username', 'u' || n || i.username,"
            " 'full_email', 'u' || n || i.full_email))).* FROM inboxes i, generate_series(2, %s) n",
            [inboxes // domains],
        )
        admin.execute("ANALYZE")
        found = admin.execute("SELECT tenant_id::text, id::text, full_email FROM inboxes")
        return [(tenant, id_, address) for tenant, id_, address in found]


def _tenant(now: datetime) -> dict[str, Any]:
    return {
        "company_name": "Bench",
        "company_email": "bench@x.test",
        "subscription_tier": "enterprise",
        "subscription_status": "active",
        "cancel_at_period_end": False,
        "trial_started_at": now,
        "trial_ends_at": now + timedelta(days=7),
        "trial_inbox_limit": 5,
        "trial_domain_limit": 1,
        "trial_converted": True,
        "is_suspended": False,
        "domains_count": 0,
        "inboxes_count": 0,
        "requires_two_factor": False,
    }


def _inbox(now: datetime, tenant: UUID, domain: UUID) -> dict[str, Any]:
    return {
        "id": uuid4(),
        "created_at": now,
        "updated_at": now,
        "tenant_id": tenant,
        "domain_id": domain,
        "local_part": "u",
        "username": f"u@{domain}.example",
        "full_email": f"u@{domain}.example",
        "password": b"",
        "password_hmac": "",
        "status": "active",
        "daily_limit": 50,
        "monthly_limit": 1500,
    }


def _insert(admin: psycopg.Connection[Any], table: str, fields: dict[str, Any]) -> None:
    """Fields that are not given and must have a value get their type's nothing."""
    missing = admin.execute(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s"
        " AND is_nullable = 'NO' AND column_default IS NULL",
        [table],
    )
    nothing: dict[str, Any] = {"integer": 0, "boolean": False, "jsonb": "{}"}
    for name, kind in missing.fetchall():
        if name not in fields:
            fields = {**fields, name: nothing[kind]}
    names, places = ", ".join(fields), ", ".join(["%s"] * len(fields))
    admin.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", list(fields.values()))


@contextmanager
def api(server: Server) -> Iterator[str]:
    from tests.fixtures.world import eventually, free_port

    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "api", "--port", str(port), "--workers", str(WORKERS)],
        cwd=BACKEND,
        env={
            **os.environ,
            "DATABASE_URL": server.url,
            "MTA_TOKEN": TOKEN,
            "LOG_LEVEL": "WARNING",
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def answers() -> bool:
        connection = connect(f"http://127.0.0.1:{port}")
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status < 500
        except OSError:
            return False
        finally:
            connection.close()

    try:
        eventually(answers, within=30, why="the API starts")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)
