"""Plans, cards, invoices, and the price of a domain."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request

from app.api.cursors import Cursor, Limit, seal, unseal
from app.api.deps import DB, CurrentTenant, EvenSuspendedTenant, public, requires
from app.api.idempotency import IdempotentRoute, Key
from app.api.responses import Envelope, Page, ok, page
from app.api.schemas import billing as s
from app.api.schemas.auth import IntentOut, PlanOut
from app.api.v1.plans import limits_out, plan_out
from app.database.models import (
    DomainPurchase,
    Invoice,
    PaymentMethod,
    Plan,
    Tenant,
    Transaction,
    TransactionType,
    new_id,
)
from app.database.queries import accounts, pages
from app.integrations import ports
from app.rules import plans
from app.rules.permissions import Permission
from app.services import checkout, dunning, plan_changes
from app.services import payment_methods as cards
from app.services.billing_service import BillingService
from app.services.subscription_service import SubscriptionService, lock

router = APIRouter(prefix="/billing", tags=["billing"], route_class=IdempotentRoute)


@router.get("/plans", response_model=Envelope[list[PlanOut]], **public())
def list_plans() -> Any:
    """What can be bought, the cheapest first."""
    return ok([plan_out(plan) for plan in plans.PLANS.values()])


@router.get(
    "/subscription",
    response_model=Envelope[s.SubscriptionOut],
    **requires(Permission.BILLING_READ, suspended_too=True),
)
def subscription(tenant: EvenSuspendedTenant) -> Any:
    """What was bought, until when, and how much of it is used."""
    return ok(_subscription(tenant))


@router.post(
    "/setup-intent",
    status_code=201,
    response_model=Envelope[IntentOut],
    **requires(
        Permission.BILLING_WRITE, audit_event="card_requested", suspended_too=True,
        idempotent=True, waits=True,
    ),
)  # fmt: skip
def setup_intent(request: Request, tenant: EvenSuspendedTenant, db: DB) -> Any:
    """Begin to add a card; Stripe.js confirms it in the browser. Nothing is charged."""
    intent = BillingService.create_setup_intent(tenant, db)
    return ok({**vars(intent), "publishable_key": request.app.state.publishable_key})


@router.get(
    "/payment-methods",
    response_model=Envelope[list[s.PaymentMethodOut]],
    **requires(Permission.BILLING_READ, suspended_too=True),
)
def payment_methods(db: DB) -> Any:
    """The cards on file, the default first."""
    cards: list[PaymentMethod] = accounts.cards(db)
    return ok(cards)


@router.post(
    "/payment-methods/{card_id}/default",
    response_model=Envelope[s.PaymentMethodOut],
    **requires(
        Permission.BILLING_WRITE, audit_event="payment_method_made_default",
        suspended_too=True, waits=True,
    ),
)  # fmt: skip
def make_default(card_id: UUID, tenant: EvenSuspendedTenant, db: DB) -> Any:
    """Charge this card from now on; what is owed is asked of it at once."""
    return ok(cards.make_default(lock(tenant, db), card_id, db, payments=ports.current().payments))


@router.delete(
    "/payment-methods/{card_id}",
    response_model=Envelope[s.PaymentMethodOut],
    **requires(
        Permission.BILLING_WRITE, audit_event="payment_method_removed",
        suspended_too=True, waits=True,
    ),
)  # fmt: skip
def remove_card(card_id: UUID, tenant: EvenSuspendedTenant, db: DB) -> Any:
    """Take a card off the account; not the one that a subscription is paid with."""
    return ok(cards.remove(lock(tenant, db), card_id, db, payments=ports.current().payments))


@router.post(
    "/checkout-session",
    status_code=201,
    response_model=Envelope[s.HostedPageOut],
    **requires(
        Permission.BILLING_WRITE, audit_event="checkout_opened", suspended_too=True,
        idempotent=True, waits=True,
    ),
)  # fmt: skip
def checkout_session(
    body: s.CheckoutIn, tenant: EvenSuspendedTenant, db: DB, key: Key = None
) -> Any:
    """A page of Stripe's to subscribe on; the subscription counts when Stripe tells of it."""
    session = BillingService.create_checkout_session(
        tenant,
        body.plan,
        db,
        success_url=body.success_url,
        cancel_url=body.cancel_url,
        key=_stripe_key("checkout", tenant, key),
    )
    return ok(session)


