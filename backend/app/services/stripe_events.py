"""What each Stripe event means to us.

Events come late, twice and in any order, so none is believed: its customer is locked, the object it
names is fetched again, and the present state is mirrored. Handlers are keyed by event type; a type
that is not here is kept and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app import clock, events
from app.database import audit, outbox
from app.database.models import (
    DomainPurchase,
    NoticeKind,
    ProviderEvent,
    PurchaseState,
    SubscriptionStatus,
    Tenant,
)
from app.integrations import ports
from app.rules import plans
from app.services import (
    checkout,
    disputes,
    dunning,
    ledger,
    notices,
    payment_methods,
    refunds,
    subscription_state,
)


@dataclass(frozen=True)
class Told:
    """An event about a tenant of ours, whose row is locked."""

    tenant: Tenant
    body: dict[str, Any]
    at: datetime
    db: Session
    payments: ports.PaymentGateway

    @property
    def id(self) -> str:
        return str(self.body["id"])


Handler = Callable[[Told], None]
Find = Callable[[dict[str, Any], ports.PaymentGateway], str | None]


def apply(db: Session, event: ProviderEvent, payments: ports.PaymentGateway) -> None:
    """Do what `event` asks for and stamp it; events of one customer are applied one at a time."""
    handler = HANDLERS.get(event.event_type)
    event.outcome = "ignored"
    if handler is not None:
        body: dict[str, Any] = event.payload["data"]["object"]
        customer = _customer_of(body, payments)
        tenant = None if customer is None else _lock(customer, db)
        event.outcome = "stranger"
        if tenant is not None:
            handler(Told(tenant, body, event.occurred_at, db, payments))
            event.outcome = "applied"
    event.handled_at = clock.now()


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


# Cards and customers ----------------------------------------------------------------------------


def _card_confirmed(told: Told) -> None:
    intent = told.payments.get_setup_intent(told.id)
    if intent.status == "succeeded":
        payment_methods.confirmed(told.tenant, intent, told.at, told.db, told.payments)


def _card_refused(told: Told) -> None:
    """For the trail: many refusals of one account are cards that somebody tries out."""
    error = told.body.get("last_setup_error") or {}
    audit.write(
        told.db,
        told.tenant.id,
        "card_refused",
        "tenant",
        told.tenant.id,
        {"refusal": [None, error.get("decline_code") or error.get("code")]},
    )


def _cards_changed(told: Told) -> None:
    state = subscription_state.refresh(told.tenant, told.db, told.payments)
    payment_methods.mirror(told.tenant, told.db, told.payments, state=state)


def _customer_deleted(told: Told) -> None:
    _cards_changed(told)
    notices.alert(
        told.db,
        "customer_deleted",
        told.id,
        f"Customer {told.id} was deleted at Stripe; its tenant cannot be billed any more.",
        tenant_id=told.tenant.id,
    )


# Subscriptions ----------------------------------------------------------------------------------


def _subscription_changed(told: Told) -> None:
    state = subscription_state.refresh(told.tenant, told.db, told.payments)
    payment_methods.mirror(told.tenant, told.db, told.payments, state=state)
    dunning.judge(told.tenant, told.db, state)


def _trial_will_end(told: Told) -> None:
    """Our own calendar reminds as well; whoever is first, it is one message."""
    _subscription_changed(told)
    tenant = told.tenant
    if tenant.subscription_status == SubscriptionStatus.TRIALING:
        remind_of_trial(tenant, 3, told.db)


def remind_of_trial(tenant: Tenant, days: int, db: Session) -> bool:
    """Three days, or one day, before the end; once each."""
    plan = plans.plan(tenant.subscription_tier)
    return notices.owe(
        db,
        tenant.id,
        NoticeKind.TRIAL_ENDING,
        f"{tenant.trial_ends_at.isoformat()}:{days}",
        days=days,
        plan=plan.title,
        cents=plan.price_cents,
    )


def _checkout_ended(told: Told) -> None:
    session = told.payments.get_checkout(told.id)
    checkout.completed(told.tenant, session, told.db, told.payments)
    _subscription_changed(told)


# Invoices ---------------------------------------------------------------------------------------


def _invoice_changed(told: Told) -> None:
    _mirror_invoice(told, told.id)


def _mirror_invoice(told: Told, invoice_id: str) -> ports.InvoiceState:
    invoice = told.payments.get_invoice(invoice_id)
    dunning.mirror_invoice(told.tenant, invoice, told.db)
    state = subscription_state.refresh(told.tenant, told.db, told.payments)
    dunning.judge(told.tenant, told.db, state)
    return invoice


def _invoice_payment_paid(told: Told) -> None:
    _mirror_invoice(told, str(told.body["invoice"]))


def _action_required(told: Told) -> None:
    invoice = _mirror_invoice(told, told.id)
    if invoice.status == "open":
        notices.owe(
            told.db,
            told.tenant.id,
            NoticeKind.ACTION_REQUIRED,
            f"{invoice.id}:{invoice.attempt_count}",
            cents=invoice.amount_due,
            currency=invoice.currency,
            link=invoice.hosted_invoice_url,
        )


def _finalisation_failed(told: Told) -> None:
    _mirror_invoice(told, told.id)
    error = told.body.get("last_finalization_error") or {}
    notices.alert(
        told.db,
        "finalization_failed",
        told.id,
        f"Invoice {told.id} could not be finalised: {error.get('message') or 'no reason given'}."
        " Until it is, nothing is charged.",
        tenant_id=told.tenant.id,
    )


def _upcoming(told: Told) -> None:
    """Not a real invoice yet: only its amount and its day are used, never its id."""
    amount, at = int(told.body.get("amount_due") or 0), told.body.get("next_payment_attempt")
    subscription = told.tenant.stripe_subscription_id
    if amount <= 0 or subscription is None or not told.tenant.trial_converted:
        return
    when = None if at is None else datetime.fromtimestamp(at, told.at.tzinfo).isoformat()
    notices.owe(
        told.db,
        told.tenant.id,
        NoticeKind.RENEWAL,
        f"{subscription}:{told.body.get('period_end')}",
        cents=amount,
        currency=str(told.body.get("currency") or "usd"),
        at=when,
    )


# Domain purchases -------------------------------------------------------------------------------


def _hold_placed(told: Told) -> None:
    """A domain's price is held or paid: buy it, also when the browser never came back."""
    purchase = _purchase(told)
    if purchase is None or purchase.state != PurchaseState.QUOTED:
        return
    intent = told.payments.get_payment_intent(told.id)
    ready = "succeeded" if purchase.automatic_capture else "requires_capture"
    if intent.status == ready:
        outbox.record(
            told.db,
            events.DomainHoldPlaced(tenant_id=purchase.tenant_id, purchase_id=purchase.id),
        )


