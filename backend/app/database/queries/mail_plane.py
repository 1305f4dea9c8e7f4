"""What relay nodes ask: plain SQL on the async driver, no ORM session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from app.database.models import (
    Inbox,
    InboxStatus,
    SubscriptionStatus,
    Tenant,
)

Pool = AsyncConnectionPool[AsyncConnection[Any]]

_INBOX = """
SELECT i.id, i.tenant_id, i.username, i.full_email, i.password_hmac, i.status, i.daily_limit,
    i.monthly_limit, t.is_suspended, t.subscription_status, t.trial_ends_at,
    t.stripe_subscription_id
FROM inboxes i JOIN tenants t ON t.id = i.tenant_id
WHERE i.username = %(username)s AND i.status IN ('active', 'paused')
"""

_DKIM = """
SELECT d.domain_name, k.id, k.selector, k.private_key
FROM domains d JOIN dkim_keys k ON k.domain_id = d.id AND k.selector = d.dkim_selector
WHERE d.domain_name = %(domain)s AND d.kumo_authorized AND d.status = 'active'
"""

KILLS = """
SELECT 't', id::text FROM tenants WHERE is_suspended
UNION ALL SELECT 'i', id::text FROM inboxes WHERE status = 'paused'
"""

_OWNER = "SELECT tenant_id FROM inboxes WHERE id = %(inbox)s"


@dataclass(frozen=True)
class SigningKey:
    id: UUID
    domain: str
    selector: str
    sealed: bytes
    """PEM, encrypted."""


async def inbox(pool: Pool, username: str) -> tuple[Inbox, Tenant] | None:
    """The inbox that may log in under `username`, and whose it is; detached, read-only objects."""
    row = await _one(pool, _INBOX, {"username": username})
    if row is None:
        return None
    tenant = Tenant(
        id=row["tenant_id"],
        is_suspended=row["is_suspended"],
        subscription_status=SubscriptionStatus(row["subscription_status"]),
        trial_ends_at=row["trial_ends_at"],
        stripe_subscription_id=row["stripe_subscription_id"],
    )
    found = Inbox(
        id=row["id"],
        tenant_id=row["tenant_id"],
        username=row["username"],
        full_email=row["full_email"],
        password_hmac=row["password_hmac"],
        status=InboxStatus(row["status"]),
        daily_limit=row["daily_limit"],
        monthly_limit=row["monthly_limit"],
    )
    return found, tenant


async def signing_key(pool: Pool, domain: str) -> SigningKey | None:
    """The key that mail of an authorised domain is signed with."""
    row = await _one(pool, _DKIM, {"domain": domain})
    if row is None:
        return None
    return SigningKey(row["id"], row["domain_name"], row["selector"], bytes(row["private_key"]))


async def owner(pool: Pool, inbox_id: UUID) -> UUID | None:
    """The tenant of an inbox, also of a deleted one."""
    row = await _one(pool, _OWNER, {"inbox": inbox_id})
    return None if row is None else row["tenant_id"]


async def kills(pool: Pool) -> tuple[list[str], list[str]]:
    """Ids of suspended tenants and of paused inboxes."""
    tenants: list[str] = []
    inboxes: list[str] = []
    async with pool.connection() as connection, connection.transaction():
        await connection.execute("SELECT set_config('app.tenant', '*', true)")
        cursor = await connection.execute(KILLS)
        for kind, id_ in await cursor.fetchall():
            (tenants if kind == "t" else inboxes).append(id_)
    return tenants, inboxes


async def _one(pool: Pool, sql: str, values: dict[str, Any]) -> dict[str, Any] | None:
    async with pool.connection() as connection, connection.transaction():
        await connection.execute("SELECT set_config('app.tenant', '*', true)")
        async with connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(sql, values)
            return await cursor.fetchone()