@router.post(
    "/portal-session",
    status_code=201,
    response_model=Envelope[s.PortalOut],
    **requires(
        Permission.BILLING_WRITE, audit_event="billing_portal_opened", suspended_too=True,
        waits=True,
    ),
)  # fmt: skip
def portal_session(body: s.PortalIn, tenant: EvenSuspendedTenant, db: DB) -> Any:
    """A page of Stripe's for cards, invoices and cancellation; its address is short-lived."""
    providers = ports.current()
    url = checkout.create_portal(
        tenant,
        db,
        return_url=body.return_url or f"{providers.platform.public_url}/",
        key=_stripe_key("portal", tenant, None),
        providers=providers,
    )
    return ok({"url": url})


@router.get(
    "/upgrade/preview",
    response_model=Envelope[s.PreviewOut],
    **requires(Permission.BILLING_READ, suspended_too=True, waits=True),
)
def preview(plan: Plan, tenant: EvenSuspendedTenant) -> Any:
    """What `plan` would cost now, to the cent; give its proration_date to /upgrade."""
    return ok(plan_changes.preview(tenant, plan, payments=ports.current().payments))


@router.post(
    "/upgrade",
    response_model=Envelope[s.SubscriptionOut],
    **requires(Permission.BILLING_WRITE, audit_event="plan_chosen", idempotent=True, waits=True),
)
def upgrade(body: s.UpgradeIn, tenant: CurrentTenant, db: DB, key: Key = None) -> Any:
    """Move to another plan: a dearer one now and prorated, a cheaper one at the period's end.

    On trial it begins to be paid for now; after the end of a subscription it begins a new one. The
    present plan takes back a cheaper one that waits.
    """
    changed = SubscriptionService.upgrade_subscription(
        tenant,
        body.plan,
        db,
        key=_stripe_key("plan", tenant, key),
        proration_date=body.proration_date,
    )
    return ok(_subscription(changed))


@router.post(
    "/cancel",
    response_model=Envelope[s.SubscriptionOut],
    **requires(
        Permission.BILLING_WRITE, audit_event="subscription_cancel_requested",
        suspended_too=True, idempotent=True, waits=True,
    ),
)  # fmt: skip
def cancel(body: s.CancelIn, tenant: EvenSuspendedTenant, db: DB, key: Key = None) -> Any:
    """Let the subscription end with the period that is paid for; /resume takes it back."""
    done = SubscriptionService.cancel(
        tenant, db, key=_stripe_key("cancel", tenant, key), comment=body.comment
    )
    return ok(_subscription(done))


@router.post(
    "/resume",
    response_model=Envelope[s.SubscriptionOut],
    **requires(
        Permission.BILLING_WRITE, audit_event="subscription_resumed", idempotent=True,
        waits=True,
    ),
)  # fmt: skip
def resume(tenant: CurrentTenant, db: DB, key: Key = None) -> Any:
    """Take a cancellation back; after the end, subscribe again at once, without a trial."""
    done = SubscriptionService.resume(tenant, db, key=_stripe_key("resume", tenant, key))
    return ok(_subscription(done))


@router.get(
    "/invoices/{invoice_id}",
    response_model=Envelope[s.InvoiceOut],
    **requires(Permission.BILLING_READ, suspended_too=True, waits=True),
)
def invoice(invoice_id: UUID, tenant: EvenSuspendedTenant, db: DB) -> Any:
    """One invoice as Stripe has it now; its links in a list may have expired."""
    return ok(dunning.look(lock(tenant, db), invoice_id, db, payments=ports.current().payments))


