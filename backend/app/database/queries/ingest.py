"""Storing delivery records: plain SQL on the async driver, one transaction a batch.

A batch is copied into a temporary table, which no policy guards, and the rest happens inside
PostgreSQL: what is new goes into delivery_events, and what that counts for into the roll-ups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from operator import attrgetter
from typing import Any

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from app import clock
from app.database.queries import inbox_weeks
from app.database.queries.delivery_days import SLACK
from app.database.role import AS_RUNTIME
from app.rules.records import KINDS, EventRow

Connection = AsyncConnection[Any]
Pool = AsyncConnectionPool[Connection]

_COPIED = (
    "natural_key", "tenant_id", "inbox_id", "event_type", "occurred_at", "message_id", "trace",
    "recipient", "recipient_domain", "response_code", "response", "bounce_classification", "record",
)  # fmt: skip
"""Fields of EventRow that are columns of delivery_events."""

_PREPARE = f"""
CREATE TEMPORARY TABLE IF NOT EXISTS staged (
    natural_key bytea, tenant_id uuid, inbox_id uuid, event_type text,
    occurred_at timestamptz, message_id text, trace text, recipient text, recipient_domain text,
    response_code int, response text, bounce_classification text, record jsonb, provider text,
    counter text, class_counter text
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS fresh (
    inbox_id uuid, domain_id uuid, tenant_id uuid, day date, provider text, records int,
    {", ".join(f"{kind} int" for kind in KINDS)}
) ON COMMIT DELETE ROWS;
"""

_STAGED = (*_COPIED, "provider", "counter", "class_counter")
_COPY = f"COPY staged ({', '.join(_STAGED)}) FROM STDIN"


def _insert() -> str:
    """Store what is staged, and leave in `fresh` what of it was new, by what it counts for."""
    copied = ", ".join("i.id" if name == "inbox_id" else f"s.{name}" for name in _COPIED)
    sums = ", ".join(
        f"count(*) FILTER (WHERE '{kind}' IN (s.counter, s.class_counter))" for kind in KINDS
    )
    # A record about a tenant or inbox that we do not have cannot be stored or counted.
    return f"""
WITH inserted AS (
    INSERT INTO delivery_events (id, created_at, domain_id, {", ".join(_COPIED)})
    SELECT gen_random_uuid(), %(now)s, i.domain_id, {copied}
    FROM staged s
    JOIN tenants t ON t.id = s.tenant_id
    LEFT JOIN inboxes i ON i.id = s.inbox_id AND i.tenant_id = s.tenant_id
    ORDER BY s.occurred_at, s.natural_key
    ON CONFLICT (occurred_at, natural_key) DO NOTHING
    RETURNING natural_key, inbox_id, domain_id, tenant_id
)
INSERT INTO fresh
SELECT n.inbox_id, n.domain_id, n.tenant_id, (s.occurred_at AT TIME ZONE 'UTC')::date, s.provider,
    count(*), {sums}
FROM inserted n JOIN staged s ON s.natural_key = n.natural_key
GROUP BY 1, 2, 3, 4, 5
RETURNING records
"""  # noqa: S608  # Our own names.


def _count(table: str, about: Sequence[str], unique: Sequence[str]) -> str:
    """Add what is fresh to a roll-up, its rows in the order of their key."""
    names = ", ".join(about)
    key = ", ".join(unique)
    return f"""
INSERT INTO {table} (id, created_at, {names}, {", ".join(KINDS)})
SELECT gen_random_uuid(), %(now)s, {names}, {", ".join(f"sum({kind})" for kind in KINDS)}
FROM fresh WHERE inbox_id IS NOT NULL
GROUP BY {names} HAVING {" + ".join(f"sum({kind})" for kind in KINDS)} > 0
ORDER BY {key}
ON CONFLICT ({key}) DO UPDATE SET
    {", ".join(f"{kind} = {table}.{kind} + excluded.{kind}" for kind in KINDS)}
"""  # noqa: S608  # Our own names.


_INSERT = _insert()

# The fixed order of locking: that of inbox_weeks where a batch holds late records, inboxes, then
# these tables in this order, and in each the rows by their key. The few rows that many batches
# share come last, to be held for the shortest time.
_ROLL_UPS: tuple[str, ...] = (
    _count("inbox_days", ("inbox_id", "domain_id", "tenant_id", "day"), ("inbox_id", "day")),
    _count(
        "provider_days",
        ("domain_id", "tenant_id", "day", "provider"),
        ("domain_id", "day", "provider"),
    ),
    _count("domain_days", ("domain_id", "tenant_id", "day"), ("domain_id", "day")),
    _count("tenant_days", ("tenant_id", "day"), ("tenant_id", "day")),
)

# An UPDATE takes its locks in no certain order; this takes them in ours.
_LOCK_INBOXES = """
SELECT count(*) FROM (
    SELECT id FROM inboxes WHERE id IN (SELECT inbox_id FROM fresh WHERE accepted > 0)
    ORDER BY id FOR NO KEY UPDATE
) AS locked
"""

# The counters a person sees on an inbox: today's and this month's accepted messages.
_SHOW_SENT = """
UPDATE inboxes AS i SET
    emails_sent_today = CASE WHEN i.sent_on = c.day THEN i.emails_sent_today ELSE 0 END + c.n,
    emails_sent_this_month = CASE
        WHEN date_trunc('month', i.sent_on) = date_trunc('month', c.day)
        THEN i.emails_sent_this_month ELSE 0 END + c.n,
    sent_on = c.day
FROM (SELECT inbox_id, day, sum(accepted) AS n FROM fresh
      WHERE day = %(day)s AND accepted > 0 GROUP BY inbox_id, day) AS c
WHERE i.id = c.inbox_id AND (i.sent_on IS NULL OR i.sent_on <= c.day)
"""


@dataclass(frozen=True)
class Outcome:
    stored: int
    """Records that were new."""
    out_of_range: int
    """Records older than what is kept or from the future, which are neither stored nor counted."""


def open_pool(conninfo: str, *, size: int, options: Mapping[str, Any] | None = None) -> Pool:
    """Connections that can store batches; not open yet. TEMPORARY is PUBLIC's right by default."""
    return AsyncConnectionPool(
        conninfo,
        min_size=0,
        max_size=size,
        timeout=3,
        open=False,
        configure=_configure,
        kwargs={"connect_timeout": 2, "options": f"{AS_RUNTIME} -c statement_timeout=15000"}
        | dict(options or {}),
    )


async def _configure(connection: Connection) -> None:
    await connection.execute(_PREPARE)
    await connection.commit()


async def store(pool: Pool, rows: Sequence[EventRow], keep: timedelta) -> Outcome:
    """Store each record once and move its counters; all or nothing.

    `keep` is how long single events are kept. What is older was counted and dropped: whether a
    record of that time is new can no more be told.
    """
    today = clock.now().date()
    first, last = today - keep, today + SLACK
    within = {row.natural_key: row for row in rows if first <= row.occurred_at.date() <= last}
    refused = sum(not first <= row.occurred_at.date() <= last for row in rows)
    if not within:
        return Outcome(0, refused)
    days = sorted({row.occurred_at.date() for row in within.values()})
    now = {"now": clock.now()}
    async with pool.connection() as connection:
        # Days are made before any row is locked, so that no two batches can wait in a circle.
        await connection.execute(
            "SELECT set_config('app.tenant', '*', true), make_delivery_days(%s::date[])", [days]
        )
        async with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
            for row in within.values():
                await copy.write_row(_staged(row))
        late = inbox_weeks.are_late(days, today)
        # One message to the server from the first lock to the commit: while rows are locked that
        # other batches wait for, nobody waits for this process to be scheduled.
        async with connection.pipeline():
            if late:
                await connection.execute(inbox_weeks.LOCK)
            inserted = await connection.execute(_INSERT, now)
            await connection.execute(_LOCK_INBOXES)
            for day in days:
                await connection.execute(_SHOW_SENT, {"day": day})
            for statement in _ROLL_UPS:
                await connection.execute(statement, now)
            if late:
                await connection.execute(inbox_weeks.FORGET)
            await connection.commit()
        stored = sum(records for (records,) in await inserted.fetchall())
    return Outcome(stored, refused)


_fields = attrgetter(*_COPIED, "provider.value", "counter", "class_counter")


def _staged(row: EventRow) -> tuple[Any, ...]:
    """The values of _STAGED."""
    values: tuple[Any, ...] = _fields(row)
    return values
