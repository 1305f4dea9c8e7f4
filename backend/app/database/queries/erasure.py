"""Taking a tenant's rows away, or out of them what tells of people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from app.database.models import Base

_TABLES = {table.name: table for table in Base.metadata.sorted_tables}
"""Those that others refer to come first."""


def delete_rows(db: Session, tenant_id: UUID, tables: Sequence[str]) -> dict[str, int]:
    """Every row that the tenant has in these tables; how many there were, where there were any."""
    gone: dict[str, int] = {}
    for name in reversed(_TABLES):
        if name in tables:
            table = _TABLES[name]
            done: Any = db.execute(delete(table).where(table.c.tenant_id == tenant_id))
            if done.rowcount:
                gone[name] = done.rowcount
    return gone


def blank(db: Session, tenant_id: UUID, columns: Mapping[str, Mapping[str, object]]) -> None:
    """Put these values into the rows that the tenant has in these tables."""
    for name, values in columns.items():
        table = _TABLES[name]
        db.execute(update(table).where(table.c.tenant_id == tenant_id).values(**values))
