"""Stripe's objects in our words.

Source: the objects of API 2026-10-28.endive as the SDK 16.1.0 types them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import stripe

from app.integrations.payments import (
    Card,
    ChargeState,
    CheckoutState,
    CustomerState,
    DisputeState,
    Intent,
    InvoiceState,
    Preview,
    PreviewLine,
    RefundState,
    SubscriptionState,
)


def setup_intent(intent: stripe.SetupIntent) -> Intent:
    return Intent(
        id=intent.id,
        status=intent.status,
        client_secret=intent.client_secret,
        customer=_id(intent.customer),
        payment_method=_id(intent.payment_method),
        metadata=_texts(intent.metadata),
    )


def customer(customer: stripe.Customer) -> CustomerState:
    """Of a deleted one only the id is left."""
    deleted = bool(getattr(customer, "deleted", False))
    settings = None if deleted else customer.invoice_settings
    return CustomerState(
        id=customer.id,
        deleted=deleted,
        default_payment_method=_id(settings.default_payment_method) if settings else None,
    )


def payment_intent(intent: stripe.PaymentIntent) -> Intent:
    error = intent.last_payment_error
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
        latest_charge=_id(intent.latest_charge),
        failure=None if error is None else error.message or error.code,
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
        created=_instant(subscription.created),
        latest_invoice=_id(subscription.latest_invoice),
        pending_update=subscription.pending_update is not None,
    )


def invoice(invoice: stripe.Invoice) -> InvoiceState:
    details = invoice.parent.subscription_details if invoice.parent else None
    lines = invoice.lines.data
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
        total=invoice.total,
        tax=sum(tax.amount for tax in invoice.total_taxes or []),
        # The line's period is what is paid for; the invoice's own is the one before it.
        period_start=_instant(min((line.period.start for line in lines), default=None)),
        period_end=_instant(max((line.period.end for line in lines), default=None)),
        created=_instant(invoice.created),
        starting_balance=invoice.starting_balance,
        ending_balance=invoice.ending_balance,
    )


def preview(invoice: stripe.Invoice) -> Preview:
    return Preview(
        amount_due=invoice.amount_due,
        total=invoice.total,
        currency=invoice.currency,
        lines=[
            PreviewLine(line.description or "", line.amount, _is_proration(line))
            for line in invoice.lines.data
        ],
    )


def _is_proration(line: stripe.InvoiceLineItem) -> bool:
    if line.parent is None:
        return False
    details = line.parent.subscription_item_details or line.parent.invoice_item_details
    return bool(details and details.proration)


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
        refunded=charge.refunded,
        amount_refunded=charge.amount_refunded,
    )


def refund(refund: stripe.Refund) -> RefundState:
    return RefundState(
        id=refund.id,
        charge=_id(refund.charge),
        payment_intent=_id(refund.payment_intent),
        amount=refund.amount,
        currency=refund.currency,
        status=refund.status or "pending",
        failure_reason=getattr(refund, "failure_reason", None),
        metadata=_texts(refund.metadata),
    )


def dispute(dispute: stripe.Dispute) -> DisputeState:
    return DisputeState(
        id=dispute.id,
        charge=_id(dispute.charge) or "",
        payment_intent=_id(dispute.payment_intent),
        amount=dispute.amount,
        currency=dispute.currency,
        status=dispute.status,
        reason=dispute.reason,
        due_by=_instant(dispute.evidence_details.due_by),
    )


def checkout(session: Any) -> CheckoutState:
    return CheckoutState(
        id=session.id,
        status=session.status or "open",
        mode=session.mode,
        customer=_id(session.customer),
        subscription=_id(session.subscription),
        payment_status=session.payment_status,
        url=session.url,
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
