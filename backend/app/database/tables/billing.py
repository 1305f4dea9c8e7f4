"""Money: cards, invoices, the ledger, and what a domain purchase went through."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, LargeBinary, Numeric, String, text
from sqlalchemy.orm import Mapped, mapped_column

from app.database.tables.base import Base, TenantOwned, Text, Updated


class PaymentMethod(TenantOwned, Updated, Base):
    __tablename__ = "payment_methods"

    stripe_payment_method_id: Mapped[str] = mapped_column(String(64), unique=True)
    card_brand: Mapped[str] = mapped_column(String(30))
    card_last_four: Mapped[str] = mapped_column(String(4))
    card_exp: Mapped[str] = mapped_column(String(7))
    """MM/YYYY"""
    card_fingerprint: Mapped[str | None] = mapped_column(String(64), index=True)
    is_default: Mapped[bool] = mapped_column(default=False)
    is_active: Mapped[bool] = mapped_column(default=True)
    chosen_at: Mapped[datetime | None]
    """When it was last made the default; of two confirmations the later one holds."""


class Invoice(TenantOwned, Updated, Base):
    __tablename__ = "invoices"

    stripe_invoice_id: Mapped[str] = mapped_column(String(64), unique=True)
    number: Mapped[str | None] = mapped_column(String(64))
    status: Mapped[str] = mapped_column(String(20), index=True)
    billing_reason: Mapped[str | None] = mapped_column(String(40))
    amount_due_cents: Mapped[int]
    amount_paid_cents: Mapped[int]
    tax_cents: Mapped[int] = mapped_column(default=0)
    currency: Mapped[str] = mapped_column(String(3))
    stripe_subscription_id: Mapped[str | None] = mapped_column(String(64))
    period_start: Mapped[datetime | None]
    """Of what is paid for, not of the time in which it was counted."""
    period_end: Mapped[datetime | None]
    attempt_count: Mapped[int] = mapped_column(default=0)
    """Stripe's own count: the first attempt, then the automatic ones only."""
    next_payment_attempt: Mapped[datetime | None]
    hosted_invoice_url: Mapped[str | None] = mapped_column(String(500))
    invoice_pdf: Mapped[str | None] = mapped_column(String(500))


class TransactionType(StrEnum):
    AUTHORISATION = "authorisation"
    CAPTURE = "capture"
    RELEASE = "release"
    CHARGE = "charge"
    FAILURE = "failure"
    REFUND = "refund"
    REFUND_FAILED = "refund_failed"
    """A refund that came back: the money is with us again."""
    DISPUTE = "dispute"
    DISPUTE_WON = "dispute_won"
    """A disputed amount that came back."""
    CREDIT = "credit"
    """What an invoice gave back, kept by Stripe for the next ones."""
    CREDIT_USED = "credit_used"


class Transaction(TenantOwned, Base):
    """The ledger: one row for each movement of money at Stripe.

    A trigger of the database refuses to change or delete a row, whoever asks.
    """

    __tablename__ = "transaction_history"
    __table_args__ = (
        # One movement is told by several events; it is written once.
        Index(
            "uq_transaction_history_movement",
            "stripe_transaction_id",
            "transaction_type",
            unique=True,
        ),
        Index("ix_transaction_history_tenant_id_created_at", "tenant_id", "created_at"),
    )

    transaction_type: Mapped[TransactionType] = mapped_column(Text(TransactionType))
    amount: Mapped[Decimal] = mapped_column(Numeric(14, 2))
    currency: Mapped[str] = mapped_column(String(3))
    status: Mapped[str] = mapped_column(String(30))
    stripe_transaction_id: Mapped[str] = mapped_column(String(64))
    description: Mapped[str | None] = mapped_column(String(300))
    purchase_id: Mapped[UUID | None] = mapped_column(index=True)


class PurchaseState(StrEnum):
    QUOTED = "quoted"
    AUTHORISED = "authorised"
    CAPTURED = "captured"
    VOIDED = "voided"
    PAYMENT_FAILED = "payment_failed"
    REFUNDED = "refunded"
    """The price had been taken and was given back."""
    LOSS = "loss"
    """Registered, but the hold could not be captured: for a human, never a second charge."""


class PurchaseKind(StrEnum):
    REGISTRATION = "registration"
    RENEWAL = "renewal"
    """Another year of a name that is there already."""


class DomainPurchase(TenantOwned, Updated, Base):
    """A price offer for one name or for another year of it, and what became of the money."""

    __tablename__ = "domain_purchases"
    __table_args__ = (
        Index(
            "uq_domain_purchases_registration",
            "domain_id",
            unique=True,
            postgresql_where=text("kind = 'registration'"),
        ),
        # Whoever asks, and however often: one year is paid for once.
        Index(
            "uq_domain_purchases_renewal",
            "domain_id",
            "renews_from",
            unique=True,
            postgresql_where=text(
                "kind = 'renewal' AND state IN ('quoted', 'authorised', 'captured', 'loss')"
            ),
        ),
    )

    domain_name: Mapped[str] = mapped_column(String(253))
    years: Mapped[int]
    registrar: Mapped[str] = mapped_column(String(30))
    cost_cents: Mapped[int]
    """What the registrar asked when we quoted, ICANN fee included: the ceiling for buying."""
    price_cents: Mapped[int]
    currency: Mapped[str] = mapped_column(String(3), default="usd")
    premium: Mapped[bool] = mapped_column(default=False)
    automatic_capture: Mapped[bool] = mapped_column(default=False)
    """Charged at once, as the setting was when it was quoted; otherwise held, then captured."""
    expires_at: Mapped[datetime]
    signature: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    """Over everything that was promised: an altered offer buys nothing."""
    state: Mapped[PurchaseState] = mapped_column(Text(PurchaseState), default=PurchaseState.QUOTED)
    stripe_payment_intent_id: Mapped[str | None] = mapped_column(String(64), unique=True)
    domain_id: Mapped[UUID | None] = mapped_column(ForeignKey("domains.id"))
    kind: Mapped[PurchaseKind] = mapped_column(
        Text(PurchaseKind), default=PurchaseKind.REGISTRATION
    )
    renews_from: Mapped[datetime | None]
    """The end of the term that a renewal prolongs."""
    attempts: Mapped[int] = mapped_column(default=0)
    """How often a renewal's price was asked of the card on file."""
    tried_at: Mapped[datetime | None]
    failure: Mapped[str | None] = mapped_column(String(500))


class ProviderEvent(Updated, Base):
    """A webhook as it came, stored before it is believed, once per provider's event id."""

    __tablename__ = "provider_events"
    __table_args__ = (
        Index("uq_provider_events_provider_id", "provider", "provider_id", unique=True),
        Index(
            "ix_provider_events_unhandled",
            "created_at",
            postgresql_where=text("handled_at IS NULL"),
        ),
    )

    provider: Mapped[str] = mapped_column(String(20))
    provider_id: Mapped[str] = mapped_column(String(80))
    event_type: Mapped[str] = mapped_column(String(80))
    occurred_at: Mapped[datetime]
    payload: Mapped[dict[str, Any]]
    handled_at: Mapped[datetime | None]
    outcome: Mapped[str | None] = mapped_column(String(20))
    """applied, ignored (a type that means nothing to us) or stranger (no tenant of ours)."""
    api_version: Mapped[str | None] = mapped_column(String(40))
