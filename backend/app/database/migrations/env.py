"""What Alembic runs."""

from __future__ import annotations

import sys
import time

from alembic import context
from sqlalchemy import Connection, create_engine, pool, text
from sqlalchemy.exc import OperationalError

from app.config import get_settings
from app.database.tables import (
    billing,
    claims,
    domains,
    health,
    infrastructure,
    messaging,
    nodes,
    notices,
    recovery,
    sending,
    tenancy,
    webhooks,
)
from app.database.tables.base import Base

# Importing the areas is what puts their tables into the metadata.
AREAS = (
    billing,
    claims,
    domains,
    health,
    infrastructure,
    messaging,
    nodes,
    notices,
    recovery,
    sending,
    tenancy,
    webhooks,
)

# Any fixed number will do: it keeps two upgrades at once from meeting.
LOCK = 7_264_001

# Nobody waits longer than this behind a migration that waits for a table.
LOCK_TIMEOUT = "4s"
STATEMENT_TIMEOUT = "15min"
# Seconds before each new try for a table that was in use; then the upgrade gives up.
PAUSES = (1, 2, 4, 8, 15, 30)
LOCK_NOT_AVAILABLE = "55P03"  # PostgreSQL manual, appendix A.


def run() -> None:
    engine = context.config.attributes.get("engine") or create_engine(
        get_settings().owner_url, poolclass=pool.NullPool
    )
    with engine.connect() as connection:
        # Another upgrade is waited for as long as it may take; `lock_timeout` counts here too.
        connection.execute(text("SET lock_timeout = '10min'"))
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text(f"SELECT pg_advisory_lock({LOCK})"))
        # A table that is in use is not: who waits for it holds up every later reader.
        connection.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT}'"))
        connection.execute(text(f"SET statement_timeout = '{STATEMENT_TIMEOUT}'"))
        connection.commit()
        try:
            _patiently(connection)
        finally:
            connection.execute(text(f"SELECT pg_advisory_unlock({LOCK})"))
            connection.commit()


def _patiently(connection: Connection) -> None:
    """Run what is new, each revision in a transaction of its own, again where a table was in use."""
    for pause in (*PAUSES, None):
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            compare_type=True,
            transaction_per_migration=True,
        )
        try:
            with context.begin_transaction():
                context.run_migrations()
            return
        except OperationalError as error:
            connection.rollback()
            if pause is None or getattr(error.orig, "sqlstate", None) != LOCK_NOT_AVAILABLE:
                raise
            print(f"A table is in use; the upgrade tries again in {pause} s.", file=sys.stderr)  # noqa: T201
            time.sleep(pause)


if context.is_offline_mode():
    context.configure(
        url=get_settings().owner_url,
        target_metadata=Base.metadata,
        literal_binds=True,
    )
    with context.begin_transaction():
        context.run_migrations()
else:
    run()
