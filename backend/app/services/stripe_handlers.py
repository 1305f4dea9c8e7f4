"""What follows from each kind of event: the object is fetched again and mirrored.

A handler is given the tenant with its row locked, and believes nothing of the event but the id of
its object and the second in which it happened.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import events
from app.database import audit, outbox
from app.database.models import (
    DomainPurchase,
    NoticeKind,
    PurchaseKind,
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


# Cards and customers ----------------------------------------------------------------------------


def card_confirmed(told: Told) -> None:
    intent = told.payments.get_setup_intent(told.id)
    if intent.status == "succeeded":
        payment_methods.confirmed(told.tenant, intent, told.at, told.db, told.payments)


def card_refused(told: Told) -> None:
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


def cards_changed(told: Told) -> None:
    state = subscription_state.refresh(told.tenant, told.db, told.payments)
    payment_methods.mirror(told.tenant, told.db, told.payments, state=state)


def customer_deleted(told: Told) -> None:
    cards_changed(told)
    notices.alert(
        told.db,
        "customer_deleted",
        told.id,
        f"Customer {told.id} was deleted at Stripe; its tenant cannot be billed any more.",
        tenant_id=told.tenant.id,
    )


# Subscriptions ----------------------------------------------------------------------------------


def subscription_changed(told: Told) -> None:
    state = subscription_state.refresh(told.tenant, told.db, told.payments)
    payment_methods.mirror(told.tenant, told.db, told.payments, state=state)
    dunning.judge(told.tenant, told.db, state)


def trial_will_end(told: Told) -> None:
    """Our own calendar reminds as well; whoever is first, it is one message."""
    subscription_changed(told)
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


def checkout_ended(told: Told) -> None:
    session = told.payments.get_checkout(told.id)
    checkout.completed(told.tenant, session, told.db, told.payments)
    subscription_changed(told)


# Invoices ---------------------------------------------------------------------------------------


def invoice_changed(told: Told) -> None:
    _mirror_invoice(told, told.id)


def _mirror_invoice(told: Told, invoice_id: str) -> ports.InvoiceState:
    invoice = told.payments.get_invoice(invoice_id)
    dunning.mirror_invoice(told.tenant, invoice, told.db)
    state = subscription_state.refresh(told.tenant, told.db, told.payments)
    dunning.judge(told.tenant, told.db, state)
    return invoice


def invoice_payment_paid(told: Told) -> None:
    _mirror_invoice(told, str(told.body["invoice"]))


def action_required(told: Told) -> None:
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


def finalisation_failed(told: Told) -> None:
    _mirror_invoice(told, told.id)
    error = told.body.get("last_finalization_error") or {}
    why = str(error.get("message") or "no reason given").rstrip(".")
    notices.alert(
        told.db,
        "finalization_failed",
        told.id,
        f"Invoice {told.id} could not be finalised: {why}. Until it is, nothing is charged.",
        tenant_id=told.tenant.id,
    )


def upcoming(told: Told) -> None:
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


def hold_placed(told: Told) -> None:
    """A domain's price is held or paid: buy or renew it, if the browser came back or not."""
    purchase = _purchase(told)
    if purchase is None or purchase.state != PurchaseState.QUOTED:
        return
    intent = told.payments.get_payment_intent(told.id)
    ready = "succeeded" if purchase.automatic_capture else "requires_capture"
    if intent.status == ready:
        ids = {"tenant_id": purchase.tenant_id, "purchase_id": purchase.id}
        renews = purchase.kind == PurchaseKind.RENEWAL
        outbox.record(
            told.db, events.DomainRenewalDue(**ids) if renews else events.DomainHoldPlaced(**ids)
        )


def hold_failed(told: Told) -> None:
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


def hold_gone(told: Told) -> None:
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


def charge_changed(told: Told) -> None:
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


def refund_changed(told: Told) -> None:
    state = told.payments.get_refund(told.id)
    if state.charge is not None:
        # The way back of a hold that was never captured is a release and no refund.
        charge = told.payments.get_charge(state.charge)
        book_charge(told.tenant, charge, told.db, told.payments)
        if charge.captured:
            refunds.mirror(told.tenant, state, told.db)


def dispute_changed(told: Told) -> None:
    disputes.mirror(told.tenant, told.payments.get_dispute(told.id), told.db)
    state = subscription_state.refresh(told.tenant, told.db, told.payments)
    dunning.judge(told.tenant, told.db, state)


def fraud_warned(told: Told) -> None:
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


def acknowledged(_: Told) -> None:
    """Nothing to do but to have answered: Stripe finalises an invoice only after that."""
