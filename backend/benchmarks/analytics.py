"""`python -m benchmarks.analytics`: the figures people look at, after 90 days of a million events.

A platform with a million events a day: one tenant of 100 domains and 2,000 inboxes has a fifth of
them, sixteen of 500 inboxes the rest. First each tenant's rows lie together, which is kinder than
life; then those of all tenants lie mixed within each day, as ingest writes them, which makes the
same report read many more pages. Then the worst that a plan allows: one more tenant, who alone has
a million a day on 500 domains and 10,000 inboxes. Only the roll-ups are filled, as they are all
that is read. Floor: one transaction that asks the same database for nothing (scope, `SELECT 1`,
commit). Measured: each query of the API with its transaction, median and 95th percentile of its
rounds, in the role that the product has.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from sqlalchemy import text

DAYS = 90
ROUNDS = 25
GOAL_MS = 50.0
LARGE = (100, 2_000)
"""Domains and inboxes; each inbox has about a hundred events a day."""
SMALL = (25, 500)
OTHERS = 16
HUGE = (500, 10_000)

COUNTS = (
    "accepted, delivered, deferred, bounced, rejected, complained, soft_bounced, hard_bounced,"
    " unknown_users, blocked"
)
SUMS = ", ".join(f"sum({each})" for each in COUNTS.split(", "))
FIFTHS = ", ".join(f"{each} / 5" for each in COUNTS.split(", "))
FILL = (
    f"""INSERT INTO inbox_days (id, created_at, tenant_id, inbox_id, domain_id, day, {COUNTS})
    SELECT gen_random_uuid(), now(), tenant_id, id, domain_id, day, 40, 38, 15, 2, 0, 0, 1, 1, 1, 0
    FROM generate_series(%(since)s::date, %(until)s::date, '1 day') day, inboxes
    WHERE tenant_id = %(tenant)s ORDER BY day""",
    f"""INSERT INTO domain_days (id, created_at, tenant_id, domain_id, day, {COUNTS})
    SELECT gen_random_uuid(), now(), tenant_id, domain_id, day, {SUMS} FROM inbox_days
    WHERE tenant_id = %(tenant)s GROUP BY tenant_id, domain_id, day ORDER BY day""",
    f"""INSERT INTO provider_days (id, created_at, tenant_id, domain_id, day, provider, {COUNTS})
    SELECT gen_random_uuid(), now(), tenant_id, domain_id, day, provider, {FIFTHS}
    FROM domain_days, unnest(ARRAY['google', 'microsoft', 'yahoo', 'apple', 'other']) provider
    WHERE tenant_id = %(tenant)s ORDER BY day""",
    f"""INSERT INTO tenant_days (id, created_at, tenant_id, day, {COUNTS})
    SELECT gen_random_uuid(), now(), tenant_id, day, {SUMS} FROM domain_days
    WHERE tenant_id = %(tenant)s GROUP BY tenant_id, day""",
)


def main() -> None:
    from app.embedded import EmbeddedPostgres

    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedPostgres(Path(folder) / "postgres", port=0) as server,
    ):
        os.environ["DATABASE_URL"] = server.url
        admin_url = server.admin_url.rpartition("/")[0] + "/" + server.url.rpartition("/")[2]
        sys.exit(0 if run(admin_url) else 1)


def run(admin_url: str) -> bool:
    from app import clock
    from app.database.models import init_db
    from app.database.session import engine

    init_db(engine)
    until = clock.now().date()
    since = until - timedelta(days=DAYS - 1)
    with psycopg.connect(admin_url, autocommit=True) as admin:
        tenant = fill(admin, *LARGE, since, until)
        for _ in range(OTHERS):
            fill(admin, *SMALL, since, until)
        good = True
        for layout in ("together", "mixed within each day"):
            if layout != "together":
                mix(admin)
            title = f"the platform's largest tenant of many, rows of tenants {layout}"
            held = look(admin, tenant, since, until, title)
            print(f"goal: each median under {GOAL_MS:.0f} ms: {'held' if held else 'NOT held'}\n")
            good = good and held
        look(admin, fill(admin, *HUGE, since, until), since, until, "a million a day alone")
    return good


def look(
    admin: psycopg.Connection[Any], tenant: UUID, since: date, until: date, title: str
) -> bool:
    """Measure for one tenant; whether the goal is held."""
    sum_weeks(tenant)
    admin.execute("VACUUM ANALYZE")
    rows = [
        f"{table} {each('WHERE tenant_id = ' + repr(str(tenant))):,} of {each(''):,}"
        for table in ("inbox_days", "inbox_weeks", "provider_days", "domain_days", "tenant_days")
        for each in [partial(count, admin, table)]
    ]
    print(f"{title}: rows of {', '.join(rows)}")
    inbox = admin.execute(
        "SELECT inbox_id FROM inbox_days WHERE tenant_id = %s LIMIT 1", [tenant]
    ).fetchone()
    if inbox is None:
        raise RuntimeError("nothing was filled in")
    return compare(tenant, inbox[0], since, until)


def sum_weeks(tenant: UUID) -> None:
    """As the calendar does, twenty at a time; the tenant's share of it is told."""
    from sqlalchemy import func, select

    from app import clock
    from app.database.models import InboxWeek
    from app.database.queries import inbox_weeks
    from app.database.session import ALL_TENANTS, transaction

    began, weeks = time.perf_counter(), 0
    while True:
        with transaction(tenant=ALL_TENANTS) as db:
            summed = inbox_weeks.sum_up(db, clock.now().date(), at_most=20)
        weeks += summed
        if summed < 20:
            break
    took = time.perf_counter() - began
    with transaction(tenant=tenant) as db:
        own = db.scalar(select(func.count(InboxWeek.week.distinct())))
    if weeks:
        print(f"{weeks} weeks of tenants were summed in {took:.2f} s, {own} of this one's stand")


