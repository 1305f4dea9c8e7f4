"""Accounts, sessions."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from app.api.schemas.base import Email, In, Instant, Name, Out, example
from app.rules.passwords import LONGEST, SHORTEST

Password = Annotated[str, Field(min_length=SHORTEST, max_length=LONGEST)]
GivenPassword = Annotated[str, Field(max_length=LONGEST)]
"""One that is only compared."""

Code = Annotated[str, Field(min_length=1, max_length=40)]
Token = Annotated[str, Field(min_length=1, max_length=200)]
_TOKEN = "kX2v0lqRZrX7n1o5mJ4u9cT8dYwE6bHsPiAaGfN3QyU"  # noqa: S105  # An example, of nobody.


class RegisterIn(In):
    model_config = example(
        {
            "company_name": "Acme",
            "email": "ann@acme.test",
            "password": "correct horse battery",
            "full_name": "Ann",
        }
    )

    company_name: Name
    email: Email
    password: Password
    full_name: Name | None = None


class LoginIn(In):
    model_config = example({"email": "ann@acme.test", "password": "correct horse battery"})

    email: Annotated[str, Field(max_length=320)]
    password: GivenPassword
    totp_code: Code | None = None
    """Of the second factor, for those who have one; or a recovery code."""


class ReauthenticateIn(In):
    model_config = example({"password": "correct horse battery"})

    password: GivenPassword
    totp_code: Code | None = None


class ForgotIn(In):
    model_config = example({"email": "ann@acme.test"})

    email: Email


class ResetIn(In):
    model_config = example({"token": _TOKEN, "new_password": "another horse battery"})

    token: Token
    new_password: Password


class ChangePasswordIn(In):
    model_config = example(
        {"current_password": "correct horse battery", "new_password": "another horse battery"}
    )

    current_password: GivenPassword
    new_password: Password


class RefreshIn(In):
    model_config = example({"refresh_token": _TOKEN})

    refresh_token: Token


class LogoutIn(In):
    model_config = example({"refresh_token": _TOKEN})

    refresh_token: Token | None = None


class VerifyEmailIn(In):
    model_config = example({"token": _TOKEN})

    token: Token


class ResendIn(In):
    model_config = example({"email": "ann@acme.test"})

    email: Email


class TenantOut(Out):
    id: UUID
    company_name: str
    company_email: str
    subscription_tier: str
    subscription_status: str
    trial_started_at: Instant
    trial_ends_at: Instant
    trial_inbox_limit: int
    trial_domain_limit: int
    trial_converted: bool
    trial_refused_for: str | None
    """Why there is no trial: what another tenant had one with before."""
    is_suspended: bool
    suspension_reason: str | None
    domains_count: int
    inboxes_count: int
    created_at: Instant


class UserOut(Out):
    id: UUID
    email: str
    full_name: str | None
    role: str
    is_admin: bool
    is_verified: bool
    two_factor_enabled: bool
    created_at: Instant
    last_login_at: Instant | None


class TokensOut(Out):
    access_token: str
    refresh_token: str
    expires_in: int
    """Seconds."""
    token_type: Literal["bearer"] = "bearer"  # noqa: S105  # A kind, not a token.


class AccessOut(Out):
    access_token: str
    expires_in: int
    """Seconds."""
    token_type: Literal["bearer"] = "bearer"  # noqa: S105  # A kind, not a token.


class IntentOut(Out):
    id: str
    client_secret: str | None
    status: str
    publishable_key: str
    """What Stripe.js is started with."""


class RegisterOut(TokensOut):
    tenant: TenantOut
    user: UserOut
    setup_intent: IntentOut


class LoginOut(TokensOut):
    user: UserOut


class LimitsOut(Out):
    inboxes: int
    domains: int
    daily_sends: int
    inbox_daily_cap: int
    api_per_minute: int
    api_per_hour: int


class UsageOut(Out):
    inboxes: int
    domains: int


class PlanOut(Out):
    name: str
    title: str
    price_cents: int
    currency: str
    interval: Literal["month"] = "month"
    limits: LimitsOut


class SuspensionOut(Out):
    reason: str
    since: Instant | None
    what_to_do: str
    note: str | None
    """What the operator wrote."""


class MeOut(Out):
    user: UserOut | None
    """null when an API key asks."""
    permissions: list[str]
    """What the caller may do, by role or by the key's scopes."""
    tenant: TenantOut
    suspension: SuspensionOut | None
    """null while the company is not suspended."""
    plan: PlanOut
    limits: LimitsOut
    usage: UsageOut
    trial_days_remaining: int


class SessionOut(Out):
    id: UUID
    created_at: Instant
    last_used_at: Instant
    expires_at: Instant
    ip: str | None
    user_agent: str | None
    current: bool


class DoneOut(Out):
    done: bool
