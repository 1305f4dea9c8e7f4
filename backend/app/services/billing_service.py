"""Money: cards, holds for domains, webhooks, the ledger."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import clock, errors
from app.database import audit
from app.database.models import (
    DomainPurchase,
    NoticeKind,
    PurchaseKind,
    PurchaseState,
    Tenant,
    TransactionType,
    new_id,
)
from app.integrations import ports
from app.services import checkout, event_store, ledger, notices, offers, refunds
from app.services.registrar_service import RegistrarService
from app.services.subscription_service import SubscriptionService, lock


class BillingService:
    """Every movement of money goes through here; Stripe decides, we mirror."""

    @staticmethod
    def create_setup_intent(
        tenant: Tenant, db: Session, *, payments: ports.PaymentGateway | None = None
    ) -> ports.Intent:
        """A SetupIntent to collect another card; nothing is charged."""
        payments = payments or ports.current().payments
        intent = payments.create_setup_intent(
            customer=_customer(tenant),
            tenant_id=str(tenant.id),
            key=f"seti:{tenant.id}:{new_id()}",
        )
        audit.write(db, tenant.id, "card_requested", "tenant", tenant.id)
        return intent

    @staticmethod
    def request_domain_purchase(
        tenant: Tenant,
        domain_name: str,
        years: int,
        db: Session,
        *,
        premium_confirmed: bool = False,
        providers: ports.Providers | None = None,
    ) -> tuple[DomainPurchase, ports.Intent]:
        """Quote a name and place the PaymentIntent that will hold its price.

        Nothing is held until the card is confirmed in the browser, nothing captured before the name
        is registered; with automatic capture it is charged, and refunded when the name cannot be
        had. Raises Invalid, DomainTaken, PremiumNotConfirmed, DomainLimitExceeded, TenantSuspended,
        TrialExpired and provider errors; nothing is kept then.
        """
        providers = providers or ports.current()
        SubscriptionService.require_active(tenant, db)
        _refuse_beyond_plan(tenant)
        quote = RegistrarService.quote(
            domain_name, years, premium_confirmed=premium_confirmed, providers=providers
        )
        purchase = DomainPurchase(
            id=new_id(),
            tenant_id=tenant.id,
            domain_name=quote.domain_name,
            years=years,
            registrar=providers.registrar.name,
            cost_cents=quote.cost_cents,
            price_cents=quote.price_cents,
            currency=quote.currency,
            premium=quote.premium,
            automatic_capture=providers.platform.automatic_capture,
            expires_at=clock.now() + timedelta(minutes=providers.platform.quote_minutes),
            state=PurchaseState.QUOTED,
        )
        purchase.signature = offers.sign(purchase)
        intent = providers.payments.create_payment_intent(
            customer=_customer(tenant),
            amount=purchase.price_cents,
            currency=purchase.currency,
            description=f"Domain {purchase.domain_name}, {years} year(s)",
            metadata={
                "tenant_id": str(tenant.id),
                "order_id": str(purchase.id),
                "domain": purchase.domain_name,
                "kind": str(PurchaseKind.REGISTRATION),
                "years": str(years),
                "registrar": purchase.registrar,
            },
            key=f"pi:{purchase.id}",
            automatic=purchase.automatic_capture,
        )
        purchase.stripe_payment_intent_id = intent.id
        db.add(purchase)
        audit.write(
            db,
            tenant.id,
            "domain_quoted",
            "domain_purchase",
            purchase.id,
            {"domain_name": [None, purchase.domain_name], "price": [None, purchase.price_cents]},
        )
        return purchase, intent

    @staticmethod
    def charge_for_domain(
        purchase_id: UUID, db: Session, *, payments: ports.PaymentGateway | None = None
    ) -> DomainPurchase:
        """Capture the hold of a registered name. Repeats are harmless.

        A hold that is gone becomes a loss for a human to settle, never a second charge.
        """
        payments = payments or ports.current().payments
        purchase = _lock_purchase(purchase_id, db)
        if purchase.state != PurchaseState.AUTHORISED:
            return purchase
        intent_id = _intent_of(purchase)
        # Looking comes first: an earlier capture may have worked and only its answer been lost,
        # and Stripe repeats a stored failure for a day to the same key.
        intent = payments.get_payment_intent(intent_id)
        if intent.status == "requires_capture":
            intent = payments.capture(intent_id, key=f"cap:{purchase.id}")
        if intent.status != "succeeded":
            why = f"the hold cannot be captured any more (it is {intent.status})"
            move(purchase, PurchaseState.LOSS, db, failure=why)
            notices.alert(
                db,
                "loss",
                str(purchase.id),
                f"{purchase.domain_name} is {_DONE[purchase.kind]} and {why}. Settle it with the"
                " customer.",
                tenant_id=purchase.tenant_id,
            )
            return purchase
        ledger.post(
            db,
            purchase.tenant_id,
            TransactionType.CAPTURE,
            stripe_id=intent_id,
            cents=intent.amount_received or purchase.price_cents,
            currency=purchase.currency,
            description=f"Domain {_described(purchase)}",
            purchase_id=purchase.id,
        )
        move(purchase, PurchaseState.CAPTURED, db)
        notices.owe(
            db,
            purchase.tenant_id,
            NoticeKind.PURCHASE_RECEIPT,
            str(purchase.id),
            cents=purchase.price_cents,
            currency=purchase.currency,
            description=_described(purchase),
            reference=intent_id,
            link=None,
        )
        return purchase

    @staticmethod
    def release_purchase(
        purchase_id: UUID,
        db: Session,
        *,
        why: str | None = None,
        payments: ports.PaymentGateway | None = None,
    ) -> DomainPurchase:
        """Let go of the money for a name that could not be had. Repeats are harmless.

        A hold is cancelled, which costs nothing; a charge is refunded by a job of its own.
        """
        payments = payments or ports.current().payments
        purchase = _lock_purchase(purchase_id, db)
        if purchase.state not in {PurchaseState.QUOTED, PurchaseState.AUTHORISED}:
            return purchase
        if purchase.stripe_payment_intent_id is None:
            # A renewal whose day has not come: nobody was asked for money yet.
            move(purchase, PurchaseState.VOIDED, db, failure=why)
            return purchase
        intent_id = purchase.stripe_payment_intent_id
        if purchase.automatic_capture:
            intent = payments.get_payment_intent(intent_id)
            if intent.status == "succeeded":
                tenant = db.get_one(Tenant, purchase.tenant_id)
                refunds.request(
                    tenant,
                    intent_id,
                    db,
                    cause=f"{purchase.domain_name} could not be registered",
                    purchase_id=purchase.id,
                )
                return purchase
        held = purchase.state == PurchaseState.AUTHORISED
        payments.release(intent_id, key=f"void:{purchase.id}")
        if held:
            ledger.post(
                db,
                purchase.tenant_id,
                TransactionType.RELEASE,
                stripe_id=intent_id,
                cents=purchase.price_cents,
                currency=purchase.currency,
                description=f"Domain {purchase.domain_name}: the hold was released",
                purchase_id=purchase.id,
            )
        move(purchase, PurchaseState.VOIDED, db, failure=why)
        return purchase

    @staticmethod
    def create_checkout_session(
        tenant: Tenant,
        plan: str,
        db: Session,
        *,
        success_url: str,
        cancel_url: str,
        key: str,
        providers: ports.Providers | None = None,
    ) -> ports.CheckoutState:
        """A page of Stripe's where the customer subscribes. Raises Invalid and Conflict."""
        return checkout.create_session(
            lock(tenant, db),
            plan,
            db,
            success_url=success_url,
            cancel_url=cancel_url,
            key=key,
            providers=providers or ports.current(),
        )

    @staticmethod
    def handle_webhook(
        payload: bytes, sig_header: str, *, payments: ports.PaymentGateway | None = None
    ) -> UUID | None:
        """Verify and store one Stripe event, once; a task does the work later.

        Opens its own transaction, because it must be durable before Stripe is told 200. Returns the
        id of our row, None when it was handled before. Raises Invalid for a bad signature.
        """
        payments = payments or ports.current().payments
        return event_store.receive(payments.read_webhook(payload, sig_header), payments)


