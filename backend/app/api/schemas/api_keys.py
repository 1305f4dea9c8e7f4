"""Keys of programs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, Field, StringConstraints

from app.api.schemas.base import In, Instant, Out, example
from app.rules.permissions import Permission


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("this moment is beyond the calendar") from None


class KeyIn(In):
    model_config = example({"name": "Reporting", "scopes": ["domains:read", "analytics:read"]})

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
    scopes: Annotated[list[Permission], Field(min_length=1, max_length=len(Permission))]
    """What the key may do: docs/permissions.md. No more than you may yourself."""
    expires_at: Annotated[AwareDatetime, AfterValidator(_in_utc)] | None = None
    """RFC 3339 with an offset; null for a key without an end."""


class MakerOut(Out):
    id: UUID | None
    full_name: str | None
    email: str | None
    removed: bool
    """No longer of the team."""


class KeyOut(Out):
    id: UUID
    name: str
    hint: str
    """Beginning and end of the key, to tell it from others."""
    scopes: list[str]
    created_at: Instant
    created_by: MakerOut
    expires_at: Instant | None
    last_used_at: Instant | None
    """To the minute."""


class CreatedKeyOut(KeyOut):
    key: str
    """Shown this once."""
