"""`inboxgrove ops alerts`: everything that operators were called for, newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from app.ops import AsJSON, do, show

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def alerts(
    kind: Annotated[str | None, typer.Option(help="Only these, as dispute or job_dead.")] = None,
    tenant: Annotated[UUID | None, typer.Option(help="Only those about this tenant.")] = None,
    open_only: Annotated[bool, typer.Option("--open", help="Only unresolved ones.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    before: Annotated[UUID | None, typer.Option(help="Go on after a page: its `next`.")] = None,
    as_json: AsJSON = False,
) -> None:
    """What operators were called for, newest first, looked after or not, in pages.

    Exit 0 whatever there is; `billing alerts` leaves with 1 while one is open, and resolves them.
    """
    from sqlalchemy import select

    from app.database.models import OperatorAlert
    from app.database.queries import pages

    wanted = select(OperatorAlert)
    if kind is not None:
        wanted = wanted.where(OperatorAlert.kind == kind)
    if tenant is not None:
        wanted = wanted.where(OperatorAlert.about_tenant_id == tenant)
    if open_only:
        wanted = wanted.where(OperatorAlert.resolved_at.is_(None))

    def look(db: Session) -> dict[str, Any]:
        rows, more = pages.page(db, wanted, OperatorAlert.id, after=before, limit=limit)
        return {
            "alerts": [
                {
                    "id": str(row.id),
                    "at": row.created_at.isoformat(),
                    "kind": row.kind,
                    "about": row.fact,
                    "tenant_id": None if row.about_tenant_id is None else str(row.about_tenant_id),
                    "message": row.message,
                    "resolved_at": None if row.resolved_at is None else row.resolved_at.isoformat(),
                }
                for row in rows
            ],
            "next": None if more is None else str(more),
        }

    result = do(look)
    if as_json:
        show(result, as_json)
        return
    for row in result["alerts"]:
        state = "done" if row["resolved_at"] else "open"
        about = f" tenant {row['tenant_id']}" if row["tenant_id"] else ""
        typer.echo(
            f"{row['at'][:19]}Z {state} {row['kind']} {row['about']}{about}: {row['message']}"
        )
    if result["next"]:
        typer.echo(f"More: --before {result['next']}")
