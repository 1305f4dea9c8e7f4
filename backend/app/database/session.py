"""The engine, the one commit, and the tenant filter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import (
    ORMExecuteState,
    Session,
    SessionTransaction,
    sessionmaker,
    with_loader_criteria,
)

from app.config import get_settings
from app.database.patience import STATEMENT_SECONDS, ImpatientConnection
from app.database.role import AS_RUNTIME
from app.database.tables.base import TenantOwned
from app.errors import Unavailable

ALL_TENANTS: Final = "*"
"""Scope of work that spans tenants (sweeps, webhooks, operators); easy to search for."""

POOL_SIZE = 20

_BEGUN: Final = "begun"
"""Whether a session has a connection already, which must be told of another scope."""


def make_engine(url: str, connection: type[ImpatientConnection] = ImpatientConnection) -> Engine:
    """No connection is made yet. Gives up rather than hangs when PostgreSQL is frozen."""
    made = create_engine(
        url,
        pool_size=POOL_SIZE,
        max_overflow=0,
        pool_timeout=3,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": 2,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 30_000,
            # A dead worker must not hold a lock for ever, nor a slow query a request.
            "options": f"{AS_RUNTIME} -c statement_timeout={STATEMENT_SECONDS}s -c lock_timeout=5s"
            " -c idle_in_transaction_session_timeout=60s",
        },
    )

    @event.listens_for(made, "do_connect")
    def _connect(_: object, __: object, args: list[str], options: dict[str, Any]) -> Any:
        return connection.connect(*args, **options)

    return made


engine = make_engine(get_settings().sqlalchemy_url)
SessionLocal = sessionmaker(engine, expire_on_commit=False, autoflush=True)


@contextmanager
def transaction(*, tenant: UUID | str) -> Iterator[Session]:
    """One transaction, committed on leaving, rolled back on any error.

    `tenant` is whose rows can be seen: a tenant's id, or ALL_TENANTS.
    Raises Unavailable when the database cannot be reached or the commit fails for its own reasons.
    """
    with SessionLocal() as db:
        scope(db, tenant)
        try:
            with db.begin():
                yield db
        except DBAPIError as error:
            if isinstance(error, OperationalError) or error.connection_invalidated:
                raise Unavailable from error
            raise


@contextmanager
def passing_locks(db: Session) -> Iterator[None]:
    """Row locks taken within are given back at its end, and what was written within is undone.

    For work outside the database that must not meet a change of those rows.
    """
    with db.begin_nested() as savepoint:
        yield
        savepoint.rollback()


def scope(db: Session, tenant: UUID | str) -> None:
    """Limit what `db` sees; call it before the first statement, or again inside a transaction."""
    db.info["tenant"] = tenant
    if db.info.get(_BEGUN):
        _tell_postgres(db.connection(), tenant)


@event.listens_for(Session, "after_begin")
def _after_begin(db: Session, _: SessionTransaction, connection: Connection) -> None:
    tenant = db.info.get("tenant")
    db.info[_BEGUN] = True
    if tenant is not None:
        _tell_postgres(connection, tenant)


def _tell_postgres(connection: Connection, tenant: UUID | str) -> None:
    # Local to the transaction: a session-level setting would leak to the pool's next user.
    connection.execute(
        text("SELECT set_config('app.tenant', :tenant, true)"), {"tenant": str(tenant)}
    )


@event.listens_for(Session, "do_orm_execute")
def _filter_by_tenant(state: ORMExecuteState) -> None:
    tenant = state.session.info.get("tenant")
    if not isinstance(tenant, UUID) or state.is_column_load or state.is_relationship_load:
        return
    state.statement = state.statement.options(
        with_loader_criteria(
            TenantOwned,
            lambda cls: cls.tenant_id == tenant,
            include_aliases=True,
        )
    )
