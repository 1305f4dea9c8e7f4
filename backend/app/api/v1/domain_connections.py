"""Names that tenants own already: claim one, see what is in the way, let go of it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Response
from sqlalchemy.orm import Session

from app import errors
from app.api.deps import DB, CurrentTenant, requires
from app.api.idempotency import IdempotentRoute
from app.api.responses import Envelope, ok
from app.api.schemas import domain_connections as s
from app.api.schemas.domains import DomainOut
from app.database.models import Domain
from app.database.queries import accounts
from app.integrations import ports
from app.rules.permissions import Permission
from app.services import domain_brought, domain_connection, domain_setup

router = APIRouter(prefix="/domains", tags=["domains"], route_class=IdempotentRoute)


@router.post(
    "/connect",
    status_code=201,
    response_model=Envelope[s.ConnectionOut],
    **requires(
        Permission.DOMAINS_WRITE,
        audit_event="domain_connection_requested",
        idempotent=True,
    ),
)
def connect(body: s.ConnectIn, tenant: CurrentTenant, db: DB) -> Any:
    """Connect a name you own; it is set up once its TXT record proves that it is yours.

    Asking again while the proof is waited for answers with the same token.
    """
    domain = domain_connection.connect(tenant, body.domain_name, body.dns, db)
    return ok(_connection(domain, db))


@router.get(
    "/{domain_id}/connection",
    response_model=Envelope[s.ConnectionOut],
    **requires(Permission.DOMAINS_WRITE),
)
def get_connection(domain_id: UUID, db: DB) -> Any:
    """The token and the records to set, as they were answered when the name was connected."""
    return ok(_connection(_domain(domain_id, db), db))


@router.get(
    "/{domain_id}/conflicts",
    response_model=Envelope[s.ConflictsOut],
    **requires(Permission.DOMAINS_READ, waits=True),
)
def conflicts(domain_id: UUID, db: DB) -> Any:
    """What of your own records is in the way of ours, asked now, and what to do about each."""
    domain = _domain(domain_id, db)
    found = domain_brought.conflicts(domain, domain_setup.planned(domain), ports.current().resolver)
    return ok({"domain_name": domain.domain_name, "conflicts": [vars(item) for item in found]})


@router.delete(
    "/{domain_id}/connection",
    status_code=204,
    **requires(Permission.DOMAINS_WRITE, audit_event="domain_disconnected"),
)
def disconnect(domain_id: UUID, db: DB) -> Response:
    """Let go of a name you brought; it can be connected again with a new proof."""
    domain_connection.disconnect(_domain(domain_id, db), db)
    return Response(status_code=204)


def _domain(domain_id: UUID, db: Session) -> Domain:
    domain = db.get(Domain, domain_id)
    if domain is None:
        raise errors.NotFound(resource="domain")
    return domain


def _connection(domain: Domain, db: Session) -> dict[str, Any]:
    connection = domain_brought.connection_of(domain, db)
    if connection is None:
        raise errors.NotFound(resource="connection")
    fields = {name: getattr(domain, name) for name in DomainOut.model_fields}
    return {
        "domain": {**fields, "steps": accounts.steps(db, domain.id)},
        "ownership_token": connection.token,
        "required_records": [vars(r) for r in domain_connection.required_records(domain, db)],
    }
