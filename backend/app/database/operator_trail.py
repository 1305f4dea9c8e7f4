"""What operators did to the platform, written in the transaction of the deed."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from app.database import audit
from app.database.tables.tenancy import OperatorAct


def write(
    db: Session,
    action: str,
    resource_type: str,
    resource_id: UUID | None = None,
    changes: dict[str, Any] | None = None,
) -> None:
    """Put one act down to whoever acts now; an act from a shell is nobody's by name.

    `changes` is {"field": [before, after]}, never with a secret in it.
    """
    who = audit.actor()
    db.add(
        OperatorAct(
            operator_id=who.id if who.kind == "operator" else None,
            action=action,
            resource_type=resource_type,
            resource_id=resource_id,
            changes=changes or {},
            ip=who.ip,
            request_id=who.request_id,
        )
    )
