"""What operators see."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field

from app.api.schemas.auth import TenantOut
from app.api.schemas.base import In, Instant, Out


class SuspendIn(In):
    reason: Annotated[str, Field(max_length=40)]


class TenantAdminOut(TenantOut):
    stripe_customer_id: str | None
    stripe_subscription_id: str | None
    suspended_at: Instant | None


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


class NodeOut(Out):
    url: str
    reachable: bool
    suspensions: int | None
    """Held by the node now; null when it does not answer."""
    detail: str | None