def _hold_failed(told: Told) -> None:
    purchase = _purchase(told)
    if purchase is None or purchase.state != PurchaseState.QUOTED:
        return
    intent = told.payments.get_payment_intent(told.id)
    if intent.status == "requires_payment_method":
        # Another card may still be tried with the same intent, so the quote lives on.
        before = purchase.failure
        purchase.failure = (intent.failure or "The payment was declined.")[:500]
        audit.write_difference(
            told.db,
            purchase.tenant_id,
            "domain_purchase_declined",
            "domain_purchase",
            purchase.id,
            {"failure": before},
            {"failure": purchase.failure},
        )


def _hold_gone(told: Told) -> None:
    purchase = _purchase(told)
    if purchase is None or purchase.state != PurchaseState.QUOTED:
        return
    if told.payments.get_payment_intent(told.id).status == "canceled":
        purchase.state = PurchaseState.VOIDED
        audit.write(
            told.db,
            told.tenant.id,
            "domain_purchase_voided",
            "domain_purchase",
            purchase.id,
            {"state": [str(PurchaseState.QUOTED), str(PurchaseState.VOIDED)]},
        )


def _purchase(told: Told) -> DomainPurchase | None:
    return told.db.scalars(
        select(DomainPurchase)
        .where(
            DomainPurchase.stripe_payment_intent_id == told.id,
            DomainPurchase.tenant_id == told.tenant.id,
        )
        .with_for_update()
    ).one_or_none()


# Money ------------------------------------------------------------------------------------------


def _charge_changed(told: Told) -> None:
    """Evidence for the ledger only: a charge at authorisation is not a payment yet."""
    book_charge(told.tenant, told.payments.get_charge(told.id), told.db, told.payments)


