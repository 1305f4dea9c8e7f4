"""Delivery events by day: made ahead, dropped when old, moved into by the migration."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, func, select, text
from sqlalchemy.exc import ProgrammingError

from app import clock
from app.config import Settings
from app.database.models import DeliveryEvent, TenantDay
from app.database.queries import delivery_days
from app.database.session import ALL_TENANTS, engine, transaction
from tests.fixtures import servers
from tests.fixtures.database import WAITING
from tests.fixtures.relay import Node, noon
from tests.fixtures.world import Running, eventually

BACKEND = Path(__file__).parents[2]
KEEP = timedelta(days=90)


def days_of(owner: Engine) -> list[date]:
    with owner.connect() as connection:
        names = connection.scalars(
            text(
                "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
                " WHERE i.inhparent = 'delivery_events'::regclass ORDER BY 1"
            )
        )
        return [datetime.strptime(name, "day_%Y%m%d").date() for name in names]


def without(owner: Engine, day: date) -> None:
    """Days outlive the test that made them, and a test that turned the clock made many."""
    with owner.begin() as connection:
        connection.execute(text(f"DROP TABLE IF EXISTS delivery_days.day_{day:%Y%m%d}"))


def stored() -> tuple[int, int]:
    """Events that are there, and the mail that is counted."""
    with transaction(tenant=ALL_TENANTS) as db:
        events = db.scalar(select(func.count()).select_from(DeliveryEvent))
        return int(events or 0), int(db.scalar(select(func.sum(TenantDay.accepted))) or 0)


def test_the_calendar_makes_days_and_drops_old_ones(
    node: Node, owner: Engine, drain: Callable[..., list[str]]
) -> None:
    from app.tasks import schedule

    answer = node.post([node.record("Reception", noon(ago)) for ago in (88, 89, 0)])
    assert answer.json()["data"]["stored"] == 3
    old = clock.now().date() - timedelta(days=92)
    without(owner, old)
    with transaction(tenant=ALL_TENANTS) as db:
        assert delivery_days.make(db, [old]) == 1
        schedule.tick(db)
    assert "delivery.turn_days" in drain()
    today = clock.now().date()
    days = days_of(owner)
    assert {today + timedelta(days=ahead) for ahead in range(4)} <= set(days)
    # A day longer than events are kept, for whoever is just storing one.
    assert days[0] >= today - KEEP - delivery_days.SLACK
    assert stored() == (3, 3)


def test_what_was_dropped_stays_counted_and_is_not_counted_again(
    node: Node, owner: Engine, world: Running
) -> None:
    records = [node.record("Reception", noon(ago)) for ago in (90, 89, 1)]
    assert node.post(records).json()["data"]["stored"] == 3
    world.advance(days=2)
    with transaction(tenant=ALL_TENANTS) as db:
        delivery_days.turn(db, clock.now().date(), KEEP)
    # One of the two that are too old is still there, for whoever was just storing it.
    assert stored() == (2, 3)
    answer = node.post(records).json()["data"]
    assert (answer["out_of_range"], answer["repeated"], answer["stored"]) == (2, 1, 0)
    assert stored() == (2, 3)


def test_midnight_makes_no_writer_wait_for_another(node: Node, owner: Engine) -> None:
    """A day is made while a batch holds rows of another, and does not wait for it."""
    tomorrow = clock.now().date() + timedelta(days=300)
    without(owner, tomorrow)
    with transaction(tenant=ALL_TENANTS) as writer:
        writer.execute(text("LOCK TABLE delivery_events IN ROW EXCLUSIVE MODE"))
        with transaction(tenant=ALL_TENANTS) as db:
            db.execute(text("SET LOCAL lock_timeout = '5s'"))
            assert delivery_days.make(db, [tomorrow, tomorrow]) == 1
            assert delivery_days.make(db, [tomorrow]) == 0
    without(owner, tomorrow)


def test_two_who_make_the_same_day_at_once(owner: Engine) -> None:
    day = clock.now().date() + timedelta(days=301)
    without(owner, day)

    def second() -> int:
        with transaction(tenant=ALL_TENANTS) as db:
            return delivery_days.make(db, [day])

    def waits() -> bool:
        with owner.connect() as connection:
            return connection.scalar(text(WAITING)) == 1

    with ThreadPoolExecutor(1) as pool:
        with transaction(tenant=ALL_TENANTS) as db:
            assert delivery_days.make(db, [day]) == 1
            other = pool.submit(second)
            eventually(waits, within=30, why="the second waits for the first")
        assert other.result(30) == 0
    without(owner, day)


def test_days_are_reached_through_the_guarded_table_only(node: Node) -> None:
    node.post([node.record("Reception")])
    day = f"delivery_days.day_{noon():%Y%m%d}"
    with engine.connect() as connection, pytest.raises(ProgrammingError, match="permission denied"):
        connection.execute(text(f"SELECT * FROM {day}"))
    with transaction(tenant=node.tenant) as db:
        assert db.scalar(text("SELECT count(*) FROM delivery_events")) == 1
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM delivery_events")) == 0


def test_fewer_days_than_reports_need_are_refused() -> None:
    with pytest.raises(ValueError, match="delivery_events_days"):
        Settings(delivery_events_days=30)


TENANT, DOMAIN, INBOX = (f"00000000-0000-0000-0000-00000000000{n}" for n in (1, 2, 3))
OWNER = f"""
INSERT INTO tenants (id, company_name, company_email, subscription_tier, subscription_status,
    cancel_at_period_end, trial_started_at, trial_ends_at, trial_inbox_limit, trial_domain_limit,
    trial_converted, is_suspended, domains_count, inboxes_count, requires_two_factor, created_at,
    updated_at)
