"""Who did what: the tenant's own audit trail, to read and to take away."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from sqlalchemy.orm import Session

from app.api.cursors import Cursor, Limit, seal, unseal
from app.api.deps import DB, requires
from app.api.downloads import csv_file
from app.api.responses import Page, page
from app.api.schemas import audit as s
from app.database.models import AuditLog
from app.database.queries import audit
from app.rules import audit_chain, exports
from app.rules.permissions import Permission

router = APIRouter(prefix="/analytics", tags=["analytics"])

_COLUMNS = tuple(s.AuditOut.model_fields)
Word = Query(max_length=60, pattern="^[a-z0-9_]+$")


def _filters(
    action: Annotated[str | None, Word] = None,
    actor_id: UUID | None = None,
    actor_type: Literal["user", "api_key", "operator", "system"] | None = None,
    resource_type: Annotated[str | None, Word] = None,
    resource_id: UUID | None = None,
    since: Annotated[
        s.Moment | None, Query(alias="from", description="Not before this instant, or day (UTC).")
    ] = None,
    before: Annotated[
        s.Moment | None, Query(alias="to", description="Before this instant, or day (UTC).")
    ] = None,
) -> audit.Filters:
    return audit.Filters(
        action, actor_id, actor_type, resource_type, resource_id, since=since, before=before
    )


@router.get(
    "/audit-log",
    response_model=Page[s.AuditOut],
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
    **requires(Permission.AUDIT_READ),
)
def audit_log(
    db: DB,
    filters: Annotated[audit.Filters, Depends(_filters)],
    limit: Limit = 50,
    cursor: Cursor = None,
    format: Annotated[Literal["json", "csv"], Query()] = "json",  # noqa: A002  # The API's name.
) -> Any:
    """Who did what, the newest first; `format=csv` is a file of everything that was asked for.

    Each entry is chained to the one before it: `hash` is the SHA-256 over `previous_hash` and the
    entry in a documented form.
    """
    if format == "csv":
        return _file(db, filters)
    after = unseal("audit", cursor)
    seq = None if after is None else after.int
    rows, last = audit.page(db, filters, after=seq, limit=limit)
    return page(rows, seal("audit", last))


def _file(db: Session, filters: audit.Filters) -> Response:
    rows = (_cells(row) for row in audit.every(db, filters))
    return csv_file(exports.table(_COLUMNS, rows), "audit-log.csv")


def _cells(row: AuditLog) -> list[object]:
    told = {name: getattr(row, name) for name in _COLUMNS}
    told["created_at"] = audit_chain.instant(row.created_at)
    told["changes"] = audit_chain.as_text(row.changes)
    for name in ("previous_hash", "hash"):
        told[name] = told[name].hex()
    return list(told.values())