def book_charge(
    tenant: Tenant, charge: ports.ChargeState, db: Session, payments: ports.PaymentGateway
) -> int:
    """Enter a charge and its refunds; how many movements were new."""
    purchase = ledger.purchase_of(charge.payment_intent, db)
    new = ledger.append(
        db,
        tenant.id,
        ledger.of_charge(charge, purchase),
        description=charge.description or charge.failure_code,
        purchase_id=None if purchase is None else purchase.id,
    )
    if charge.captured and charge.amount_refunded > 0:
        for refund in payments.refunds_of(charge.id):
            new += refunds.mirror(tenant, refund, db)
    return new


def _refund_changed(told: Told) -> None:
    state = told.payments.get_refund(told.id)
    if state.charge is not None:
        # The way back of a hold that was never captured is a release and no refund.
        charge = told.payments.get_charge(state.charge)
        book_charge(told.tenant, charge, told.db, told.payments)
        if charge.captured:
            refunds.mirror(told.tenant, state, told.db)


def _dispute_changed(told: Told) -> None:
    disputes.mirror(told.tenant, told.payments.get_dispute(told.id), told.db)
    state = subscription_state.refresh(told.tenant, told.db, told.payments)
    dunning.judge(told.tenant, told.db, state)


def _fraud_warned(told: Told) -> None:
    """An issuer suspects fraud: refunding now is cheaper than the dispute that may follow."""
    charge = told.payments.get_charge(str(told.body["charge"]))
    if told.body.get("actionable", True) and not charge.refunded:
        notices.alert(
            told.db,
            "early_fraud_warning",
            told.id,
            f"The issuer suspects fraud in charge {charge.id} over {charge.amount / 100:.2f}"
            f" {charge.currency.upper()}. Consider a refund and a suspension.",
            tenant_id=told.tenant.id,
        )


def _acknowledged(_: Told) -> None:
    """Nothing to do but to have answered: Stripe finalises an invoice only after that."""


HANDLERS: dict[str, Handler] = {
    "setup_intent.succeeded": _card_confirmed,
    "setup_intent.setup_failed": _card_refused,
    "payment_method.attached": _cards_changed,
    "payment_method.detached": _cards_changed,
    "payment_method.updated": _cards_changed,
    "payment_method.automatically_updated": _cards_changed,
    "customer.updated": _cards_changed,
    "customer.deleted": _customer_deleted,
    "customer.subscription.created": _subscription_changed,
    "customer.subscription.updated": _subscription_changed,
    "customer.subscription.deleted": _subscription_changed,
    "customer.subscription.paused": _subscription_changed,
    "customer.subscription.resumed": _subscription_changed,
    "customer.subscription.trial_will_end": _trial_will_end,
    "customer.subscription.pending_update_applied": _subscription_changed,
    "customer.subscription.pending_update_expired": _subscription_changed,
    "checkout.session.completed": _checkout_ended,
    "checkout.session.expired": _acknowledged,
    "invoice.created": _acknowledged,
    "invoice.upcoming": _upcoming,
    "invoice.finalized": _invoice_changed,
    "invoice.finalization_failed": _finalisation_failed,
    "invoice.updated": _invoice_changed,
    "invoice.paid": _invoice_changed,
    "invoice.payment_succeeded": _invoice_changed,
    "invoice.payment_failed": _invoice_changed,
    "invoice.payment_action_required": _action_required,
    "invoice.voided": _invoice_changed,
    "invoice.marked_uncollectible": _invoice_changed,
    "invoice_payment.paid": _invoice_payment_paid,
    "payment_intent.amount_capturable_updated": _hold_placed,
    "payment_intent.succeeded": _hold_placed,
    "payment_intent.payment_failed": _hold_failed,
    "payment_intent.canceled": _hold_gone,
    "charge.succeeded": _charge_changed,
    "charge.failed": _charge_changed,
    "charge.captured": _charge_changed,
    "charge.expired": _charge_changed,
    "charge.refunded": _charge_changed,
    "refund.created": _refund_changed,
    "refund.updated": _refund_changed,
    "refund.failed": _refund_changed,
    "charge.dispute.created": _dispute_changed,
    "charge.dispute.updated": _dispute_changed,
    "charge.dispute.closed": _dispute_changed,
    "radar.early_fraud_warning.created": _fraud_warned,
}
"""The events to subscribe to at Stripe, and no others."""
