"""What operators send and see."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, FiniteFloat

from app.api.schemas.audit import AuditOut
from app.api.schemas.auth import TenantOut, UserOut
from app.api.schemas.base import In, Instant, Out, example

_LARGEST = 2**53 - 1
"""Beyond it a reader of JSON may round (RFC 8259, section 6)."""

Fact = (
    Annotated[str, Field(max_length=500)]
    | bool
    | Annotated[int, Field(ge=-_LARGEST, le=_LARGEST)]
    | FiniteFloat
    | None
)
Note = Annotated[str, Field(max_length=2000)]


class SessionIn(In):
    model_config = example(
        {"token": "ig_op_kX2v0lqRZrX7n1o5mJ4u9cT8dYwE6bHsPiAaGfN3QyU", "totp_code": "287082"}
    )

    token: Annotated[str, Field(min_length=1, max_length=200)]
    """`ig_op_…`, as the command line printed it."""
    totp_code: Annotated[str, Field(min_length=1, max_length=20)]


class OperatorSessionOut(Out):
    access_token: str
    expires_in: int
    """Seconds. What cannot be undone wants a session of the last 15 minutes."""
    token_type: Literal["bearer"] = "bearer"  # noqa: S105  # A kind, not a token.


class SuspendIn(In):
    model_config = example(
        {
            "reason": "spam_complaint",
            "note": "Complaints rose above 0.3 %.",
            "evidence": {"complaints": 14, "sent": 4100},
        }
    )

    reason: Annotated[str, Field(max_length=40)]
    note: Note | None = None
    """For the tenant to read."""
    evidence: (
        Annotated[
            dict[Annotated[str, Field(min_length=1, max_length=60)], Fact], Field(max_length=20)
        ]
        | None
    ) = None
    """Figures and ids that the decision rests on; for operators only."""


class ReinstateIn(In):
    model_config = example({"note": "The list was cleaned."})

    note: Note | None = None


class TenantAdminOut(TenantOut):
    stripe_customer_id: str | None
    stripe_subscription_id: str | None
    suspended_at: Instant | None
    requires_two_factor: bool
    company_domain: str | None
    trial_refused_for: str | None


class PersonOut(UserOut):
    is_active: bool


class TenantCountsOut(Out):
    users: int
    domains: dict[str, int]
    """By status."""
    inboxes: dict[str, int]
    jobs: dict[str, int]
    """By state."""


class DecisionOut(Out):
    id: UUID
    tenant_id: UUID
    action: str
    reason: str
    evidence: dict[str, Any]
    rule_version: str
    note: str | None
    inbox_id: UUID | None
    """null: it is about the tenant."""
    actor_type: str
    """operator, or system for what follows from a rule."""
    actor_id: UUID | None
    created_at: Instant


class TenantDetailOut(Out):
    tenant: TenantAdminOut
    users: list[PersonOut]
    counts: TenantCountsOut
    decisions: list[DecisionOut]
    """The latest."""
    audit: list[AuditOut]
    """The latest of the tenant's own trail."""


class ActOut(Out):
    id: UUID
    operator_id: UUID | None
    """null: somebody with a shell on the platform."""
    action: str
    resource_type: str
    resource_id: UUID | None
    changes: dict[str, Any]
    ip: str | None
    request_id: str | None
    created_at: Instant


class JobOut(Out):
    id: UUID
    task: str
    tenant_id: UUID | None
    payload: dict[str, str]
    state: str
    attempts: int
    deliveries: int
    next_try_at: Instant
    last_error: str | None
    created_at: Instant
    finished_at: Instant | None


class ReplayOut(Out):
    replayed: int
