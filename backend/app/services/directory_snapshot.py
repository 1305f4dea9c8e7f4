"""The whole directory as one text, for the disk of a relay node.

Shape: a line of JSON with `etag`, `tenants` and `inboxes` (ids of those that are stopped); for each
inbox a line `name TAB entry`, in the order of the names' octets, the entry being what Redis holds
of it; a last line `end TAB etag`. The order lets a node find a name with a binary search on disk.
It holds HMACs of passwords, never passwords.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any

from app.database.models import SubscriptionStatus, Tenant
from app.database.queries.mail_plane import KILLS, Pool
from app.integrations.ports import InboxEntry
from app.rules import pace
from app.services.directory_service import DirectoryService

_TENANTS = """
SELECT id, is_suspended, subscription_status, trial_ends_at, stripe_subscription_id FROM tenants
"""

_INBOXES = """
SELECT username, id, tenant_id, full_email, password_hmac, status, daily_limit, monthly_limit
FROM inboxes WHERE status IN ('active', 'paused') ORDER BY username COLLATE "C"
"""

BLOCK = 1_000
"""Rows that are put into words before others on this event loop have their turn: about 10 ms."""


async def text(pool: Pool) -> tuple[str, bytes]:
    """The ETag and the text, both of one moment; the ETag follows from the content alone."""
    lines: list[bytes] = []
    content = hashlib.sha256()
    async with pool.connection() as connection, connection.transaction():
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        await connection.execute("SELECT set_config('app.tenant', '*', true)")
        kills: dict[str, list[str]] = {"tenants": [], "inboxes": []}
        cursor = await connection.execute(KILLS)
        for kind, id_ in sorted(await cursor.fetchall()):
            kills["tenants" if kind == "t" else "inboxes"].append(id_)
        cursor = await connection.execute(_TENANTS)
        closed = {row[0] for row in await cursor.fetchall() if not _open(row)}
        content.update(json.dumps(kills).encode())
        async with connection.cursor(name="snapshot") as stream:
            await stream.execute(_INBOXES)
            while rows := await stream.fetchmany(BLOCK):
                block = [_line(row, closed) for row in rows]
                content.update(b"".join(block))
                lines += block
                await asyncio.sleep(0)
    etag = content.hexdigest()[:32]
    head = json.dumps({"etag": etag, **kills}).encode()
    return etag, b"".join([head, b"\n", *lines, f"end\t{etag}\n".encode()])


def _open(row: tuple[Any, ...]) -> bool:
    id_, suspended, status, trial_ends_at, subscription = row
    return DirectoryService.open(
        Tenant(
            id=id_,
            is_suspended=suspended,
            subscription_status=SubscriptionStatus(status),
            trial_ends_at=trial_ends_at,
            stripe_subscription_id=subscription,
        )
    )


def _line(row: tuple[Any, ...], closed: set[Any]) -> bytes:
    username, id_, tenant_id, email, hmac, status, daily, monthly = row
    entry = InboxEntry(
        username=username.lower(),
        inbox_id=str(id_),
        tenant_id=str(tenant_id),
        domain=email.rpartition("@")[2],
        email=email,
        password_hmac=hmac,
        status="paused" if tenant_id in closed else status,
        daily_limit=daily,
        monthly_limit=monthly,
        hourly_limit=pace.hourly_limit(daily),
        recipient_domain_limit=pace.recipient_domain_limit(daily),
    )
    fields = json.dumps(entry.fields(), separators=(",", ":"))
    return f"{entry.username}\t{fields}\n".encode()
