"""The audit trail: who did what to what, written in the transaction of the deed."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from app.database.tables.tenancy import AuditLog


@dataclass(frozen=True)
class Actor:
    """Who acts: `kind` is user, api_key, operator or system."""

    kind: str = "system"
    id: UUID | None = None
    ip: str | None = None
    request_id: str | None = None


SYSTEM = Actor()
_actor: ContextVar[Actor] = ContextVar("actor", default=SYSTEM)


def acting_as(actor: Actor) -> None:
    """Whom the deeds of this request are put down to."""
    _actor.set(actor)


def actor() -> Actor:
    return _actor.get()


def write(
    db: Session,
    tenant_id: UUID,
    action: str,
    resource_type: str,
    resource_id: UUID | None = None,
    changes: dict[str, Any] | None = None,
) -> None:
    """Put one deed down; `changes` is {"field": [before, after]}, never with a secret in it."""
    who = _actor.get()
    db.add(
        AuditLog(
            tenant_id=tenant_id,
            action=action,
            resource_type=resource_type,
            resource_id=resource_id,
            actor_type=who.kind,
            actor_id=who.id,
            changes=changes or {},
            ip=who.ip,
            request_id=who.request_id,
        )
    )
