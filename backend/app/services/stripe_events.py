"""What each Stripe event means to us.

Events come late, twice and in any order, so none is believed: the object it names is fetched again
and its present state is mirrored. Handlers are keyed by event type; a type that is not here is kept
and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app import clock, events
from app.database import audit, outbox
from app.database.models import (
    DomainPurchase,
    Invoice,
    ProviderEvent,
    PurchaseState,
    SubscriptionStatus,
    SuspensionReason,
    Tenant,
    TransactionType,
    new_id,
)
from app.integrations import ports
from app.services import billing_service, cards, ledger
from app.services.subscription_service import SubscriptionService
from app.services.trial_service import TrialService
from app.utils import monitoring

STRIKES = 3
"""Failed attempts of one invoice that suspend a tenant (`invoice.attempt_count`)."""

_NEVER_BEGUN = frozenset({"incomplete", "incomplete_expired"})
"""The first payment failed, so nothing was bought; another card buys another subscription."""

_TOLD_OF_INVOICES = ("status", "amount_due_cents", "amount_paid_cents", "attempt_count")

Handler = Callable[[Session, dict[str, Any], ports.PaymentGateway], None]


def apply(db: Session, event: ProviderEvent, payments: ports.PaymentGateway) -> None:
    """Do what `event` asks for and stamp it; events of one customer are applied one at a time."""
    handler = HANDLERS.get(event.event_type)
    if handler is not None:
        body: dict[str, Any] = event.payload["data"]["object"]
        customer = body.get("customer")
        if isinstance(customer, str):
            # An advisory lock, because the tenant may not know its customer id yet.
            db.execute(
                text("SELECT pg_advisory_xact_lock(hashtextextended(:customer, 0))"),
                {"customer": customer},
            )
        handler(db, body, payments)
    event.handled_at = clock.now()


def _tenant(db: Session, customer: str | None) -> Tenant | None:
    if customer is None:
        return None
    return db.scalars(
        select(Tenant)
        .where(Tenant.stripe_customer_id == customer)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()


def _card_confirmed(db: Session, body: dict[str, Any], payments: ports.PaymentGateway) -> None:
    intent = payments.get_setup_intent(body["id"])
    tenant = _tenant(db, intent.customer)
    if tenant is None or intent.status != "succeeded" or intent.payment_method is None:
        return
    card = payments.get_card(intent.payment_method)
    cards.keep(card, tenant, db)
    payments.set_default_payment_method(
        customer=intent.customer or "",
        payment_method=card.payment_method,
        subscription=tenant.stripe_subscription_id,
    )
    TrialService.claim_for_card(tenant, card.fingerprint, db)
    # Who has no trial is charged nothing before choosing a plan.
    if tenant.stripe_subscription_id is None and tenant.trial_refused_for is None:
        now = clock.now()
        state = payments.create_subscription(
            customer=intent.customer or "",
            plan=tenant.subscription_tier,
            payment_method=card.payment_method,
            # The end that was promised at sign-up: a late event must not lengthen the trial.
            trial_end=tenant.trial_ends_at if tenant.trial_ends_at > now else None,
            tenant_id=str(tenant.id),
            key=f"sub:{tenant.id}:1",
        )
        SubscriptionService.apply_state(tenant, state, db)


def _card_detached(db: Session, body: dict[str, Any], payments: ports.PaymentGateway) -> None:
    card = payments.get_card(body["id"])
    if card.customer is None:
        cards.forget(card.payment_method, db)


def _subscription_changed(
    db: Session, body: dict[str, Any], payments: ports.PaymentGateway
) -> None:
    state = payments.get_subscription(body["id"])
    tenant = _tenant(db, state.customer)
    if tenant is None or tenant.stripe_subscription_id not in {None, state.id}:
        return
    if tenant.stripe_subscription_id is None and state.status in _NEVER_BEGUN:
        return
    SubscriptionService.apply_state(tenant, state, db)
    if state.status == "unpaid" or (state.status == "canceled" and _has_debt(db, tenant)):
        evidence = {"subscription": state.id, "status": state.status}
        SubscriptionService.suspend_tenant(
            tenant, SuspensionReason.PAYMENT_FAILED, db, evidence=evidence
        )


def _invoice_changed(db: Session, body: dict[str, Any], payments: ports.PaymentGateway) -> None:
    state = payments.get_invoice(body["id"])
    tenant = _tenant(db, state.customer)
    if tenant is None:
        return
    _mirror_invoice(db, tenant, state)
    if state.status == "paid" and state.amount_paid > 0:
        _invoice_paid(db, tenant, state, payments)
    elif state.status == "open" and state.attempt_count > 0:
        if tenant.subscription_status == SubscriptionStatus.ACTIVE:
            SubscriptionService.set_status(tenant, SubscriptionStatus.PAST_DUE, db)
        if state.attempt_count >= STRIKES:
            evidence = {
                "invoice": state.id,
                "attempt_count": state.attempt_count,
                "strikes": STRIKES,
            }
            SubscriptionService.suspend_tenant(
                tenant, SuspensionReason.PAYMENT_FAILED, db, evidence=evidence
            )


def _mirror_invoice(db: Session, tenant: Tenant, state: ports.InvoiceState) -> None:
    row = db.scalars(select(Invoice).where(Invoice.stripe_invoice_id == state.id)).one_or_none()
    if row is None:
        row = Invoice(id=new_id(), tenant_id=tenant.id, stripe_invoice_id=state.id)
        db.add(row)
    before = {name: getattr(row, name) for name in _TOLD_OF_INVOICES}
    row.number, row.status, row.billing_reason = state.number, state.status, state.billing_reason
    row.amount_due_cents, row.amount_paid_cents = state.amount_due, state.amount_paid
    row.currency, row.attempt_count = state.currency, state.attempt_count
    row.next_payment_attempt = state.next_payment_attempt
    row.hosted_invoice_url, row.invoice_pdf = state.hosted_invoice_url, state.invoice_pdf
    after = {name: getattr(row, name) for name in _TOLD_OF_INVOICES}
    audit.write_difference(db, tenant.id, "invoice_changed", "invoice", row.id, before, after)


def _invoice_paid(
    db: Session, tenant: Tenant, state: ports.InvoiceState, payments: ports.PaymentGateway
) -> None:
    if not tenant.trial_converted and state.subscription is not None:
        tenant.trial_converted = True
        audit.write(
            db,
            tenant.id,
            "trial_converted",
            "tenant",
            tenant.id,
            {"trial_converted": [False, True]},
        )
        outbox.record(db, events.PlanChanged(tenant_id=tenant.id))
    if state.subscription is not None:
        SubscriptionService.apply_state(tenant, payments.get_subscription(state.subscription), db)
    if tenant.suspension_reason == SuspensionReason.PAYMENT_FAILED and not _has_debt(db, tenant):
        evidence = {"invoice": state.id, "amount_paid_cents": state.amount_paid}
        SubscriptionService.reinstate_tenant(
            tenant, db, evidence=evidence, only_for=SuspensionReason.PAYMENT_FAILED
        )


def _has_debt(db: Session, tenant: Tenant) -> bool:
    open_ = select(func.count()).where(
        Invoice.tenant_id == tenant.id, Invoice.status == "open", Invoice.attempt_count > 0
    )
    return bool(db.scalar(open_))


def _hold_placed(db: Session, body: dict[str, Any], payments: ports.PaymentGateway) -> None:
    """A domain's price is held: buy it, also when the browser never came back."""
    purchase = _purchase(db, body)
    if purchase is not None and purchase.state == PurchaseState.QUOTED:
        intent = payments.get_payment_intent(body["id"])
        if intent.status == "requires_capture":
            outbox.record(
                db,
                events.DomainHoldPlaced(tenant_id=purchase.tenant_id, purchase_id=purchase.id),
            )


