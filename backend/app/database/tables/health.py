"""What is recorded about the standing of inboxes: their ramp day by day, and complaints."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.database.tables.base import Base, TenantOwned


class WarmupDay(TenantOwned, Base):
    """Why an inbox had the limit that it had on one day (UTC)."""

    __tablename__ = "warmup_days"
    __table_args__ = (UniqueConstraint("inbox_id", "day"), Index("ix_warmup_days_day", "day"))

    inbox_id: Mapped[UUID]
    day: Mapped[date]
    """The day on which the limit held; the inputs are of the day before."""
    inputs: Mapped[dict[str, Any]]
    """rules.warmup.Inputs: all that the rule looked at."""
    rule: Mapped[str] = mapped_column(String(30))
    rule_version: Mapped[str] = mapped_column(String(20))
    stage: Mapped[int]
    daily_limit: Mapped[int]


class Complaint(TenantOwned, Base):
    """A feedback report (RFC 5965) that carried a token of ours, once per message and recipient."""

    __tablename__ = "complaints"
    __table_args__ = (
        UniqueConstraint("trace", "recipient"),
        Index("ix_complaints_tenant_id_received_at", "tenant_id", "received_at"),
        Index("ix_complaints_inbox_id_received_at", "inbox_id", "received_at"),
    )

    inbox_id: Mapped[UUID]
    domain_id: Mapped[UUID]
    trace: Mapped[str] = mapped_column(String(64))
    recipient: Mapped[str] = mapped_column(String(320))
    """Whom we sent the message to; empty when we know of no such message."""
    reporter: Mapped[str | None] = mapped_column(String(253))
    """The domain that proved to be the report's origin (DKIM or SPF); None when none did."""
    verified: Mapped[bool]
    why_not: Mapped[str | None] = mapped_column(String(40))
    """rules.abuse.Doubt: why it does not count."""
    received_at: Mapped[datetime]
