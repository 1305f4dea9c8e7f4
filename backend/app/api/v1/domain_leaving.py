"""Letting go of a name: deleting it, having it back, taking it elsewhere."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response
from sqlalchemy.orm import Session

from app import errors
from app.api.deps import DB, requires
from app.api.idempotency import IdempotentRoute
from app.api.responses import Envelope, ok
from app.api.schemas import renewals as s
from app.api.schemas.domains import DomainOut
from app.database.models import Domain
from app.rules.permissions import Permission
from app.services import domain_leaving, domain_transfer

router = APIRouter(prefix="/domains", tags=["domains"], route_class=IdempotentRoute)


@router.delete(
    "/{domain_id}",
    status_code=204,
    **requires(Permission.DOMAINS_WRITE, audit_event="domain_deleted"),
)
def delete(
    domain_id: UUID,
    db: DB,
    with_inboxes: Annotated[bool, Query(description="Delete its inboxes too.")] = False,
) -> Response:
    """Let go of a name: mail from it stops at once, our records go a week later.

    A bought name stays registered until its term ends and can be had back until then.
    """
    domain_leaving.delete(domain_id, db, with_inboxes=with_inboxes)
    return Response(status_code=204)


@router.post(
    "/{domain_id}/restore",
    status_code=202,
    response_model=Envelope[DomainOut],
    **requires(Permission.DOMAINS_WRITE, audit_event="domain_restored", waits=True),
)
def restore(domain_id: UUID, db: DB) -> Any:
    """Have a deleted name back while its term lasts; it is set up anew, without its inboxes."""
    return ok(domain_leaving.restore(_domain(domain_id, db), db))


@router.post(
    "/{domain_id}/transfer-out",
    response_model=Envelope[s.TransferOut],
    **requires(
        Permission.DOMAINS_BUY,
        audit_event="domain_transfer_begun",
        person=True,
        recent=True,
        waits=True,
    ),
)
def transfer_out(domain_id: UUID, db: DB) -> Any:
    """Unlock a bought name for another registrar, and get its authorisation code.

    Where the registrar gives the code to people only, it comes by mail within a working day.
    """
    return ok(domain_transfer.begin(_domain(domain_id, db), db))


@router.delete(
    "/{domain_id}/transfer-out",
    status_code=204,
    **requires(
        Permission.DOMAINS_BUY, audit_event="domain_transfer_cancelled", person=True, waits=True
    ),
)
def keep(domain_id: UUID, db: DB) -> Response:
    """Lock the name again: it stays."""
    domain_transfer.cancel(_domain(domain_id, db), db)
    return Response(status_code=204)


def _domain(domain_id: UUID, db: Session) -> Domain:
    domain = db.get(Domain, domain_id)
    if domain is None:
        raise errors.NotFound(resource="domain")
    return domain
