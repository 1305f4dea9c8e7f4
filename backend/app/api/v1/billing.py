"""Plans, cards, invoices, and the price of a domain."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

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
    Tenant,
    Transaction,
    TransactionType,
    new_id,
)
from app.database.queries import accounts, pages
from app.integrations import ports
from app.rules import plans
from app.rules.permissions import Permission
from app.services.billing_service import BillingService
from app.services.subscription_service import SubscriptionService

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
    "/upgrade",
    response_model=Envelope[s.SubscriptionOut],
    **requires(Permission.BILLING_WRITE, audit_event="plan_chosen", idempotent=True, waits=True),
)
def upgrade(body: s.UpgradeIn, tenant: CurrentTenant, db: DB, key: Key = None) -> Any:
    """Move to a dearer plan now, prorated; on trial, begin to pay now."""
    SubscriptionService.upgrade_subscription(tenant, body.plan, db, key=_stripe_key(tenant, key))
    return ok(_subscription(tenant))


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
        tenant, body.domain_name, body.years, db
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
        "trial_ends_at": tenant.trial_ends_at,
        "trial_days_remaining": SubscriptionService.get_trial_days_remaining(tenant),
        "trial_converted": tenant.trial_converted,
        "is_suspended": tenant.is_suspended,
        "suspension_reason": tenant.suspension_reason,
        "limits": limits_out(plan, SubscriptionService.limits_of(tenant)),
        "usage": {"inboxes": tenant.inboxes_count, "domains": tenant.domains_count},
    }


def _stripe_key(tenant: Tenant, key: str | None) -> str:
    """Our caller's key, so that a repeat after a lost answer is a repeat for Stripe as well."""
    if key is None:
        return f"plan:{tenant.id}:{new_id()}"
    return f"plan:{tenant.id}:{hashlib.sha256(key.encode()).hexdigest()[:32]}"
