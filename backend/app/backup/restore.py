"""Putting a backup into a database, wholly or not at all."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg.sql import SQL, Identifier

from app import clock
from app.backup import dump as dumps
from app.backup import manifest as manifests
from app.backup import tools
from app.backup.manifest import Manifest
from app.backup.tools import BackupError
from app.database.role import RUNTIME_ROLE
from app.database.tables.base import new_id

_OURS: LiteralString = (
    "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
)


@dataclass(frozen=True)
class Restored:
    manifest: Manifest
    differences: list[str]
    """Empty when every table has the rows it had."""
    strange_keys: list[str]
    """Secrets that the dumped rows need and that are other ones here."""
    seconds: float


def restore(url: str, dump: Path, *, keys: dict[str, str], replace: bool = False) -> Restored:
    """Restore `dump` into the database of `url`, its owner's, and compare it with the manifest.

    Raises BackupError for a damaged dump, for a database that others are connected to, and for one
    that holds tables unless `replace` deletes them first. What fails leaves it as it was or empty.
    """
    began = time.monotonic()
    made = dumps.verify(dump)
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            version = connection.info.server_version
            program = tools.find("pg_restore", version // 10_000)
            _alone(connection)
            _runtime_role(connection)
            if _holds_tables(connection):
                if not replace:
                    raise BackupError(
                        "This database is not empty. Restore into a new one, or say --replace to"
                        " delete everything in it first."
                    )
                _clear(connection)
        arguments = ["--single-transaction", "--exit-on-error", "--no-owner", str(dump)]
        tools.run(program, arguments, url)
        with psycopg.connect(url) as connection:
            manifests.plainly(connection)
            found = manifests.tables_of(connection)
        with psycopg.connect(url, autocommit=True) as connection:
            _hold(connection, made)
            # A dump carries no statistics of its planner that every version takes.
            connection.execute("ANALYZE")
    except psycopg.Error as error:
        raise BackupError(f"Not restored: {error}") from error
    return Restored(
        manifest=made,
        differences=manifests.differences(made.tables, found),
        strange_keys=manifests.strangers(made, keys),
        seconds=round(time.monotonic() - began, 3),
    )


def _alone(connection: psycopg.Connection[Any]) -> None:
    row = connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        # PostgreSQL's own processes are nobody's.
        " AND pid <> pg_backend_pid() AND usesysid IS NOT NULL"
    ).fetchone()
    if row is not None and row[0]:
        raise BackupError(
            f"{row[0]} other connections use this database. Stop api, worker, relay and beat first."
        )


def _runtime_role(connection: psycopg.Connection[Any]) -> None:
    """The dump grants to it, and a new cluster may not have it."""
    known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [RUNTIME_ROLE])
    if known.fetchone():
        return
    role = Identifier(RUNTIME_ROLE)
    try:
        connection.execute(SQL("CREATE ROLE {} NOLOGIN NOBYPASSRLS").format(role))
        connection.execute(SQL("GRANT {} TO CURRENT_USER").format(role))
    except psycopg.errors.InsufficientPrivilege as error:
        raise BackupError(
            f"The role {RUNTIME_ROLE} is missing, and this user may not make it. As a superuser:"
            f" CREATE ROLE {RUNTIME_ROLE} NOLOGIN; GRANT {RUNTIME_ROLE} TO the owner."
        ) from error


def _hold(connection: psycopg.Connection[Any], made: Manifest) -> None:
    """Nothing is bought on restored data until a person has looked; services.restored_mode."""
    connection.execute(
        "INSERT INTO restorations (id, created_at, cluster, cause, data_until)"
        " VALUES (%s, %s, %s, %s, %s)",
        [new_id(), clock.now(), "", f"{made.dump} was restored.", made.taken_at],
    )


def _holds_tables(connection: psycopg.Connection[Any]) -> bool:
    found = connection.execute(
        "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' LIMIT 1"
    )
    return found.fetchone() is not None


def _clear(connection: psycopg.Connection[Any]) -> None:
    with connection.transaction():
        for (schema,) in connection.execute(_OURS).fetchall():
            connection.execute(SQL("DROP SCHEMA {} CASCADE").format(Identifier(schema)))
        connection.execute("CREATE SCHEMA public")
        connection.execute("GRANT USAGE ON SCHEMA public TO PUBLIC")