def count(admin: psycopg.Connection[Any], table: str, where: str) -> int:
    found = admin.execute(f"SELECT count(*) FROM {table} {where}").fetchone()  # type: ignore[arg-type]
    return 0 if found is None else int(found[0])


def fill(
    admin: psycopg.Connection[Any], domains: int, inboxes: int, since: date, until: date
) -> UUID:
    tenant = new_tenant(domains, inboxes)
    for statement in FILL:
        admin.execute(statement, {"tenant": tenant, "since": since, "until": until})
    return tenant


def mix(admin: psycopg.Connection[Any]) -> None:
    """Lay the rows of each day down in no order, as the batches of all tenants bring them."""
    for table in ("inbox_days", "provider_days", "domain_days"):
        with admin.transaction():
            admin.execute(f"CREATE TEMPORARY TABLE old ON COMMIT DROP AS SELECT * FROM {table}")  # type: ignore[arg-type]
            admin.execute(f"TRUNCATE {table}")  # type: ignore[arg-type]
            admin.execute(f"INSERT INTO {table} SELECT * FROM old ORDER BY day, random()")  # type: ignore[arg-type]


def new_tenant(domains: int, inboxes: int) -> UUID:
    """A tenant with so many active domains and inboxes."""
    from sqlalchemy import insert

    from app import clock
    from app.database.models import Domain, Inbox, Plan, Tenant
    from app.database.session import ALL_TENANTS, transaction
    from app.database.tables.base import new_id

    tenant = new_id()
    names = [new_id() for _ in range(domains)]
    with transaction(tenant=ALL_TENANTS) as db:
        now = clock.now()
        db.add(
            Tenant(
                id=tenant,
                company_name="Bench",
                company_email=f"{tenant}@x.test",
                subscription_tier=Plan.ENTERPRISE,
                trial_started_at=now,
                trial_ends_at=now,
            )
        )
        db.flush()
        db.execute(
            insert(Domain),
            [
                {"id": id_, "tenant_id": tenant, "domain_name": f"{id_}.test", "status": "active"}
                for id_ in names
            ],
        )
        db.execute(
            insert(Inbox),
            [
                {
                    "tenant_id": tenant,
                    "domain_id": names[number % domains],
                    "username": f"{tenant.hex[-12:]}{number}",
                    "password": b"",
                    "password_hmac": "",
                    "local_part": f"box{number}",
                    "full_email": f"box{number}@{names[number % domains]}.test",
                    "daily_limit": 50,
                    "monthly_limit": 1_500,
                }
                for number in range(inboxes)
            ],
        )
    return tenant


def compare(tenant: UUID, inbox: UUID, since: date, until: date) -> bool:
    from app.database.queries import analytics

    month = until - timedelta(days=29)
    floor = measure(tenant, lambda db: db.execute(text("SELECT 1")).scalar())
    print(f"floor {statistics.median(floor):.2f} ms: a transaction that asks for nothing")
    print(f"{'query':<28} {'median ms':>9} {'p95 ms':>8} {'of floor':>9}")
    asked: dict[str, Callable[[Any], Any]] = {
        "overview": lambda db: (
            analytics.by_status(db),
            analytics.recent(db, until, until, until - timedelta(days=6), month),
        ),
        "one inbox, 90 days": lambda db: analytics.of_inbox(db, since, until, inbox),
    }
    for first, title in ((month, "30 days"), (since, "90 days")):
        for by in ("day", "domain", "inbox", "provider"):
            asked[f"by {by}, {title}"] = lambda db, by=by, first=first: analytics.grouped(
                db, first, until, by
            )
    good = True
    for name, ask in asked.items():
        taken = measure(tenant, ask)
        median = statistics.median(taken)
        p95 = statistics.quantiles(taken, n=20)[-1]
        good = good and median < GOAL_MS
        print(f"{name:<28} {median:>9.1f} {p95:>8.1f} {median / statistics.median(floor):>8.1f}x")
    return good


def measure(tenant: UUID, ask: Callable[[Any], Any]) -> list[float]:
    """Milliseconds of each round."""
    from app.database.session import transaction

    taken = []
    for number in range(ROUNDS + 2):
        began = time.perf_counter()
        with transaction(tenant=tenant) as db:
            ask(db)
        if number > 1:  # The first ones fill caches.
            taken.append((time.perf_counter() - began) * 1000)
    return taken


if __name__ == "__main__":
    main()
