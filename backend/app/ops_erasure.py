"""`inboxgrove admin erase-tenant`: a company is forgotten, as the GDPR asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from app.ops import AsJSON, do, show

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def erase_tenant(
    tenant_id: Annotated[UUID | None, typer.Argument(help="Left out: what is under way.")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Keep the company after all.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether it is meant.")] = False,
    as_json: AsJSON = False,
) -> None:
    """Silence a company now and erase it in eight days; --undo until then."""
    from app.services.erasure_service import ErasureService

    if tenant_id is None:
        show(do(lambda db: {"erasures": ErasureService.overview(db)}), as_json)
        return
    if not undo and not yes:
        typer.confirm(
            "Its mail stops now, its plan and names end, and in eight days all of it is erased but"
            " the books and the audit trail. Go on?",
            abort=True,
            err=True,
        )

    def turn(db: Session) -> dict[str, Any]:
        if undo:
            return {"tenant_id": ErasureService.take_back(tenant_id, db).id, "kept": True}
        tenant = ErasureService.request(tenant_id, db)
        return {"tenant_id": tenant.id, "erase_at": tenant.erase_at}

    show(do(turn), as_json)
