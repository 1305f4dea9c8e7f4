"""`inboxgrove ops dkim …`: signing keys that are being replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from app.ops import AsJSON, do, show

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

dkim_app = typer.Typer(no_args_is_help=True, help="Signing keys of domains.")


@dkim_app.command("list")
def list_rotations(as_json: AsJSON = False) -> None:
    """Keys that are being replaced: the stage of each, and what it waits for."""
    from app.services import dkim_rotation

    show(do(lambda db: {"rotations": dkim_rotation.overview(db)}), as_json)


@dkim_app.command()
def rotate(
    domain: Annotated[str, typer.Argument(help="The domain's name.")],
    leaked: Annotated[
        bool,
        typer.Option(
            "--revoke-now",
            help="The old key is in other hands: end it as soon as the new one signs.",
        ),
    ] = False,
    as_json: AsJSON = False,
) -> None:
    """Replace the signing key of a domain."""
    from sqlalchemy import select

    from app import errors
    from app.database.models import Domain, DomainStatus
    from app.services import dkim_rotation

    def begin(db: Session) -> dict[str, Any]:
        wanted = select(Domain.id).where(
            Domain.domain_name == domain.lower(), Domain.status == DomainStatus.ACTIVE
        )
        found = db.scalars(wanted).one_or_none()
        if found is None:
            raise errors.NotFound(resource="active domain")
        rotation = dkim_rotation.request(found, db, leaked=leaked)
        return {"id": str(rotation.id), "new_selector": rotation.new_selector}

    show(do(begin), as_json)


@dkim_app.command()
def back(
    rotation: Annotated[UUID, typer.Argument(help="The rotation's id, as `list` shows it.")],
    as_json: AsJSON = False,
) -> None:
    """Sign with the old key again, as long as it is kept."""
    from app.services import dkim_rotation

    def undo(db: Session) -> dict[str, Any]:
        undone = dkim_rotation.undo(rotation, db)
        return {"id": str(undone.id), "stage": str(undone.stage)}

    show(do(undo), as_json)
