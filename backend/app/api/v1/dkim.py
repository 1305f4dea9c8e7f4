"""Signing keys of a domain: which one signs, and replacing it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter
from sqlalchemy import select

from app import errors
from app.api.deps import DB, requires
from app.api.idempotency import IdempotentRoute
from app.api.responses import Envelope, ok
from app.api.schemas import dkim as s
from app.database.models import DKIMRotation, Domain
from app.rules.permissions import Permission
from app.services import dkim_rotation

router = APIRouter(prefix="/domains", tags=["domains"], route_class=IdempotentRoute)

_LATEST = 20


@router.post(
    "/{domain_id}/rotate-dkim",
    status_code=202,
    response_model=Envelope[s.RotationOut],
    **requires(Permission.DOMAINS_WRITE, audit_event="dkim_rotation_requested", idempotent=True),
)
def rotate_dkim(domain_id: UUID, db: DB) -> Any:
    """Replace the signing key: publish a new one, sign with it once it is seen, end the old one.

    Mail flows all the while, and none of it fails. It takes about ten days, most of which the old
    key is kept for what is under way.
    """
    return ok(dkim_rotation.request(domain_id, db))


@router.get(
    "/{domain_id}/dkim",
    response_model=Envelope[s.KeysOut],
    **requires(Permission.DOMAINS_READ),
)
def show_dkim(domain_id: UUID, db: DB) -> Any:
    """The selector in use, and the rotations: where each stands and what it waits for."""
    domain = db.get(Domain, domain_id)
    if domain is None:
        raise errors.NotFound(resource="domain")
    rotations = db.scalars(
        select(DKIMRotation)
        .where(DKIMRotation.domain_id == domain_id)
        .order_by(DKIMRotation.id.desc())
        .limit(_LATEST)
    ).all()
    return ok(
        {
            "domain_name": domain.domain_name,
            "selector": domain.dkim_selector,
            "rotations": rotations,
        }
    )
