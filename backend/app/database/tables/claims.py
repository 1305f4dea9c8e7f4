"""Money on its way back: refunds we give, and disputes that card holders raise."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from app.database.tables.base import Base, TenantOwned, Updated


class Refund(TenantOwned, Updated, Base):
    """Written before Stripe is asked, so that its id is the key of the call."""

    __tablename__ = "refunds"

    stripe_payment_intent_id: Mapped[str] = mapped_column(String(64), index=True)
    amount_cents: Mapped[int | None]
    """None asks for all that is left; Stripe's answer fills it in."""
    currency: Mapped[str | None] = mapped_column(String(3))
    cause: Mapped[str] = mapped_column(String(200))
    purchase_id: Mapped[UUID | None] = mapped_column(index=True)
    stripe_refund_id: Mapped[str | None] = mapped_column(String(64), unique=True)
    status: Mapped[str] = mapped_column(String(20), default="requested")
    """requested, then Stripe's: pending, requires_action, succeeded, failed, canceled."""
    failure: Mapped[str | None] = mapped_column(String(300))


class Dispute(TenantOwned, Updated, Base):
    """A card holder's bank has taken a payment back; we may answer until `due_by`."""

    __tablename__ = "disputes"

    stripe_dispute_id: Mapped[str] = mapped_column(String(64), unique=True)
    stripe_charge_id: Mapped[str] = mapped_column(String(64), index=True)
    amount_cents: Mapped[int]
    currency: Mapped[str] = mapped_column(String(3))
    status: Mapped[str] = mapped_column(String(40))
    reason: Mapped[str] = mapped_column(String(60))
    due_by: Mapped[datetime | None]
    forgiven_at: Mapped[datetime | None]
    """When an operator let the tenant go on in spite of it."""
