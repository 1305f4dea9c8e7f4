"""Where a tenant wants to be told of what happens, and what was told there."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app import clock
from app.database.tables.base import Base, TenantOwned, Text, Updated


class EndpointStatus(StrEnum):
    ACTIVE = "active"
    PAUSED = "paused"
    """By its owner; what happens meanwhile is kept and told later."""
    DISABLED = "disabled"
    """By us: it answered 410, or nothing good for days. Nothing new is kept for it."""


class WebhookEndpoint(TenantOwned, Updated, Base):
    """An HTTPS address of a tenant's."""

    __tablename__ = "webhook_endpoints"

    url: Mapped[str] = mapped_column(String(2000))
    description: Mapped[str] = mapped_column(String(200), default="")
    event_types: Mapped[list[Any]]
    """Of rules.webhooks.EventType; empty for all, also those to come."""
    status: Mapped[EndpointStatus] = mapped_column(
        Text(EndpointStatus), default=EndpointStatus.ACTIVE
    )
    disabled_reason: Mapped[str | None] = mapped_column(String(200))
    secret: Mapped[bytes]
    """Encrypted; the context is services.webhook_service.secret_context."""
    previous_secret: Mapped[bytes | None]
    """Signs as well until `previous_until`, so that the owner can change over at leisure."""
    previous_until: Mapped[datetime | None]
    last_sequence: Mapped[int] = mapped_column(default=0)
    is_busy: Mapped[bool] = mapped_column(default=False)
    """Whether a job is at work on what waits here; there is never more than one."""
    tells_since: Mapped[datetime] = mapped_column(default=clock.now)
    """What was before is not told: it began then, or was woken up again."""
    failing_since: Mapped[datetime | None]
    """The first failure after the last success."""


class DeliveryState(StrEnum):
    WAITING = "waiting"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


class WebhookDelivery(TenantOwned, Updated, Base):
    """One event for one endpoint."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        UniqueConstraint("endpoint_id", "outbox_id"),
        UniqueConstraint("endpoint_id", "sequence"),
        Index(
            "ix_webhook_deliveries_waiting",
            "endpoint_id",
            "sequence",
            postgresql_where=text("state = 'waiting'"),
        ),
        Index("ix_webhook_deliveries_created_at", "created_at"),
    )

    endpoint_id: Mapped[UUID] = mapped_column(
        ForeignKey("webhook_endpoints.id", ondelete="CASCADE")
    )
    outbox_id: Mapped[UUID | None]
    """The fact of ours that it tells, so that none is told twice; None for a test."""
    sequence: Mapped[int]
    """1, 2, 3 … at each endpoint: a missing number is a message that never arrived."""
    event_type: Mapped[str] = mapped_column(String(60))
    occurred_at: Mapped[datetime]
    data: Mapped[dict[str, Any]]
    """As it was when it was first to be told."""
    state: Mapped[DeliveryState] = mapped_column(Text(DeliveryState), default=DeliveryState.WAITING)
    attempts: Mapped[int] = mapped_column(default=0)
    """Since it began to wait; a replay starts at 0."""
    next_try_at: Mapped[datetime]
    delivered_at: Mapped[datetime | None]


class WebhookAttempt(TenantOwned, Base):
    """One try, with what came back."""

    __tablename__ = "webhook_attempts"

    delivery_id: Mapped[UUID] = mapped_column(
        ForeignKey("webhook_deliveries.id", ondelete="CASCADE"), index=True
    )
    status_code: Mapped[int | None]
    """None when no answer came."""
    answer: Mapped[str | None] = mapped_column(String(1000))
    """The beginning of the body, or why there was none."""
    duration_ms: Mapped[int]
