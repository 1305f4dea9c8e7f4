"""`inboxgrove ops transfer-code`: handing over a code that a registrar shows to people only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.ops import AsJSON, do, show

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def transfer_code(
    domain: Annotated[str, typer.Argument(help="The domain's name.")],
    code: Annotated[
        str,
        typer.Option(
            prompt="Authorisation code", hide_input=True, help="Asked for when it is left out."
        ),
    ],
    as_json: AsJSON = False,
) -> None:
    """Mail a domain's owner the authorisation code; it is stored nowhere."""
    from app.services import domain_transfer

    def send(db: Session) -> dict[str, Any]:
        return {"sent_to": domain_transfer.send_code(domain, code, db)}

    show(do(send), as_json)
