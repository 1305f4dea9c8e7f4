"""Inboxes, credential files, suppressions."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, model_validator

from app.api.schemas.base import In, Instant, Out, example
from app.services.provisioning_service import MAX_AT_ONCE

Address = Annotated[str, Field(min_length=3, max_length=320)]


class ProvisionIn(In):
    model_config = example(
        {
            "domain_id": "019a2b3c-4d5e-7f60-8a1b-2c3d4e5f6071",
            "inbox_count": 5,
            "naming_convention": "firstname.lastname",
        }
    )

    domain_id: UUID | None = None
    domain_ids: Annotated[list[UUID], Field(min_length=1, max_length=500)] | None = None
    inbox_count: Annotated[int, Field(strict=True, ge=1, le=MAX_AT_ONCE)] = 50
    naming_convention: Annotated[str, Field(max_length=30)] = "firstname"
    names: (
        Annotated[
            list[Annotated[str, Field(min_length=1, max_length=64)]],
            Field(min_length=1, max_length=MAX_AT_ONCE),
        ]
        | None
    ) = None

    @model_validator(mode="after")
    def _one(self) -> ProvisionIn:
        if (self.domain_id is None) == (self.domain_ids is None):
            raise ValueError("give either domain_id or domain_ids")
        return self

    @property
    def domains(self) -> list[UUID]:
        return self.domain_ids or ([] if self.domain_id is None else [self.domain_id])


class InboxPatch(In):
    model_config = example({"status": "paused"})

    status: Literal["active", "paused"]


class InboxMove(In):
    model_config = example({"domain_id": "019a2b3c-4d5e-7f60-8a1b-2c3d4e5f6071"})

    domain_id: UUID
    """The domain of the new address."""


class ExportIn(In):
    model_config = example({"format": "instantly"})

    format: Literal["generic", "instantly", "smartlead", "salesforge"] = "generic"
    domain_id: UUID | None = None
    inbox_ids: Annotated[list[UUID], Field(min_length=1, max_length=10_000)] | None = None


class SuppressionsIn(In):
    model_config = example({"targets": ["no@example.com", "@example.org"], "reason": "manual"})

    targets: Annotated[list[Address], Field(min_length=1, max_length=1_000)]
    """Addresses, or domains written as `@example.com`."""
    reason: Annotated[str, Field(min_length=1, max_length=40)] = "manual"


class NewInboxOut(Out):
    id: UUID
    full_email: str
    status: str


class ProvisionOut(Out):
    provision_id: UUID
    inboxes_created: int
    domain: str
    inboxes: list[NewInboxOut]
    csv_data: str
    duration_ms: int


class InboxOut(Out):
    id: UUID
    domain_id: UUID
    provision_id: UUID | None
    username: str
    full_email: str
    first_name: str | None
    last_name: str | None
    status: str
    health_score: int
    warmup_stage: int
    emails_sent_today: Annotated[int, Field(validation_alias="sent_today")]
    """Accepted since midnight UTC."""
    emails_sent_this_month: Annotated[int, Field(validation_alias="sent_this_month")]
    daily_limit: int
    monthly_limit: int
    created_at: Instant


class PasswordOut(Out):
    id: UUID
    username: str
    password: str
    """Shown once."""


class MovedOut(PasswordOut):
    status: str
    """Pending until the relay knows the new address."""
    domain_id: UUID
    moved_from: UUID


class SuppressionOut(Out):
    id: UUID
    target: str
    reason: str
    created_at: Instant


class AddedOut(Out):
    added: int
    """How many were new."""
