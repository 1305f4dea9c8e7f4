"""Plans, cards, invoices, the ledger, domain purchases."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, BeforeValidator, Field

from app.api.schemas.auth import LimitsOut, UsageOut
from app.api.schemas.base import In, Instant, Out, example
from app.database.models import Plan

Address = Annotated[str, Field(min_length=8, max_length=2000)]


class UpgradeIn(In):
    model_config = example({"plan": "growth"})

    plan: Plan
    proration_date: AwareDatetime | None = None
    """The instant of a preview, whose price is then charged to the cent."""


class CheckoutIn(In):
    model_config = example(
        {
            "plan": "growth",
            "success_url": "https://app.example.com/paid",
            "cancel_url": "https://app.example.com/plans",
        }
    )

    plan: Plan
    success_url: Address
    cancel_url: Address


class PortalIn(In):
    model_config = example({"return_url": "https://app.example.com/billing"})

    return_url: Address | None = None


class CancelIn(In):
    model_config = example({"comment": "We are done for this year."})

    comment: Annotated[str, Field(max_length=500)] | None = None


class PurchaseIntentIn(In):
    model_config = example({"domain_name": "acme-mail.com", "years": 1})

    domain_name: Annotated[str, Field(min_length=1, max_length=253)]
    years: Annotated[int, Field(strict=True, ge=1, le=10)] = 1
    confirm_premium: bool = False
    """Wanted for a premium name, whose price the first answer tells."""


class SubscriptionOut(Out):
    status: str
    plan: str
    price_cents: int
    currency: str
    current_period_end: Instant | None
    cancel_at_period_end: bool
    scheduled_plan: str | None
    """The cheaper plan that begins at `scheduled_plan_at`."""
    scheduled_plan_at: Instant | None
    trial_ends_at: Instant
    trial_days_remaining: int
    trial_converted: bool
    is_suspended: bool
    suspension_reason: str | None
    limits: LimitsOut
    usage: UsageOut


class HostedPageOut(Out):
    id: str
    url: str | None


class PortalOut(Out):
    url: str


class PreviewLineOut(Out):
    description: str
    amount: int
    proration: bool


class PreviewOut(Out):
    plan: str
    current: str
    kind: str
    """subscribe, begin (the trial ends), upgrade or downgrade."""
    amount_due: int
    """In cents, charged when it is chosen."""
    currency: str
    effective_at: Instant | None
    """None is now."""
    proration_date: Instant | None
    lines: list[PreviewLineOut]
    refusal: str | None


class PaymentMethodOut(Out):
    id: UUID
    card_brand: str
    card_last_four: str
    card_exp: str
    is_default: bool
    created_at: Instant


class InvoiceOut(Out):
    id: UUID
    stripe_invoice_id: str
    number: str | None
    status: str
    billing_reason: str | None
    amount_due_cents: int
    amount_paid_cents: int
    tax_cents: int
    currency: str
    period_start: Instant | None
    period_end: Instant | None
    attempt_count: int
    next_payment_attempt: Instant | None
    hosted_invoice_url: str | None
    invoice_pdf: str | None
    created_at: Instant


def _in_cents(amount: Decimal) -> int:
    return int(amount.scaleb(2))


class TransactionOut(Out):
    id: UUID
    transaction_type: str
    amount: Annotated[int, BeforeValidator(_in_cents)]
    """Cents, as everywhere outside; the ledger itself keeps decimals."""
    currency: str
    status: str
    stripe_transaction_id: str
    description: str | None
    purchase_id: UUID | None
    created_at: Instant


class PurchaseIntentOut(Out):
    purchase_id: UUID
    domain_name: str
    years: int
    payment_intent_id: str
    client_secret: str | None
    amount: int
    """In cents."""
    currency: str
    premium: bool
    expires_at: Instant
    publishable_key: str


BUY_IT = {
    "operationId": "domains_purchase",
    "requestBody": {"purchase_id": "$response.body#/data/purchase_id"},
    "description": "Buy it, once the payment is confirmed.",
}
"""The OpenAPI link from a price offer to its purchase."""
