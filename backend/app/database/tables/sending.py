"""What happened to the mail."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, LargeBinary, PrimaryKeyConstraint, String
from sqlalchemy.orm import Mapped, mapped_column

from app.database.tables.base import Base, TenantOwned


class DeliveryEvent(TenantOwned, Base):
    """One log record of a relay node about one message, once."""

    __tablename__ = "delivery_events"
    __table_args__ = (
        Index("ix_delivery_events_inbox_id_occurred_at", "inbox_id", "occurred_at"),
        Index("ix_delivery_events_tenant_id_occurred_at", "tenant_id", "occurred_at"),
    )

    natural_key: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    """SHA-256 over node, type, message id, event time, recipient and session: the same from the
    log hook and from a replayed log file."""
    inbox_id: Mapped[UUID | None]
    domain_id: Mapped[UUID | None]
    event_type: Mapped[str] = mapped_column(String(30))
    occurred_at: Mapped[datetime]
    message_id: Mapped[str] = mapped_column(String(64))
    recipient: Mapped[str] = mapped_column(String(320))
    recipient_domain: Mapped[str] = mapped_column(String(253))
    response_code: Mapped[int | None]
    response: Mapped[str | None] = mapped_column(String(1000))
    bounce_classification: Mapped[str | None] = mapped_column(String(40))
    record: Mapped[dict[str, Any]]


class InboxDay(TenantOwned, Base):
    """Counts of one inbox on one day (UTC), kept in step with delivery_events."""

    __tablename__ = "inbox_days"
    __table_args__ = (
        PrimaryKeyConstraint("id"),
        Index("uq_inbox_days_inbox_id_day", "inbox_id", "day", unique=True),
        Index("ix_inbox_days_tenant_id_day", "tenant_id", "day"),
    )

    inbox_id: Mapped[UUID]
    domain_id: Mapped[UUID]
    day: Mapped[date]
    accepted: Mapped[int] = mapped_column(default=0)
    delivered: Mapped[int] = mapped_column(default=0)
    deferred: Mapped[int] = mapped_column(default=0)
    bounced: Mapped[int] = mapped_column(default=0)
    rejected: Mapped[int] = mapped_column(default=0)
    complained: Mapped[int] = mapped_column(default=0)


class Suppression(TenantOwned, Base):
    """An address or @domain that this tenant must not mail."""

    __tablename__ = "suppressions"
    __table_args__ = (
        Index("uq_suppressions_tenant_id_target", "tenant_id", "target", unique=True),
    )

    target: Mapped[str] = mapped_column(String(320))
    reason: Mapped[str] = mapped_column(String(40))
