"""Keyset pages: the next one begins after a key, so a page costs the same however deep it is."""

from __future__ import annotations

from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute, Session

Row = TypeVar("Row")


def page(
    db: Session,
    statement: Select[Row],
    key: InstrumentedAttribute[UUID],
    *,
    after: UUID | None,
    limit: int,
    newest_first: bool = True,
) -> tuple[list[Row], UUID | None]:
    """At most `limit` rows and the key to continue after, None on the last page.

    Ids are UUIDv7, so their order is that of making.
    """
    if after is not None:
        statement = statement.where(key < after if newest_first else key > after)
    ordered = statement.order_by(key.desc() if newest_first else key.asc())
    rows: list[Any] = list(db.scalars(ordered.limit(limit + 1)))
    more = len(rows) > limit
    rows = rows[:limit]
    return rows, rows[-1].id if more else None
