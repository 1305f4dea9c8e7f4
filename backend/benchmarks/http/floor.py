"""The floor of a read: one ASGI callable, the driver, the same rows asked for in SQL, no more.

Who asks is looked up as the product does it (the person, the company, a living session), in a
transaction that tells PostgreSQL whose rows may be seen; nothing is checked, counted or logged.
"""

from __future__ import annotations

import os
from typing import Any

import orjson
from psycopg_pool import AsyncConnectionPool

TENANT, USER, FAMILY = os.environ["TENANT"], os.environ["PERSON"], os.environ["FAMILY"]
WHO = (
    "SELECT u.*, t.* FROM users u JOIN tenants t ON t.id = u.tenant_id"
    " WHERE u.id = %s AND u.is_active AND EXISTS (SELECT 1 FROM refresh_tokens r"
    " WHERE r.family_id = %s AND r.user_id = %s AND r.revoked_at IS NULL AND r.expires_at > now())"
)
ROWS = {
    "/api/v1/infrastructure/inboxes": "SELECT * FROM inboxes ORDER BY id LIMIT 51",
    "/api/v1/domains": "SELECT * FROM domains ORDER BY id DESC LIMIT 51",
}
pool: AsyncConnectionPool | None = None


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    assert pool is not None
    async with pool.connection() as connection:
        await connection.execute("SELECT set_config('app.tenant', %s, true)", [TENANT])
        found = await (await connection.execute(WHO, [USER, FAMILY, USER])).fetchall()
        asked = ROWS.get(scope["path"])
        if asked is not None:
            found = await (await connection.execute(asked)).fetchall()
    body = orjson.dumps({"data": found}, default=str)
    head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})


async def lifespan(receive: Any, send: Any) -> None:
    global pool
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            url = os.environ["DATABASE_URL"].replace("+psycopg", "")
            pool = AsyncConnectionPool(
                url,
                min_size=16,
                max_size=16,
                open=False,
                kwargs={"options": "-c role=inboxgrove_app"},
            )
            await pool.open(wait=True)
            await send({"type": "lifespan.startup.complete"})
        else:
            assert pool is not None
            await pool.close()
            await send({"type": "lifespan.shutdown.complete"})
            return