@router.post(
    "/invoices/{invoice_id}/pay",
    response_model=Envelope[s.InvoiceOut],
    **requires(
        Permission.BILLING_WRITE, audit_event="invoice_changed", suspended_too=True,
        idempotent=True, waits=True,
    ),
)  # fmt: skip
def pay_invoice(invoice_id: UUID, tenant: EvenSuspendedTenant, db: DB, key: Key = None) -> Any:
    """Try to collect an open invoice now. Trying often is no strike; paying lifts a suspension."""
    paid = dunning.pay(
        lock(tenant, db),
        invoice_id,
        db,
        key=_stripe_key("pay", tenant, key),
        payments=ports.current().payments,
    )
    return ok(paid)


@router.get(
    "/invoices",
    response_model=Page[s.InvoiceOut],
    **requires(Permission.BILLING_READ, suspended_too=True),
)
def invoices(db: DB, limit: Limit = 50, cursor: Cursor = None) -> Any:
    """The newest first."""
    rows, last = pages.page(
        db, accounts.invoices(), Invoice.id, after=unseal("invoices", cursor), limit=limit
    )
    return page(rows, seal("invoices", last))


@router.get(
    "/transactions",
    response_model=Page[s.TransactionOut],
    **requires(Permission.BILLING_READ, suspended_too=True),
)
def transactions(
    db: DB,
    limit: Limit = 50,
    cursor: Cursor = None,
    transaction_type: Annotated[TransactionType | None, Query()] = None,
    status: Annotated[str | None, Query(max_length=40)] = None,
) -> Any:
    """The ledger: every movement of money, the newest first."""
    rows, last = pages.page(
        db,
        accounts.ledger(kind=transaction_type, status=status),
        Transaction.id,
        after=unseal("transactions", cursor),
        limit=limit,
    )
    return page(rows, seal("transactions", last))


@router.post(
    "/domain-purchase-intent",
    status_code=201,
    response_model=Envelope[s.PurchaseIntentOut],
    responses={201: {"links": {"purchase": s.BUY_IT}}},
    **requires(Permission.DOMAINS_BUY, audit_event="domain_quoted", idempotent=True, waits=True),
)
def domain_purchase_intent(
    body: s.PurchaseIntentIn, request: Request, tenant: CurrentTenant, db: DB
) -> Any:
    """A price offer for a name, and the PaymentIntent that holds it once the card is confirmed."""
    purchase, intent = BillingService.request_domain_purchase(
        tenant, body.domain_name, body.years, db, premium_confirmed=body.confirm_premium
    )
    return ok(_offer(purchase, intent, request.app.state.publishable_key))


def _offer(purchase: DomainPurchase, intent: ports.Intent, publishable_key: str) -> dict[str, Any]:
    return {
        "purchase_id": purchase.id,
        "domain_name": purchase.domain_name,
        "years": purchase.years,
        "payment_intent_id": intent.id,
        "client_secret": intent.client_secret,
        "amount": purchase.price_cents,
        "currency": purchase.currency,
        "premium": purchase.premium,
        "expires_at": purchase.expires_at,
        "publishable_key": publishable_key,
    }


def _subscription(tenant: Tenant) -> dict[str, Any]:
    plan = plans.plan(tenant.subscription_tier)
    return {
        "status": tenant.subscription_status,
        "plan": plan.name,
        "price_cents": plan.price_cents,
        "currency": plan.currency,
        "current_period_end": tenant.current_period_end,
        "cancel_at_period_end": tenant.cancel_at_period_end,
        "scheduled_plan": tenant.scheduled_plan,
        "scheduled_plan_at": tenant.scheduled_plan_at,
        "trial_ends_at": tenant.trial_ends_at,
        "trial_days_remaining": SubscriptionService.get_trial_days_remaining(tenant),
        "trial_converted": tenant.trial_converted,
        "is_suspended": tenant.is_suspended,
        "suspension_reason": tenant.suspension_reason,
        "limits": limits_out(plan, SubscriptionService.limits_of(tenant)),
        "usage": {"inboxes": tenant.inboxes_count, "domains": tenant.domains_count},
    }


def _stripe_key(what: str, tenant: Tenant, key: str | None) -> str:
    """Our caller's key, so that a repeat after a lost answer is a repeat for Stripe as well."""
    if key is None:
        return f"{what}:{tenant.id}:{new_id()}"
    return f"{what}:{tenant.id}:{hashlib.sha256(key.encode()).hexdigest()[:32]}"
