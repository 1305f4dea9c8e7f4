"""What is recorded about standing: ramps day by day, complaints, blocklists, and appeals."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.database.tables.base import Base, TenantOwned, Text


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
    feedback_type: Mapped[str] = mapped_column(String(40), default="abuse")
    """As the report says (RFC 5965 section 3.1): abuse, fraud, not-spam …"""
    reporter: Mapped[str | None] = mapped_column(String(253))
    """The domain that proved to be the report's origin (DKIM or SPF); None when none did."""
    verified: Mapped[bool]
    why_not: Mapped[str | None] = mapped_column(String(40))
    """rules.abuse.Doubt: why it does not count."""
    received_at: Mapped[datetime]


class Standing:
    """What one blocklist says of one subject, from `since` until it said otherwise.

    The rows of a subject and a list are its history; the one without an end is the present.
    """

    zone: Mapped[str] = mapped_column(String(253))
    """Of the blocklist."""
    state: Mapped[str] = mapped_column(String(10))
    """rules.blocklists.State: listed or clear, or unknown while it never gave an answer."""
    codes: Mapped[str] = mapped_column(String(200), default="")
    """What the list answered, such as `127.0.1.2`."""
    since: Mapped[datetime]
    looked_at: Mapped[datetime | None]
    """When it last gave an answer that can be believed."""
    tried_at: Mapped[datetime]
    trouble: Mapped[str | None] = mapped_column(String(200))
    """Why the last try gave none: what is known may be old."""
    confirmed_at: Mapped[datetime | None]
    """When a second look bore the listing out."""
    ended_at: Mapped[datetime | None]

    @property
    def last_known(self) -> str | None:
        return None if self.looked_at is None else self.state

    @property
    def present(self) -> str:
        """The state, as far as it can be known now."""
        return "unknown" if self.trouble is not None else self.state


class DomainStanding(Standing, TenantOwned, Base):
    __tablename__ = "domain_standings"
    __table_args__ = (
        Index(
            "uq_domain_standings_domain_id_zone",
            "domain_id",
            "zone",
            unique=True,
            postgresql_where=text("ended_at IS NULL"),
        ),
    )

    domain_id: Mapped[UUID] = mapped_column(ForeignKey("domains.id", ondelete="CASCADE"))


class AddressStanding(Standing, Base):
    """Of an address that the relay sends from; all tenants share them."""

    __tablename__ = "address_standings"
    __table_args__ = (
        Index(
            "uq_address_standings_address_zone",
            "address",
            "zone",
            unique=True,
            postgresql_where=text("ended_at IS NULL"),
        ),
    )

    address: Mapped[str] = mapped_column(String(45))


class AppealState(StrEnum):
    OPEN = "open"
    UPHELD = "upheld"
    """The decision stands."""
    REVERSED = "reversed"


class Appeal(TenantOwned, Base):
    """A tenant's objection to a decision, and the answer; one for each decision."""

    __tablename__ = "appeals"
    __table_args__ = (Index("ix_appeals_state", "state"),)

    decision_id: Mapped[UUID] = mapped_column(
        ForeignKey("decisions.id", ondelete="CASCADE"), unique=True
    )
    message: Mapped[str] = mapped_column(String(4000))
    filed_by: Mapped[UUID | None]
    state: Mapped[AppealState] = mapped_column(Text(AppealState), default=AppealState.OPEN)
    answer: Mapped[str | None] = mapped_column(String(2000))
    """For the tenant to read."""
    answered_by: Mapped[UUID | None]
    """The operator; None: somebody with a shell on the platform."""
    answered_at: Mapped[datetime | None]
