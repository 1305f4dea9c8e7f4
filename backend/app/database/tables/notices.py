"""Mail that is owed to people: once for each fact, to customers and to operators."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.database.tables.base import Base, TenantOwned, Text


class NoticeKind(StrEnum):
    RECEIPT = "receipt"
    PURCHASE_RECEIPT = "purchase_receipt"
    PAYMENT_FAILED = "payment_failed"
    ACTION_REQUIRED = "action_required"
    TRIAL_ENDING = "trial_ending"
    TRIAL_EXPIRED = "trial_expired"
    RENEWAL = "renewal"
    REFUNDED = "refunded"
    SUSPENDED = "suspended"
    WARNED = "warned"
    """Also of an inbox that was paused."""
    CANCELED = "canceled"
    DOMAIN_EXPIRING = "domain_expiring"
    DOMAIN_EXPIRED = "domain_expired"
    DOMAIN_DNS_DIFFERS = "domain_dns_differs"
    REINSTATED = "reinstated"
    APPEAL_ANSWERED = "appeal_answered"
    DOMAIN_OWNERSHIP = "domain_ownership"
    DOMAIN_TRANSFER = "domain_transfer"
    DOMAIN_RENEWAL_FAILED = "domain_renewal_failed"
    DKIM_RECORD_NEEDED = "dkim_record_needed"
    LIMIT_NEAR = "limit_near"
    DOMAIN_LISTED = "domain_listed"


class BillingNotice(TenantOwned, Base):
    """One message about money. The unique fact is what keeps a repeated event quiet."""

    __tablename__ = "billing_notices"
    __table_args__ = (UniqueConstraint("tenant_id", "kind", "fact"),)

    kind: Mapped[NoticeKind] = mapped_column(Text(NoticeKind))
    fact: Mapped[str] = mapped_column(String(120))
    """What it is about: an invoice and its attempt, a purchase, the end of a trial."""
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """What the text needs and the rows will not tell any more when it is sent."""
    sent_at: Mapped[datetime | None]


class OperatorAlert(Base):
    """Something a person of the platform must look at; open until somebody says it is done."""

    __tablename__ = "operator_alerts"
    __table_args__ = (UniqueConstraint("kind", "fact"),)

    kind: Mapped[str] = mapped_column(String(40), index=True)
    fact: Mapped[str] = mapped_column(String(120))
    message: Mapped[str] = mapped_column(String(1000))
    about_tenant_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("tenants.id", ondelete="CASCADE"), index=True
    )
    resolved_at: Mapped[datetime | None]
