"""Keys by which a tenant's programs use the API."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request

from app.api.cursors import Cursor, Limit, seal, unseal
from app.api.deps import DB, Person, Who, requires
from app.api.idempotency import IdempotentRoute
from app.api.responses import Envelope, Page, ok, page
from app.api.schemas import api_keys as s
from app.api.schemas.auth import DoneOut
from app.database.queries import team as queries
from app.rules.permissions import Permission
from app.services.api_key_service import APIKeyService

router = APIRouter(prefix="/auth/api-keys", tags=["auth"], route_class=IdempotentRoute)


@router.get("", response_model=Page[s.KeyOut], **requires(Permission.KEYS_READ))
def list_api_keys(db: DB, limit: Limit = 50, cursor: Cursor = None) -> Any:
    """Those that are not revoked, the newest first."""
    rows, last = queries.keys(db, after=unseal("api-keys", cursor), limit=limit)
    return page([_out(row) for row in rows], seal("api-keys", last))


@router.post(
    "",
    status_code=201,
    response_model=Envelope[s.CreatedKeyOut],
    **requires(
        Permission.KEYS_WRITE,
        person=True,
        recent=True,
        audit_event="api_key_created",
        idempotent=True,
    ),
)
def create_api_key(body: s.KeyIn, request: Request, principal: Who, person: Person, db: DB) -> Any:
    """A new key, shown this once. It may do what its scopes say, and no more than you may."""
    key, text = APIKeyService.create(
        person.user,
        principal.permissions,
        name=body.name,
        scopes=body.scopes,
        expires_at=body.expires_at,
        live=request.app.state.live_keys,
        db=db,
    )
    return ok({**_out(queries.ListedKey(key, queries.maker(person.user))), "key": text})


@router.delete(
    "/{key_id}",
    response_model=Envelope[DoneOut],
    **requires(Permission.KEYS_WRITE, audit_event="api_key_revoked"),
)
def revoke_api_key(key_id: UUID, db: DB) -> Any:
    """Revoke a key: its next request is refused."""
    APIKeyService.revoke(key_id, db)
    return ok({"done": True})


def _out(row: queries.ListedKey) -> dict[str, Any]:
    same = ("id", "name", "scopes", "created_at", "expires_at", "last_used_at")
    return {
        **{name: getattr(row.key, name) for name in same},
        "hint": row.key.prefix,
        "created_by": row.created_by,
    }
