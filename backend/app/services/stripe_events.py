"""Stripe's events: whose each is, and what is done about it, one at a time for each customer.

Events come late, twice and in any order, so none is believed: its customer is locked, the object it
names is fetched again, and the present state is mirrored (stripe_handlers.py). A type that is not
here is kept and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import or_, select, text, update
from sqlalchemy.orm import Session

from app import clock
from app.database.models import ProviderEvent, Tenant
from app.integrations import ports
from app.services import stripe_handlers as on

Handler = Callable[[on.Told], None]

FORGOTTEN: dict[str, Any] = {"erased": True}
"""Left of an event about somebody who asked to be forgotten; that it was handled stays known."""


def apply(db: Session, event: ProviderEvent, payments: ports.PaymentGateway) -> None:
    """Do what `event` asks for and stamp it; events of one customer are applied one at a time."""
    handler = HANDLERS.get(event.event_type)
    event.outcome = "ignored"
    if handler is not None:
        data: dict[str, Any] = event.payload["data"]
        body: dict[str, Any] = data["object"]
        customer = _customer_of(body, payments) or _customer_before(data)
        tenant = None if customer is None else _lock(customer, db)
        event.outcome = "stranger"
        if tenant is not None and tenant.erased_at is not None:
            # What Stripe still had to say tells of people, too.
            event.payload, event.outcome = FORGOTTEN, "erased"
        elif tenant is not None:
            handler(on.Told(tenant, body, event.occurred_at, db, payments))
            event.outcome = "applied"
    event.handled_at = clock.now()


def forget(customer: str, db: Session) -> None:
    """Empty what Stripe told of somebody."""
    about, before = (
        ProviderEvent.payload["data"]["object"],
        ProviderEvent.payload["data"]["previous_attributes"],
    )
    db.execute(
        update(ProviderEvent)
        .where(
            ProviderEvent.provider == "stripe",
            or_(
                about["customer"].astext == customer,
                about["id"].astext == customer,
                before["customer"].astext == customer,
            ),
        )
        .values(payload=FORGOTTEN),
        execution_options={"synchronize_session": False},
    )


def _customer_of(body: dict[str, Any], payments: ports.PaymentGateway) -> str | None:
    """Whose event it is; an object's customer never changes, so asking needs no lock."""
    kind = body.get("object")
    if kind == "customer":
        return str(body["id"])
    if isinstance(body.get("customer"), str):
        return str(body["customer"])
    if isinstance(body.get("charge"), str):
        return payments.get_charge(body["charge"]).customer
    if isinstance(body.get("payment_intent"), str):
        return payments.get_payment_intent(body["payment_intent"]).customer
    if kind == "invoice_payment":
        return payments.get_invoice(str(body["invoice"])).customer
    return None


def _customer_before(data: dict[str, Any]) -> str | None:
    """A detached card has no customer any more; the event says whose it was."""
    before = (data.get("previous_attributes") or {}).get("customer")
    return before if isinstance(before, str) else None


def _lock(customer: str, db: Session) -> Tenant | None:
    # An advisory lock, because the tenant may not know its customer id yet.
    db.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:customer, 0))"),
        {"customer": customer},
    )
    return db.scalars(
        select(Tenant)
        .where(Tenant.stripe_customer_id == customer)
        # Not against those who only refer to the row: an insert elsewhere need not wait.
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).one_or_none()


HANDLERS: dict[str, Handler] = {
    "setup_intent.succeeded": on.card_confirmed,
    "setup_intent.setup_failed": on.card_refused,
    "payment_method.attached": on.cards_changed,
    "payment_method.detached": on.cards_changed,
    "payment_method.updated": on.cards_changed,
    "payment_method.automatically_updated": on.cards_changed,
    "customer.updated": on.cards_changed,
    "customer.deleted": on.customer_deleted,
    "customer.subscription.created": on.subscription_changed,
    "customer.subscription.updated": on.subscription_changed,
    "customer.subscription.deleted": on.subscription_changed,
    "customer.subscription.paused": on.subscription_changed,
    "customer.subscription.resumed": on.subscription_changed,
    "customer.subscription.trial_will_end": on.trial_will_end,
    "customer.subscription.pending_update_applied": on.subscription_changed,
    "customer.subscription.pending_update_expired": on.subscription_changed,
    "checkout.session.completed": on.checkout_ended,
    "checkout.session.expired": on.acknowledged,
    "invoice.created": on.acknowledged,
    "invoice.upcoming": on.upcoming,
    "invoice.finalized": on.invoice_changed,
    "invoice.finalization_failed": on.finalisation_failed,
    "invoice.updated": on.invoice_changed,
    "invoice.paid": on.invoice_changed,
    "invoice.payment_succeeded": on.invoice_changed,
    "invoice.payment_failed": on.invoice_changed,
    "invoice.payment_action_required": on.action_required,
    "invoice.voided": on.invoice_changed,
    "invoice.marked_uncollectible": on.invoice_changed,
    "invoice_payment.paid": on.invoice_payment_paid,
    "payment_intent.amount_capturable_updated": on.hold_placed,
    "payment_intent.succeeded": on.hold_placed,
    "payment_intent.payment_failed": on.hold_failed,
    "payment_intent.canceled": on.hold_gone,
    "charge.succeeded": on.charge_changed,
    "charge.failed": on.charge_changed,
    "charge.captured": on.charge_changed,
    "charge.expired": on.charge_changed,
    "charge.refunded": on.charge_changed,
    "refund.created": on.refund_changed,
    "refund.updated": on.refund_changed,
    "refund.failed": on.refund_changed,
    "charge.dispute.created": on.dispute_changed,
    "charge.dispute.updated": on.dispute_changed,
    "charge.dispute.closed": on.dispute_changed,
    "radar.early_fraud_warning.created": on.fraud_warned,
}
"""The events to subscribe to at Stripe, and no others."""
