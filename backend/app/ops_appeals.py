"""`inboxgrove ops appeals …`: what tenants object to, and the answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from app.ops import AsJSON, do, show

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

appeals_app = typer.Typer(no_args_is_help=True, help="Appeals against decisions.")
Id = Annotated[UUID, typer.Argument(help="The appeal's id.")]
Note = Annotated[str | None, typer.Option(help="The answer, for the tenant to read.")]


@appeals_app.command("list")
def list_appeals(
    every: Annotated[bool, typer.Option("--all", help="Answered ones too.")] = False,
    as_json: AsJSON = False,
) -> None:
    """Open appeals, the oldest first, with the decisions they are against."""
    from app.database.models import Appeal, AppealState
    from app.database.queries import decisions as queries

    def look(db: Session) -> dict[str, Any]:
        wanted = queries.appeals(state=None if every else AppealState.OPEN)
        rows = db.scalars(wanted.order_by(Appeal.id)).all()
        against = queries.of_appeals(db, rows)
        return {
            "appeals": [
                {
                    "appeal_id": row.id,
                    "tenant_id": row.tenant_id,
                    "state": row.state,
                    "message": row.message,
                    "action": against[row.decision_id].action,
                    "reason": against[row.decision_id].reason,
                    "evidence": against[row.decision_id].evidence,
                    "rule_version": against[row.decision_id].rule_version,
                    "answer": row.answer,
                }
                for row in rows
            ]
        }

    result = do(look)
    if as_json:
        show(result, as_json)
        return
    for row in result["appeals"]:
        typer.echo(f"{row['appeal_id']}  {row['tenant_id']}  {row['state']}")
        typer.echo(f"  against: {row['action']} for {row['reason']}, {row['evidence']}")
        typer.echo(f"  {row['message']}")


@appeals_app.command()
def uphold(appeal_id: Id, note: Note = None, as_json: AsJSON = False) -> None:
    """The decision stands."""
    _answer(appeal_id, note, as_json, reverse=False)


@appeals_app.command()
def reverse(appeal_id: Id, note: Note = None, as_json: AsJSON = False) -> None:
    """Undo the decision: the tenant is let in again, or the inbox resumed."""
    _answer(appeal_id, note, as_json, reverse=True)


def _answer(appeal_id: UUID, note: str | None, as_json: bool, *, reverse: bool) -> None:
    from app.services.appeal_service import AppealService

    def decide(db: Session) -> dict[str, Any]:
        decide = AppealService.reverse if reverse else AppealService.uphold
        appeal = decide(appeal_id, db, answer=note)
        return {"appeal_id": appeal.id, "tenant_id": appeal.tenant_id, "state": appeal.state}

    show(do(decide), as_json)