def _hold_failed(db: Session, body: dict[str, Any], _: ports.PaymentGateway) -> None:
    purchase = _purchase(db, body)
    if purchase is not None and purchase.state == PurchaseState.QUOTED:
        error = body.get("last_payment_error") or {}
        # Another card may still be tried with the same intent, so the quote lives on.
        why = str(error.get("message") or "The payment was declined.")[:500]
        before, purchase.failure = purchase.failure, why
        audit.write_difference(
            db,
            purchase.tenant_id,
            "domain_purchase_declined",
            "domain_purchase",
            purchase.id,
            {"failure": before},
            {"failure": why},
        )


def _hold_gone(db: Session, body: dict[str, Any], payments: ports.PaymentGateway) -> None:
    purchase = _purchase(db, body)
    if purchase is None or payments.get_payment_intent(body["id"]).status != "canceled":
        return
    if purchase.state == PurchaseState.QUOTED:
        billing_service.move(purchase, PurchaseState.VOIDED, db)


def _purchase(db: Session, body: dict[str, Any]) -> DomainPurchase | None:
    return db.scalars(
        select(DomainPurchase)
        .where(DomainPurchase.stripe_payment_intent_id == body["id"])
        .with_for_update()
    ).one_or_none()


def _charge_seen(db: Session, body: dict[str, Any], payments: ports.PaymentGateway) -> None:
    """Evidence for the ledger only: a charge at authorisation is not a payment yet."""
    charge = payments.get_charge(body["id"])
    tenant = _tenant(db, charge.customer)
    if tenant is None:
        return
    purchase_id: UUID | None = None
    if charge.payment_intent is not None:
        purchase_id = db.scalar(
            select(DomainPurchase.id).where(
                DomainPurchase.stripe_payment_intent_id == charge.payment_intent
            )
        )
    if charge.status == "failed":
        kind = TransactionType.FAILURE
    elif purchase_id is not None:
        kind = TransactionType.AUTHORISATION
    else:
        kind = TransactionType.CHARGE
    posted = ledger.post(
        db,
        tenant.id,
        kind,
        stripe_id=charge.id,
        cents=charge.amount,
        currency=charge.currency,
        status=charge.status,
        description=charge.description or charge.failure_code,
        purchase_id=purchase_id,
    )
    if posted and kind == TransactionType.CHARGE:
        monitoring.STRIPE_SUCCESS.inc()


HANDLERS: dict[str, Handler] = {
    "setup_intent.succeeded": _card_confirmed,
    "payment_method.detached": _card_detached,
    "customer.subscription.created": _subscription_changed,
    "customer.subscription.updated": _subscription_changed,
    "customer.subscription.deleted": _subscription_changed,
    "customer.subscription.paused": _subscription_changed,
    "customer.subscription.resumed": _subscription_changed,
    "invoice.finalized": _invoice_changed,
    "invoice.paid": _invoice_changed,
    "invoice.payment_succeeded": _invoice_changed,
    "invoice.payment_failed": _invoice_changed,
    "invoice.voided": _invoice_changed,
    "invoice.marked_uncollectible": _invoice_changed,
    "payment_intent.amount_capturable_updated": _hold_placed,
    "payment_intent.payment_failed": _hold_failed,
    "payment_intent.canceled": _hold_gone,
    "charge.succeeded": _charge_seen,
    "charge.failed": _charge_seen,
}
