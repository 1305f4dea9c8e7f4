"""Storing delivery records: plain SQL on the async driver, one transaction a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from app import clock
from app.database.tables.base import new_id
from app.rules.records import EventRow

# A record about a tenant or inbox that we do not have cannot be stored or counted.
_INSERT = """
INSERT INTO delivery_events (id, created_at, natural_key, tenant_id, inbox_id, domain_id,
    event_type, occurred_at, message_id, recipient, recipient_domain, response_code, response,
    bounce_classification, record)
SELECT u.id, %(now)s, u.natural_key, t.id, i.id, i.domain_id, u.event_type, u.occurred_at,
    u.message_id, u.recipient, u.recipient_domain, u.response_code, u.response,
    u.bounce_classification, u.record
FROM unnest(%(id)s::uuid[], %(natural_key)s::bytea[], %(tenant_id)s::uuid[], %(inbox_id)s::uuid[],
    %(event_type)s::text[], %(occurred_at)s::timestamptz[], %(message_id)s::text[],
    %(recipient)s::text[], %(recipient_domain)s::text[], %(response_code)s::int[],
    %(response)s::text[], %(bounce_classification)s::text[], %(record)s::jsonb[])
    AS u(id, natural_key, tenant_id, inbox_id, event_type, occurred_at, message_id, recipient,
         recipient_domain, response_code, response, bounce_classification, record)
JOIN tenants t ON t.id = u.tenant_id
LEFT JOIN inboxes i ON i.id = u.inbox_id AND i.tenant_id = t.id
ON CONFLICT (natural_key) DO NOTHING
RETURNING natural_key, tenant_id, inbox_id, domain_id, (occurred_at AT TIME ZONE 'UTC')::date
"""

_COUNT = """
INSERT INTO inbox_days (id, created_at, tenant_id, inbox_id, domain_id, day,
    accepted, delivered, deferred, bounced, rejected, complained)
SELECT * FROM unnest(%(id)s::uuid[], %(created_at)s::timestamptz[], %(tenant_id)s::uuid[],
    %(inbox_id)s::uuid[], %(domain_id)s::uuid[], %(day)s::date[], %(accepted)s::int[],
    %(delivered)s::int[], %(deferred)s::int[], %(bounced)s::int[], %(rejected)s::int[],
    %(complained)s::int[])
ON CONFLICT (inbox_id, day) DO UPDATE SET
    accepted = inbox_days.accepted + excluded.accepted,
    delivered = inbox_days.delivered + excluded.delivered,
    deferred = inbox_days.deferred + excluded.deferred,
    bounced = inbox_days.bounced + excluded.bounced,
    rejected = inbox_days.rejected + excluded.rejected,
    complained = inbox_days.complained + excluded.complained
"""

# The counters a person sees on an inbox: today's and this month's accepted messages.
_SENT = """
UPDATE inboxes AS i SET
    emails_sent_today = CASE WHEN i.sent_on = c.day THEN i.emails_sent_today ELSE 0 END + c.n,
    emails_sent_this_month = CASE
        WHEN date_trunc('month', i.sent_on) = date_trunc('month', c.day)
        THEN i.emails_sent_this_month ELSE 0 END + c.n,
    sent_on = c.day
FROM (SELECT * FROM unnest(%(inbox_id)s::uuid[], %(day)s::date[], %(n)s::int[])
      AS c(inbox_id, day, n)) AS c
WHERE i.id = c.inbox_id AND (i.sent_on IS NULL OR i.sent_on <= c.day)
"""

_KINDS = ("accepted", "delivered", "deferred", "bounced", "rejected", "complained")
Key = tuple[Any, Any, Any, Any]
"""inbox, day, tenant, domain; sorted by inbox and day, which is the order of locking."""


async def store(pool: AsyncConnectionPool[AsyncConnection[Any]], rows: Sequence[EventRow]) -> int:
    """Store each record once and move its counters; how many were new.

    All or nothing. Counters are written last and in key order: unordered upserts of several writers
    deadlock.
    """
    if not rows:
        return 0
    async with pool.connection() as connection, connection.transaction():
        await connection.execute("SELECT set_config('app.tenant', '*', true)")
        fresh = await _insert(connection, {row.natural_key: row for row in rows})
        if fresh:
            await _count(connection, fresh)
    return len(fresh)


async def _insert(
    connection: AsyncConnection[Any], rows: dict[bytes, EventRow]
) -> list[tuple[EventRow, Key]]:
    ordered = [rows[key] for key in sorted(rows)]
    fields = (
        "natural_key",
        "tenant_id",
        "inbox_id",
        "event_type",
        "occurred_at",
        "message_id",
        "recipient",
        "recipient_domain",
        "response_code",
        "response",
        "bounce_classification",
        "record",
    )
    parameters: dict[str, Any] = {name: [getattr(row, name) for row in ordered] for name in fields}
    parameters |= {"id": [new_id() for _ in ordered], "now": clock.now()}
    cursor = await connection.execute(_INSERT, parameters)
    return [
        (rows[bytes(key)], (inbox, day, tenant, domain))
        for key, tenant, inbox, domain, day in await cursor.fetchall()
    ]


async def _count(connection: AsyncConnection[Any], fresh: list[tuple[EventRow, Key]]) -> None:
    totals: dict[Key, Counter[str]] = {}
    for row, key in fresh:
        if row.counter is not None and key[0] is not None:
            totals.setdefault(key, Counter())[row.counter] += 1
    if not totals:
        return
    keys = sorted(totals, key=lambda key: (key[0].bytes, key[1]))
    now = clock.now()
    columns: dict[str, Any] = {
        "id": [new_id() for _ in keys],
        "created_at": [now for _ in keys],
        "inbox_id": [key[0] for key in keys],
        "day": [key[1] for key in keys],
        "tenant_id": [key[2] for key in keys],
        "domain_id": [key[3] for key in keys],
    }
    columns |= {kind: [totals[key][kind] for key in keys] for kind in _KINDS}
    await connection.execute(_COUNT, columns)
    for day in sorted({key[1] for key in keys}):
        sent = [(key[0], totals[key]["accepted"]) for key in keys if key[1] == day]
        sent = [(inbox, n) for inbox, n in sent if n]
        if sent:
            ids = [inbox for inbox, _ in sent]
            # An UPDATE takes its locks in no certain order; this takes them in ours.
            await connection.execute(
                "SELECT 1 FROM inboxes WHERE id = ANY(%s) ORDER BY id FOR UPDATE", [ids]
            )
            await connection.execute(
                _SENT,
                {"inbox_id": ids, "day": [day for _ in sent], "n": [n for _, n in sent]},
            )
