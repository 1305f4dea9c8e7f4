"""What happened to the mail."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ForeignKey,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.database.tables.base import Base, TenantOwned, new_id


class DeliveryEvent(TenantOwned, Base):
    """One log record of a relay node about one message, once.

    Partitioned by day (UTC) of `occurred_at`; the days' tables are in the schema `delivery_days`,
    where the product has no rights of its own and reaches rows through this table and its policy
    only. There is no foreign key to tenants: with one, dropping a day would lock that table.
    """

    __tablename__ = "delivery_events"
    __table_args__ = (
        # Time first: rows come nearly in order, so that the index grows at its end.
        PrimaryKeyConstraint("occurred_at", "natural_key"),
        Index("ix_delivery_events_inbox_id_occurred_at", "inbox_id", "occurred_at"),
        Index("ix_delivery_events_tenant_id_occurred_at", "tenant_id", "occurred_at"),
        Index(
            "ix_delivery_events_trace", "trace", postgresql_where=text("event_type = 'Reception'")
        ),
        {"postgresql_partition_by": "RANGE (occurred_at)"},
    )

    id: Mapped[UUID] = mapped_column(default=new_id)
    tenant_id: Mapped[UUID] = mapped_column()
    natural_key: Mapped[bytes] = mapped_column(LargeBinary(32))
    """SHA-256 over what names an event (rules.records.natural_key), its time among it: the same
    from the log hook and from a replayed log file. One key has one `occurred_at`."""
    inbox_id: Mapped[UUID | None]
    domain_id: Mapped[UUID | None]
    event_type: Mapped[str] = mapped_column(String(30))
    occurred_at: Mapped[datetime]
    message_id: Mapped[str] = mapped_column(String(64))
    trace: Mapped[str | None] = mapped_column(Text())
    """The token of rules.traces that the mail carried, or that a report about it brought back."""
    recipient: Mapped[str] = mapped_column(String(320))
    recipient_domain: Mapped[str] = mapped_column(String(253))
    response_code: Mapped[int | None]
    response: Mapped[str | None] = mapped_column(String(1000))
    bounce_classification: Mapped[str | None] = mapped_column(String(40))
    record: Mapped[dict[str, Any]]


class Counted(TenantOwned):
    """What is counted of mail; kept in step with delivery_events, and kept when those are dropped.

    `bounced` is all that failed for good. What a receiver refused is also counted in one of the
    four after `complained`, by rules.bounces; what an operator removed from a queue in none.
    """

    # Without the index of its own: each table has one that begins with it.
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"))
    accepted: Mapped[int] = mapped_column(default=0)
    delivered: Mapped[int] = mapped_column(default=0)
    deferred: Mapped[int] = mapped_column(default=0)
    bounced: Mapped[int] = mapped_column(default=0)
    rejected: Mapped[int] = mapped_column(default=0)
    complained: Mapped[int] = mapped_column(default=0)
    soft_bounced: Mapped[int] = mapped_column(default=0)
    hard_bounced: Mapped[int] = mapped_column(default=0)
    unknown_users: Mapped[int] = mapped_column(default=0)
    blocked: Mapped[int] = mapped_column(default=0)


class InboxDay(Counted, Base):
    """Counts of one inbox on one day (UTC)."""

    __tablename__ = "inbox_days"
    __table_args__ = (
        Index("uq_inbox_days_inbox_id_day", "inbox_id", "day", unique=True),
        Index("ix_inbox_days_tenant_id_day", "tenant_id", "day"),
    )

    inbox_id: Mapped[UUID]
    domain_id: Mapped[UUID]
    day: Mapped[date]


class InboxWeek(Counted, Base):
    """Counts of one inbox in one week, of which all inboxes of its tenant are here or none.

    Sums of inbox_days (queries.inbox_weeks), which remain what counts.
    """

    __tablename__ = "inbox_weeks"
    __table_args__ = (UniqueConstraint("tenant_id", "week", "inbox_id"),)

    inbox_id: Mapped[UUID]
    week: Mapped[date]
    """Its Monday (UTC)."""


class DomainDay(Counted, Base):
    """Counts of one sending domain on one day (UTC)."""

    __tablename__ = "domain_days"
    __table_args__ = (
        UniqueConstraint("domain_id", "day"),
        Index("ix_domain_days_tenant_id_day", "tenant_id", "day"),
    )

    domain_id: Mapped[UUID]
    day: Mapped[date]


class ProviderDay(Counted, Base):
    """Counts of one sending domain towards one family of receivers on one day (UTC)."""

    __tablename__ = "provider_days"
    __table_args__ = (
        UniqueConstraint("domain_id", "day", "provider"),
        Index("ix_provider_days_tenant_id_day", "tenant_id", "day"),
    )

    domain_id: Mapped[UUID]
    day: Mapped[date]
    provider: Mapped[str] = mapped_column(String(20))
    """Of rules.providers."""


class TenantDay(Counted, Base):
    """Counts of one tenant on one day (UTC)."""

    __tablename__ = "tenant_days"
    __table_args__ = (UniqueConstraint("tenant_id", "day"),)

    day: Mapped[date]


class Suppression(TenantOwned, Base):
    """An address or @domain that this tenant must not mail."""

    __tablename__ = "suppressions"
    __table_args__ = (
        Index("uq_suppressions_tenant_id_target", "tenant_id", "target", unique=True),
    )

    target: Mapped[str] = mapped_column(String(320))
    reason: Mapped[str] = mapped_column(String(40))
