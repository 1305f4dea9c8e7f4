"""A tenant's webhook endpoints and what was told there."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, StringConstraints, model_validator

from app.api.schemas.base import In, Instant, Out, example
from app.rules.webhooks import EventType

Url = Annotated[str, StringConstraints(strip_whitespace=True, min_length=8, max_length=2000)]
Types = Annotated[list[EventType], Field(max_length=len(EventType))]
Description = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)]


class EndpointIn(In):
    model_config = example(
        {"url": "https://hooks.example.com/inboxgrove", "event_types": ["domain.active"]}
    )

    url: Url
    event_types: Types = Field(default_factory=list)
    """Empty for all, also those to come."""
    description: Description = ""


class EndpointPatch(In):
    model_config = example({"status": "paused"})

    url: Url | None = None
    event_types: Types | None = None
    description: Description | None = None
    status: Literal["active", "paused"] | None = None
    """`active` also wakes an endpoint that was disabled."""

    @model_validator(mode="after")
    def _something(self) -> EndpointPatch:
        if not self.model_fields_set or None in (
            getattr(self, name) for name in self.model_fields_set
        ):
            raise ValueError("give at least one field, and none as null")
        return self


class ReplayIn(In):
    model_config = example({})

    sequences: Annotated[
        list[Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)]], Field(max_length=1000)
    ] = Field(default_factory=list)
    """Numbers of messages, those of a gap for example; empty for all that were given up."""


class EndpointOut(Out):
    id: UUID
    url: str
    description: str
    event_types: list[str]
    status: str
    """active, paused or disabled."""
    disabled_reason: str | None
    failing_since: Instant | None
    """The first failure after the last success."""
    last_sequence: int
    """Number of the newest message for this endpoint."""
    previous_until: Instant | None
    """Until when the secret before the last change signs as well."""
    created_at: Instant


class NewSecretOut(EndpointOut):
    secret: str
    """Shown this once."""


class AttemptOut(Out):
    at: Instant
    status_code: int | None
    """Null when no answer came."""
    answer: str | None
    """The beginning of the body, or why there was none."""
    duration_ms: int


class DeliveryOut(Out):
    id: UUID
    """The `webhook-id` header."""
    sequence: int
    event_type: str
    occurred_at: Instant
    data: dict[str, Any]
    state: str
    """waiting, delivered or given_up."""
    next_try_at: Instant | None
    delivered_at: Instant | None
    tries: list[AttemptOut]
    """The oldest first."""


class QueuedOut(Out):
    queued: int
