"""Reads that people and machines repeat: the asynchronous driver and plain SQL, no ORM session."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.rows import DictRow, dict_row, tuple_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from app.database.patience import STATEMENT_SECONDS, ImpatientReader, Silence
from app.database.role import AS_RUNTIME
from app.errors import Unavailable

Pool = AsyncConnectionPool[ImpatientReader]

READS = "inboxgrove-reads"

_SEE = sql.SQL("SET LOCAL app.tenant = {}")
# Two statements in one message: each of them would be a round trip.
_BEGIN = sql.SQL("BEGIN; SET LOCAL app.tenant = {}")


def open_pool(conninfo: str, *, size: int) -> Pool:
    """Connections that can read and nothing else; not open yet."""
    return AsyncConnectionPool(
        conninfo,
        connection_class=ImpatientReader,
        min_size=0,
        max_size=size,
        timeout=3,
        open=False,
        kwargs={
            # A transaction's beginning and its scope go to the server together, see `_begin`.
            "autocommit": True,
            # Told apart from the sessions of the ORM in pg_stat_activity.
            "application_name": READS,
            "connect_timeout": 2,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 30_000,
            "options": f"{AS_RUNTIME} -c default_transaction_read_only=on -c timezone=UTC"
            f" -c statement_timeout={STATEMENT_SECONDS}s"
            " -c idle_in_transaction_session_timeout=60s",
        },
    )


class Reading:
    """A transaction that sees the rows of one tenant and changes none."""

    def __init__(self, connection: ImpatientReader) -> None:
        self._connection = connection

    async def see(self, tenant: UUID | str) -> None:
        """From now on the rows of `tenant`, and no others."""
        await self._connection.execute(_SEE.format(_as_text(tenant)), prepare=False)

    async def rows(self, query: str, values: Mapping[str, Any]) -> list[DictRow]:
        """What `query` finds, by the names of its columns."""
        async with self._connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(query, values)
            return await cursor.fetchall()

    async def row(self, query: str, values: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """The first row that `query` finds, in the order of its columns."""
        async with self._connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(query, values)
            return await cursor.fetchone()


@asynccontextmanager
async def reading(pool: Pool, tenant: UUID | str) -> AsyncIterator[Reading]:
    """One transaction that sees what `tenant` may: an id, or session.ALL_TENANTS.

    Raises Unavailable when the database cannot be reached or stops answering.
    """
    try:
        connection = await _begin(pool, tenant)
        try:
            yield Reading(connection)
            await connection.execute("COMMIT", prepare=False)
        finally:
            # The pool rolls back what was not committed and replaces what is broken.
            await pool.putconn(connection)
    except (psycopg.OperationalError, PoolTimeout) as error:
        raise Unavailable from error


async def _begin(pool: Pool, tenant: UUID | str) -> ImpatientReader:
    """A connection in a transaction; those that died while they lay in the pool are passed over."""
    tries = pool.max_size
    while True:
        connection = await pool.getconn()
        tries -= 1
        try:
            await connection.execute(_BEGIN.format(_as_text(tenant)), prepare=False)
        except BaseException as error:
            # Also when whoever asked is gone: what is not given back is lost to the pool.
            await pool.putconn(connection)
            died = isinstance(error, psycopg.OperationalError) and not isinstance(error, Silence)
            if not died or tries <= 0:
                raise
        else:
            return connection


def _as_text(tenant: UUID | str) -> sql.Literal:
    return sql.Literal(str(tenant))
