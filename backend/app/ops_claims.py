"""`inboxgrove ops domain-claims`: names that wait for their proof, or have lost it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from app.ops import AsJSON, do, show

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def domain_claims(
    retry: Annotated[
        UUID | None, typer.Option(help="Look for the proof of this domain (its id) now.")
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Claims without a proof and names whose proof is gone; exit 1 where one is gone."""
    from app.services import domain_proof

    def deed(db: Session) -> dict[str, Any]:
        if retry is not None:
            domain_proof.hurry(retry, db)
        return {"claims": domain_proof.overview(db)}

    found = do(deed)
    show(found, as_json)
    raise typer.Exit(1 if any(row["lost_at"] for row in found["claims"]) else 0)