def _described(purchase: DomainPurchase) -> str:
    what = "renewal for " if purchase.kind == PurchaseKind.RENEWAL else ""
    return f"{purchase.domain_name}, {what}{purchase.years} year(s)"


_DONE = {PurchaseKind.REGISTRATION: "registered", PurchaseKind.RENEWAL: "renewed"}


def _refuse_beyond_plan(tenant: Tenant) -> None:
    limit = SubscriptionService.limits_of(tenant).domains
    if tenant.domains_count >= limit:
        raise errors.DomainLimitExceeded(limit=limit, used=tenant.domains_count, requested=1)


def _customer(tenant: Tenant) -> str:
    if tenant.stripe_customer_id is None:
        raise errors.Conflict("The account is still being opened. Try again in a moment.")
    return tenant.stripe_customer_id


def _intent_of(purchase: DomainPurchase) -> str:
    if purchase.stripe_payment_intent_id is None:
        raise errors.Conflict("This purchase has no payment.")
    return purchase.stripe_payment_intent_id


def _lock_purchase(purchase_id: UUID, db: Session) -> DomainPurchase:
    purchase = db.scalars(
        select(DomainPurchase).where(DomainPurchase.id == purchase_id).with_for_update()
    ).one_or_none()
    if purchase is None:
        raise errors.NotFound(resource="purchase")
    return purchase


def move(
    purchase: DomainPurchase, state: PurchaseState, db: Session, failure: str | None = None
) -> None:
    """Put a purchase into another state, and that into the audit trail."""
    before = {"state": purchase.state, "failure": purchase.failure}
    purchase.state, purchase.failure = state, failure and failure[:500]
    audit.write_difference(
        db,
        purchase.tenant_id,
        f"domain_purchase_{state}",
        "domain_purchase",
        purchase.id,
        before,
        {"state": purchase.state, "failure": purchase.failure},
    )
