"""`python -m benchmarks.provision`: the Magic Button against COPY of the same rows.

Floor: COPY of the rows that the call wrote (inboxes and audit) into tables with the same columns
and indexes, plus commit, by the superuser (row-level security refuses COPY to everybody else).
Measured: `ProvisioningService.provision_inboxes`, its transaction included. Each figure is the
median of its rounds; floor and call take turns.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

ROUNDS = {50: 15, 1_000: 9, 10_000: 5}
EXISTING = (0, 100_000, 1_000_000)
TABLES = ("inboxes", "audit_logs")
PEPPER = "pepper-of-the-benchmark-that-is-long-enough"
KEY = "ZGV2ZWxvcG1lbnQta2V5LWRvLW5vdC11c2UtaXQhISE="


def main() -> None:
    from app.embedded import EmbeddedPostgres

    with tempfile.TemporaryDirectory() as folder:
        # Durable commits, as in production.
        server = EmbeddedPostgres(Path(folder) / "postgres", port=0)
        with server:
            os.environ["DATABASE_URL"] = server.url
            run(server.admin_url.rpartition("/")[0] + "/" + server.url.rpartition("/")[2])


def run(admin_url: str) -> None:
    from app.database.models import init_db
    from app.database.session import engine
    from app.utils import security

    security.configure(signing_keys=["k" * 40], encryption_keys=[KEY], inbox_pepper=PEPPER)
    init_db(engine)
    with psycopg.connect(admin_url, autocommit=True) as admin:
        for table in TABLES:
            admin.execute(f"CREATE TABLE floor_{table} (LIKE {table} INCLUDING ALL)")
        press = new_tenant()
        press(50)  # Prepares statements, word lists and caches once.
        print(f"{'inboxes':>8} {'there are':>10} {'floor ms':>9} {'call ms':>9} {'ratio':>6}")
        for count, rounds in ROUNDS.items():
            compare(admin, press, count, rounds, 0)
        for existing in EXISTING[1:]:
            fill(admin, existing)
            compare(admin, press, 50, ROUNDS[50], existing)


def compare(
    admin: psycopg.Connection[Any],
    press: Callable[[int], UUID],
    count: int,
    rounds: int,
    existing: int,
) -> None:
    floors, calls = [], []
    for _ in range(rounds):
        # The plan's limit is not what is measured: make room again before each call.
        admin.execute("UPDATE tenants SET inboxes_count = 0")
        began = time.perf_counter()
        provision = press(count)
        calls.append(time.perf_counter() - began)
        floors.append(copy_again(admin, provision))
    floor, call = statistics.median(floors) * 1000, statistics.median(calls) * 1000
    print(f"{count:>8} {existing:>10} {floor:>9.2f} {call:>9.2f} {call / floor:>5.1f}x")


def new_tenant() -> Callable[[int], UUID]:
    from datetime import timedelta

    from app import clock
    from app.database.models import Domain, DomainStatus, Plan, SubscriptionStatus, Tenant
    from app.database.session import ALL_TENANTS, transaction
    from app.integrations.ports import Platform
    from app.services.provisioning_service import ProvisioningService

    platform = Platform("mta.x.test", "smtp.x.test", 587, 20, 50, 15, "http://x.test")
    with transaction(tenant=ALL_TENANTS) as db:
        now = clock.now()
        tenant = Tenant(
            company_name="Bench",
            company_email="bench@x.test",
            subscription_tier=Plan.ENTERPRISE,
            subscription_status=SubscriptionStatus.ACTIVE,
            trial_started_at=now,
            trial_ends_at=now + timedelta(days=7),
        )
        db.add(tenant)
        db.flush()
        domain = Domain(
            tenant_id=tenant.id,
            domain_name="bench-mail.com",
            status=DomainStatus.ACTIVE,
            kumo_authorized=True,
        )
        db.add(domain)
        db.flush()
        tenant_id, domain_id = tenant.id, domain.id

    def press(count: int) -> UUID:
        result = ProvisioningService.provision_inboxes(
            tenant_id, domain_id, count, "firstname.lastname", platform=platform
        )
        return result.provision_id

    return press


def copy_again(admin: psycopg.Connection[Any], provision: UUID) -> float:
    """Seconds to COPY the call's rows into the twin tables and commit."""
    inboxes = admin.execute("SELECT * FROM inboxes WHERE provision_id = %s", [provision]).fetchall()
    audited = admin.execute(
        "SELECT a.* FROM audit_logs a JOIN inboxes i ON i.id = a.resource_id"
        " WHERE i.provision_id = %s",
        [provision],
    ).fetchall()
    dumped: dict[str, list[Any]] = {"inboxes": inboxes, "audit_logs": audited}
    types = {table: _types(admin, table) for table in TABLES}
    began = time.perf_counter()
    with admin.transaction(), admin.cursor() as cursor:
        for table in TABLES:
            with cursor.copy(f"COPY floor_{table} FROM STDIN") as copy:
                for row in dumped[table]:
                    copy.write_row(
                        [
                            psycopg.types.json.Jsonb(value) if kind == "jsonb" else value
                            for value, kind in zip(row, types[table], strict=True)
                        ]
                    )
    return time.perf_counter() - began


def _types(admin: psycopg.Connection[Any], table: str) -> list[str]:
    rows = admin.execute(
        "SELECT data_type FROM information_schema.columns WHERE table_name = %s"
        " ORDER BY ordinal_position",
        [table],
    ).fetchall()
    return [row[0] for row in rows]


def fill(admin: psycopg.Connection[Any], total: int) -> None:
    """Bring the table, and its twin, to `total` inboxes of other domains of the same tenant."""
    there = admin.execute("SELECT count(*) FROM inboxes").fetchone()
    missing = total - (there[0] if there else 0)
    columns = [
        row[0]
        for row in admin.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_name = 'inboxes'"
            " ORDER BY ordinal_position"
        )
    ]
    own = {
        "id": "gen_random_uuid()",
        "local_part": "'filler' || g",
        "username": "'filler' || g || '@bench-mail.com'",
        "full_email": "'filler' || g || '@bench-mail.com'",
    }
    selected = ", ".join(own.get(name, f"i.{name}") for name in columns)
    base = total * 10
    for table in ("inboxes", "floor_inboxes"):
        admin.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) SELECT {selected}"
            f" FROM (SELECT * FROM inboxes LIMIT 1) i,"
            f" generate_series({base}, {base + max(0, missing) - 1}) g"
        )
        admin.execute(f"ANALYZE {table}")


if __name__ == "__main__":
    main()
