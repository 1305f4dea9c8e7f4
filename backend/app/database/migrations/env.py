"""What Alembic runs."""

from __future__ import annotations

from alembic import context
from sqlalchemy import create_engine, pool, text

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


def run() -> None:
    engine = context.config.attributes.get("engine") or create_engine(
        get_settings().owner_url, poolclass=pool.NullPool
    )
    with engine.connect() as connection:
        # Another upgrade is waited for as long as it may take; `lock_timeout` counts here too.
        connection.execute(text("SET lock_timeout = '10min'"))
        connection.execute(text(f"SELECT pg_advisory_lock({LOCK})"))
        # A table that is in use is not: who waits for it holds up every later reader.
        connection.execute(text("SET lock_timeout = '4s'"))
        connection.commit()
        try:
            context.configure(
                connection=connection, target_metadata=Base.metadata, compare_type=True
            )
            with context.begin_transaction():
                context.run_migrations()
        finally:
            connection.execute(text(f"SELECT pg_advisory_unlock({LOCK})"))
            connection.commit()


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
