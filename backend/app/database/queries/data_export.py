"""Every row that a tenant owns, as one JSON document."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import clock
from app.database.models import Base, Tenant, TenantOwned
from app.rules import audit_chain, data_export

BLOCK = 2_000


def pieces(db: Session, tenant_id: UUID) -> Iterator[str]:
    """The document in pieces of text, its rows read in blocks; for a session of that tenant.

    {"format", "version", "exported_at", "tenant_id", "tables": {name: [row, …]}}. Instants are RFC
    3339 in UTC, amounts of money decimal texts, hashes hex.
    """
    about = {
        "format": data_export.FORMAT,
        "version": data_export.VERSION,
        "exported_at": audit_chain.instant(clock.now()),
        "tenant_id": str(tenant_id),
    }
    yield json.dumps(about)[:-1] + ', "tables": {'
    for number, (table, columns) in enumerate(data_export.EXPORTED.items()):
        yield f'{"," if number else ""}\n"{table}": ['
        for position, row in enumerate(_rows(db, tenant_id, table, columns)):
            yield ("," if position else "") + "\n" + json.dumps(row, default=_plain)
        yield "]"
    yield "\n}}\n"


def _rows(
    db: Session, tenant_id: UUID, table: str, columns: tuple[str, ...]
) -> Iterator[dict[str, Any]]:
    owner = _MODELS[table]
    statement = select(*(getattr(owner, name) for name in columns))
    # Said here too, though the session's scope and row-level security each suffice.
    if issubclass(owner, TenantOwned):
        statement = statement.where(owner.tenant_id == tenant_id)
    else:
        statement = statement.where(owner.id == tenant_id)
    found = db.execute(statement.order_by(owner.id), execution_options={"yield_per": BLOCK})
    return (dict(zip(columns, row, strict=True)) for row in found)


_MODELS: dict[str, type[Base]] = {
    mapper.class_.__tablename__: mapper.class_
    for mapper in Base.registry.mappers
    if issubclass(mapper.class_, TenantOwned) or mapper.class_ is Tenant
}
"""Tables of tenants' rows, and that of tenants."""


def _plain(value: object) -> object:
    match value:
        case datetime():
            return audit_chain.instant(value)
        case date():
            return value.isoformat()
        case UUID() | Decimal():
            return str(value)
        case bytes() | memoryview():
            return bytes(value).hex()
        case _:
            raise TypeError(f"{type(value).__name__} has no form in an export.")
