"""`inboxgrove ops restored …`: from a restored database back to business."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.ops import AsJSON, do, show

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy.orm import Session

    from app.services.restored_reconciling import Account

restored_app = typer.Typer(
    no_args_is_help=True, help="After a restore: what waits, compare, let it go on."
)


@restored_app.command()
def status(as_json: AsJSON = False) -> None:
    """Whether money and names wait, since when, and what was found; exit 1 while they do."""
    from app.services import restored_mode

    def look(db: Session) -> dict[str, Any]:
        life = restored_mode.newest(db)
        held = restored_mode.is_held(db)
        if life is None:
            return {"held": held}
        return {
            "held": held,
            "cause": life.cause,
            "since": life.created_at,
            "data_until": life.data_until,
            "reconciled_at": life.reconciled_at,
            "released_at": life.released_at,
            "findings": life.findings or {},
        }

    result = do(look)
    show(result, as_json)
    raise typer.Exit(1 if result["held"] else 0)


@restored_app.command()
def hold(
    data_until: Annotated[
        datetime | None,
        typer.Option(help="The instant the data is from (UTC); needed after a recovery by WAL."),
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Hold by hand: after a restore that other programs did, before any process starts."""
    from datetime import UTC

    from app.services import restored_mode

    until = None if data_until is None else data_until.replace(tzinfo=UTC)

    def begin(db: Session) -> dict[str, Any]:
        return {"held": restored_mode.hold(db, "An operator said so.", until).id}

    with redirect_stdout(sys.stderr):
        result = do(begin)
    show(result, as_json)


@restored_app.command()
def reconcile(as_json: AsJSON = False) -> None:
    """Find what happened at Stripe and the registrar in the lost time; charges and buys nothing.

    May be repeated; exit 1 when something needs a person.
    """
    from app.services import reconciliation, restored_findings

    found: list[Account] = []
    with redirect_stdout(sys.stderr):  # What is logged meanwhile.
        for tenant_id in do(lambda db: {"ids": reconciliation.accounts(db)})["ids"]:
            # A transaction for each: an interruption leaves those that are done.
            done = do(partial(_account, tenant_id))["account"]
            if done is not None:
                found.append(done)
        result = do(lambda db: restored_findings.finish(found, db))
    show(result, as_json)
    raise typer.Exit(1 if any(one.unexplained for one in found) else 0)


def _account(tenant_id: UUID, db: Session) -> dict[str, Account | None]:
    from app.services import restored_reconciling

    return {"account": restored_reconciling.account(tenant_id, db)}


@restored_app.command()
def release(
    unseen: Annotated[
        bool, typer.Option("--unseen", help="Although nobody has compared anything.")
    ] = False,
    as_json: AsJSON = False,
) -> None:
    """Let money and names go on; refused before a comparison."""
    from app.services import restored_mode

    def let_go(db: Session) -> dict[str, Any]:
        return {"released_at": restored_mode.release(db, unseen=unseen).released_at}

    show(do(let_go), as_json)
