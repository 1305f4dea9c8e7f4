"""Stripe's objects in our words.

Source: the objects of API 2026-10-28.endive as the SDK 16.1.0 types them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import stripe

from app.integrations.ports import Card, ChargeState, Intent, InvoiceState, SubscriptionState


def setup_intent(intent: stripe.SetupIntent) -> Intent:
    return Intent(
        id=intent.id,
        status=intent.status,
        client_secret=intent.client_secret,
        customer=_id(intent.customer),
        payment_method=_id(intent.payment_method),
        metadata=_texts(intent.metadata),
    )


def payment_intent(intent: stripe.PaymentIntent) -> Intent:
    return Intent(
        id=intent.id,
        status=intent.status,
        client_secret=intent.client_secret,
        customer=_id(intent.customer),
        payment_method=_id(intent.payment_method),
        amount=intent.amount,
        amount_capturable=intent.amount_capturable,
        amount_received=intent.amount_received,
        currency=intent.currency,
        metadata=_texts(intent.metadata),
    )


def card(method: stripe.PaymentMethod) -> Card:
    """Something else than a card shows its type as the brand, and nothing more."""
    card = method.card
    return Card(
        payment_method=method.id,
        customer=_id(method.customer),
        brand=card.brand if card else method.type,
        last_four=(card.last4 or "") if card else "",
        expiry=f"{card.exp_month:02d}/{card.exp_year}" if card else "",
        fingerprint=card.fingerprint if card else None,
    )


def subscription(subscription: stripe.Subscription) -> SubscriptionState:
    item = subscription.items.data[0]
    lookup_key = item.price.lookup_key or ""
    return SubscriptionState(
        id=subscription.id,
        customer=_id(subscription.customer) or "",
        status=subscription.status,
        plan=lookup_key.removesuffix("_monthly") or None,
        item_id=item.id,
        # Periods belong to items; we have one.
        current_period_end=_instant(item.current_period_end),
        trial_end=_instant(subscription.trial_end),
        cancel_at_period_end=subscription.cancel_at_period_end,
        default_payment_method=_id(subscription.default_payment_method),
    )


def invoice(invoice: stripe.Invoice) -> InvoiceState:
    details = invoice.parent.subscription_details if invoice.parent else None
    return InvoiceState(
        id=str(invoice.id),
        customer=_id(invoice.customer) or "",
        subscription=_id(details.subscription) if details else None,
        number=invoice.number,
        status=invoice.status or "draft",
        billing_reason=invoice.billing_reason,
        amount_due=invoice.amount_due,
        amount_paid=invoice.amount_paid,
        currency=invoice.currency,
        attempt_count=invoice.attempt_count,
        next_payment_attempt=_instant(invoice.next_payment_attempt),
        hosted_invoice_url=invoice.hosted_invoice_url,
        invoice_pdf=invoice.invoice_pdf,
    )


def charge(charge: stripe.Charge) -> ChargeState:
    return ChargeState(
        id=charge.id,
        customer=_id(charge.customer),
        payment_intent=_id(charge.payment_intent),
        amount=charge.amount,
        amount_captured=charge.amount_captured,
        currency=charge.currency,
        status=charge.status,
        captured=charge.captured,
        description=charge.description,
        failure_code=charge.failure_code,
        receipt_url=charge.receipt_url,
    )


def _id(reference: Any) -> str | None:
    """Stripe gives an id or, when expanded, the object."""
    if reference is None or isinstance(reference, str):
        return reference
    return str(reference.id)


def _texts(metadata: Any) -> dict[str, str]:
    return {} if metadata is None else dict(metadata.to_dict())


def _instant(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