VALUES ('{TENANT}', 'c', 'c@c.test', 'starter', 'trialing',
    false, now(), now(), 5, 1, false, false, 0, 0, false, now(), now());
INSERT INTO inbox_days (id, created_at, tenant_id, inbox_id, domain_id, day, accepted, delivered,
    deferred, bounced, rejected, complained)
VALUES (gen_random_uuid(), now(), '{TENANT}', '{INBOX}', '{DOMAIN}', '2026-03-01', 1, 1, 0, 2, 0, 0),
    (gen_random_uuid(), now(), '{TENANT}', '{INBOX}', '{DOMAIN}', '2026-03-02', 0, 1, 0, 0, 0, 0);
"""


def old_events() -> list[tuple[Any, ...]]:
    """Rows as they were stored before there were days."""
    gone = {"code": 550, "content": "5.1.1 user unknown"}
    full = {"code": 552, "content": "mailbox full"}
    fine = {"code": 250, "content": "OK"}
    rows: list[tuple[Any, ...]] = []
    for number, (kind, day, hour, domain, response) in enumerate([
        ("Reception", 1, 0, "gmail.com", fine),
        ("Delivery", 1, 0, "gmail.com", fine),
        ("Bounce", 1, 23, "gmail.com", gone),
        ("Bounce", 1, 23, "corp.test", full),
        ("Delivery", 2, 0, "corp.test", fine),
    ]):  # fmt: skip
        at = datetime(2026, 3, day, hour, 30, tzinfo=UTC)
        record = {
            "type": kind, "id": f"m{number}", "recipient": f"bob@{domain}", "response": response,
            "event_time": at.isoformat(), "meta": {"tenant": TENANT, "x_inbox": INBOX,
            "x_trace": f"trace{number}"},
        }  # fmt: skip
        rows.append((at, TENANT, bytes([number]) * 32, INBOX, DOMAIN, kind, at, f"m{number}",
                     f"bob@{domain}", domain, response["code"], response["content"],
                     json.dumps(record)))  # fmt: skip
    return rows


COLUMNS = (
    "created_at, tenant_id, natural_key, inbox_id, domain_id, event_type, occurred_at, message_id,"
    " recipient, recipient_domain, response_code, response, record"
)


def test_the_migration_moves_every_event_and_counts_it(clean: None) -> None:
    url = servers.new_database("days")
    _alembic(url, "upgrade", "0010")
    with psycopg.connect(url) as admin:
        admin.execute(OWNER)
        admin.cursor().executemany(
            f"INSERT INTO delivery_events (id, {COLUMNS})"
            f" VALUES (gen_random_uuid(), {', '.join(['%s'] * 13)})",
            old_events(),
        )
        before = admin.execute(f"SELECT id, {COLUMNS} FROM delivery_events ORDER BY 4").fetchall()
    _alembic(url, "upgrade", "head")
    with psycopg.connect(url) as admin:
        found = f"SELECT id, {COLUMNS} FROM delivery_events ORDER BY 4"
        assert admin.execute(found).fetchall() == before
        assert admin.execute(
            "SELECT tableoid::regclass::text, count(*), min(trace) FROM delivery_events"
            " GROUP BY 1 ORDER BY 1"
        ).fetchall() == [
            ("delivery_days.day_20260301", 4, "trace0"),
            ("delivery_days.day_20260302", 1, "trace4"),
        ]
        assert admin.execute(
            "SELECT day::text, accepted, delivered, bounced, soft_bounced, unknown_users"
            " FROM inbox_days ORDER BY day"
        ).fetchall() == [("2026-03-01", 1, 1, 2, 1, 1), ("2026-03-02", 0, 1, 0, 0, 0)]
        assert admin.execute(
            "SELECT day::text, provider, accepted, delivered, bounced FROM provider_days"
            " ORDER BY day, provider"
        ).fetchall() == [
            ("2026-03-01", "google", 1, 1, 1),
            ("2026-03-01", "other", 0, 0, 1),
            ("2026-03-02", "other", 0, 1, 0),
        ]
        for table in ("domain_days", "tenant_days"):
            assert admin.execute(
                f"SELECT day::text, accepted, delivered, bounced FROM {table} ORDER BY day"
            ).fetchall() == [("2026-03-01", 1, 1, 2), ("2026-03-02", 0, 1, 0)]
    _alembic(url, "downgrade", "0010")
    with psycopg.connect(url) as admin:
        assert admin.execute(found).fetchall() == before
        assert admin.execute("SELECT count(*) FROM inbox_days").fetchone() == (2,)
        schemas = "SELECT count(*) FROM pg_namespace WHERE nspname = 'delivery_days'"
        assert admin.execute(schemas).fetchone() == (0,)
    _alembic(url, "upgrade", "head")
    _alembic(url, "check")


def _alembic(url: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "alembic", *arguments],
        cwd=BACKEND,
        env={"PATH": "/usr/bin:/bin", "DATABASE_URL": url},
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
