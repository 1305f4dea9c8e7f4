"""The people of a tenant."""

from __future__ import annotations

from typing import Literal, Self
from uuid import UUID

from pydantic import StrictBool, model_validator

from app.api.schemas.auth import Password, Token
from app.api.schemas.base import Email, In, Instant, Name, Out, example
from app.database.models import Role


class InviteIn(In):
    model_config = example({"email": "bo@acme.test", "role": "member"})

    email: Email
    role: Role = Role.MEMBER


class AcceptIn(In):
    model_config = example(
        {
            "token": "kX2v0lqRZrX7n1o5mJ4u9cT8dYwE6bHsPiAaGfN3QyU",
            "full_name": "Bo",
            "password": "correct horse battery",
        }
    )

    token: Token
    """From the mailed link."""
    full_name: Name
    password: Password


class MemberPatch(In):
    model_config = example({"role": "read_only"})

    role: Role | None = None
    full_name: Name | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.role is None and self.full_name is None:
            raise ValueError("send role, full_name or both")
        return self


class MemberOut(Out):
    """A member, or an invitation that nobody accepted yet."""

    id: UUID
    status: Literal["active", "invited", "expired"]
    """`expired` is an invitation whose link is over; invite again for a new one."""
    email: str
    full_name: str | None
    role: Role
    created_at: Instant
    is_verified: bool
    two_factor_enabled: bool
    last_login_at: Instant | None
    invited_by: UUID | None
    expires_at: Instant | None
    """When the invitation's link ends."""


class TenantPatch(In):
    model_config = example({"requires_two_factor": True})

    requires_two_factor: StrictBool


class TenantSettingsOut(Out):
    id: UUID
    requires_two_factor: bool
