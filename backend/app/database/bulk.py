"""Many rows in one statement, inside the session's own transaction.

COPY would be a little quicker, but PostgreSQL refuses COPY FROM on a table with row-level
security; `INSERT … SELECT FROM unnest(…)` sends the same columns as arrays and keeps the policy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from sqlalchemy import Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from app.errors import Unavailable

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


def insert(
    db: Session, table: Table, columns: Mapping[str, Sequence[Any] | Any], rows: int
) -> None:
    """Insert `rows` rows.

    `columns` maps a column's name to a list with one value a row, or to one value for all rows.
    JSON columns take JSON text. Raises Unavailable when the database goes away.
    """
    arrays = {name: value for name, value in columns.items() if isinstance(value, list)}
    constants = {name: value for name, value in columns.items() if name not in arrays}
    if any(len(values) != rows for values in arrays.values()):
        raise ValueError("Every list must have one value a row.")
    unnested = ", ".join(f"%({name})s::{_type(table, name)}[]" for name in arrays)
    selected = [f"u.{name}" for name in arrays]
    selected += [f"%({name})s::{_type(table, name)}" for name in constants]
    statement = (
        f"INSERT INTO {table.name} ({', '.join([*arrays, *constants])})"  # noqa: S608  # Our own names.
        f" SELECT {', '.join(selected)} FROM unnest({unnested}) AS u({', '.join(arrays)})"
    )
    driver = db.connection().connection.driver_connection
    assert driver is not None  # noqa: S101  # A session in a transaction has a connection.
    try:
        with driver.cursor(binary=True) as cursor:
            cursor.execute(statement, {**arrays, **constants})
    except psycopg.OperationalError as error:
        # The driver is used past SQLAlchemy, which would have said so itself.
        raise Unavailable from error


def _type(table: Table, name: str) -> str:
    return str(table.c[name].type.compile(_DIALECT))
