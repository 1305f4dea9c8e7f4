"""Inboxes, and the calls that made them."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ForeignKey, Index, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app import clock
from app.database.tables.base import Base, TenantOwned, Text, Updated


class InboxStatus(StrEnum):
    PENDING = "pending"
    ACTIVE = "active"
    PAUSED = "paused"
    DELETED = "deleted"


class Provision(TenantOwned, Base):
    """One press of the Magic Button."""

    __tablename__ = "provisions"

    domain_id: Mapped[UUID] = mapped_column(ForeignKey("domains.id"))
    inbox_count: Mapped[int]
    naming_convention: Mapped[str] = mapped_column(String(30))
    published_at: Mapped[datetime | None]
    """When the relay acknowledged the inboxes; until then they are pending."""


class Inbox(TenantOwned, Updated, Base):
    __tablename__ = "inboxes"
    __table_args__ = (
        UniqueConstraint("domain_id", "local_part"),
        Index("ix_inboxes_tenant_id_id", "tenant_id", "id"),
        Index("ix_inboxes_provision_id", "provision_id"),
        Index("uq_inboxes_username", "username", unique=True),
    )

    domain_id: Mapped[UUID] = mapped_column(ForeignKey("domains.id"), index=True)
    provision_id: Mapped[UUID | None] = mapped_column(ForeignKey("provisions.id"))
    local_part: Mapped[str] = mapped_column(String(64))
    username: Mapped[str] = mapped_column(String(320))
    """What SMTP AUTH wants: the full address."""
    full_email: Mapped[str] = mapped_column(String(320))
    first_name: Mapped[str | None] = mapped_column(String(60))
    last_name: Mapped[str | None] = mapped_column(String(60))
    password: Mapped[bytes] = mapped_column(LargeBinary)
    """Encrypted, for exports; never in clear."""
    password_hmac: Mapped[str] = mapped_column(String(64))
    """Hex HMAC-SHA256 under the relay's pepper: all that the mail plane ever gets."""
    status: Mapped[InboxStatus] = mapped_column(Text(InboxStatus), default=InboxStatus.PENDING)
    health_score: Mapped[int] = mapped_column(default=100)
    warmup_stage: Mapped[int] = mapped_column(default=0)
    warmup_started_on: Mapped[date | None]
    warmup_paused_at: Mapped[datetime | None]
    """Since when the owner keeps the limit from rising."""
    emails_sent_today: Mapped[int] = mapped_column(default=0)
    emails_sent_this_month: Mapped[int] = mapped_column(default=0)
    sent_on: Mapped[date | None]
    """The day that `emails_sent_today` speaks of, and whose month the other does (UTC)."""
    daily_limit: Mapped[int]
    monthly_limit: Mapped[int]

    @property
    def sent_today(self) -> int:
        """Messages accepted today (UTC). The counter itself begins anew with a day's first one."""
        return self.emails_sent_today if self.sent_on == clock.now().date() else 0

    @property
    def sent_this_month(self) -> int:
        """The same in this calendar month."""
        first = clock.now().date().replace(day=1)
        return self.emails_sent_this_month if self.sent_on and self.sent_on >= first else 0
