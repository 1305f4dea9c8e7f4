"""The audit trail."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from app.api.schemas.base import Out
from app.rules import audit_chain

_INSTANT = re.compile(
    r"\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d))?", re.ASCII
)


def _read(text: Any) -> Any:
    if not isinstance(text, str) or not _INSTANT.fullmatch(text):
        raise ValueError("write it as 2026-11-23 or 2026-11-23T04:05:06Z")
    moment = datetime.fromisoformat(text.upper())
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


Moment = Annotated[
    datetime,
    BeforeValidator(_read),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "format": "date-time"},
                {"type": "string", "format": "date"},
            ]
        }
    ),
]
"""An instant in RFC 3339, or a day: its first instant in UTC."""

_Hashed = Annotated[
    datetime,
    PlainSerializer(audit_chain.instant, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
_Hex = Annotated[
    bytes,
    PlainSerializer(bytes.hex, return_type=str),
    WithJsonSchema({"type": "string", "pattern": "^[0-9a-f]{64}$"}),
]


class AuditOut(Out):
    """One deed. `hash` is over `previous_hash` and the other fields, so that it can be checked."""

    tenant_id: UUID
    seq: int
    """1, 2, 3, … within the tenant."""
    id: UUID
    created_at: _Hashed
    action: str
    resource_type: str
    resource_id: UUID | None
    actor_type: str
    """user, api_key, operator or system."""
    actor_id: UUID | None
    changes: dict[str, Any]
    """{"field": [before, after]}; people stand in it as ids."""
    ip: str | None
    request_id: str | None
    previous_hash: _Hex
    hash: _Hex
