"""Keys by which a tenant's programs use the API."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import clock, errors
from app.database import audit
from app.database.models import APIKey, User, new_id
from app.rules import api_keys
from app.rules.permissions import GRANTABLE, Permission
from app.utils import security


class APIKeyService:
    @staticmethod
    def create(
        creator: User,
        held: frozenset[Permission],
        *,
        name: str,
        scopes: Collection[Permission],
        expires_at: datetime | None,
        live: bool,
        db: Session,
    ) -> tuple[APIKey, str]:
        """A new key and its text, which is not kept and shown this once.

        `held` is what the creator may do: a key may do no more. Raises Forbidden for a scope beyond
        it, Invalid for one that no key is given, or an end that has passed.
        """
        wanted = frozenset(scopes)
        if not wanted <= GRANTABLE:
            raise _refused("scopes", f"No key is given {_names(wanted - GRANTABLE)}.")
        if not wanted <= held:
            raise errors.Forbidden(f"You do not hold {_names(wanted - held)} yourself.")
        if expires_at is not None and expires_at <= clock.now():
            raise _refused("expires_at", "This moment has passed.")
        text = api_keys.assemble(security.new_secret(), live=live)
        key = APIKey(
            id=new_id(),
            tenant_id=creator.tenant_id,
            name=name,
            prefix=api_keys.hint(text),
            token_hash=security.token_hash(text),
            scopes=sorted(wanted),
            created_by=creator.id,
            expires_at=expires_at,
        )
        db.add(key)
        db.flush()  # The moment of its making is part of the answer.
        changes = {
            "name": [None, name],
            "scopes": [None, key.scopes],
            "expires_at": [None, expires_at],
        }
        audit.write(db, key.tenant_id, "api_key_created", "api_key", key.id, changes)
        return key, text

    @staticmethod
    def revoke(key_id: UUID, db: Session) -> None:
        """The key's next request is refused. Raises NotFound, also for one that is revoked."""
        key = db.scalars(
            select(APIKey).where(APIKey.id == key_id, APIKey.revoked_at.is_(None)).with_for_update()
        ).one_or_none()
        if key is None:
            raise errors.NotFound(resource="API key")
        key.revoked_at = clock.now()
        changes = {"revoked_at": [None, key.revoked_at]}
        audit.write(db, key.tenant_id, "api_key_revoked", "api_key", key.id, changes)


def _names(scopes: frozenset[Permission]) -> str:
    return ", ".join(sorted(scopes))


def _refused(field: str, why: str) -> errors.Invalid:
    return errors.Invalid(why, fields=[{"field": field, "message": why}])
