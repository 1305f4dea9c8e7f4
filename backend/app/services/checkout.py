"""The pages that Stripe hosts: subscribing, and helping oneself."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlsplit

from sqlalchemy.orm import Session

from app import clock, errors
from app.database import audit
from app.database.models import SubscriptionStatus, Tenant
from app.integrations import ports
from app.rules import plans
from app.services import notices, subscription_state

LEAST_TRIAL = timedelta(hours=48)
"""Stripe takes no nearer end of a trial in a session (`subscription_data.trial_end`)."""


def create_session(
    tenant: Tenant,
    plan: str,
    db: Session,
    *,
    success_url: str,
    cancel_url: str,
    key: str,
    providers: ports.Providers,
) -> ports.CheckoutState:
    """A page where the customer subscribes with a card. Raises Invalid and Conflict.

    What is left of the trial stays free when it is at least 48 hours; later the paid time begins at
    once. The subscription counts when Stripe tells of it, never because somebody came back.
    """
    if plan not in plans.PLANS:
        raise errors.Invalid(f"plan must be one of {', '.join(plans.PLANS)}.", plan=plan)
    for name, url in (("success_url", success_url), ("cancel_url", cancel_url)):
        check_return(name, url, providers.platform)
    if tenant.stripe_customer_id is None:
        raise errors.Conflict("The account is still being opened. Try again in a moment.")
    state = subscription_state.refresh(tenant, db, providers.payments)
    if state is not None and not state.is_over:
        raise errors.Conflict("There is a subscription already. Change its plan instead.")
    left = tenant.trial_ends_at - clock.now()
    on_trial = tenant.subscription_status == SubscriptionStatus.TRIALING and left > LEAST_TRIAL
    session = providers.payments.create_checkout(
        customer=tenant.stripe_customer_id,
        plan=plan,
        trial_end=tenant.trial_ends_at if on_trial else None,
        success_url=success_url,
        cancel_url=cancel_url,
        tenant_id=str(tenant.id),
        key=key,
    )
    audit.write(db, tenant.id, "checkout_opened", "tenant", tenant.id, {"plan": [None, plan]})
    return session


def create_portal(
    tenant: Tenant, db: Session, *, return_url: str, key: str, providers: ports.Providers
) -> str:
    """The address of Stripe's portal for this customer; good for minutes. Raises as above."""
    check_return("return_url", return_url, providers.platform)
    if tenant.stripe_customer_id is None:
        raise errors.Conflict("The account is still being opened. Try again in a moment.")
    url = providers.payments.create_portal(
        customer=tenant.stripe_customer_id, return_url=return_url, key=key
    )
    audit.write(db, tenant.id, "billing_portal_opened", "tenant", tenant.id)
    return url


def check_return(name: str, url: str, platform: ports.Platform) -> None:
    """Only to where people are safe: an HTTPS page, or a page of this very installation."""
    parts = urlsplit(url)
    ours = urlsplit(platform.public_url)
    same = (parts.scheme, parts.netloc) == (ours.scheme, ours.netloc)
    if not parts.netloc or parts.username is not None or not (same or parts.scheme == "https"):
        raise errors.Invalid(f"{name} must be an https address.", **{name: url})


def completed(
    tenant: Tenant, session: ports.CheckoutState, db: Session, payments: ports.PaymentGateway
) -> None:
    """A session was completed: of a customer's living subscriptions the newest counts.

    Another one may have begun while the page was open; it is ended, and when it had cost something
    a person is called.
    """
    if session.status != "complete" or session.subscription is None:
        return
    living = [
        state for state in payments.list_subscriptions(session.customer or "") if not state.is_over
    ]
    newest = subscription_state.chosen(living)
    for other in living:
        if newest is None or other.id == newest.id:
            continue
        payments.end_subscription(other.id)
        if other.status != "trialing":
            notices.alert(
                db,
                "double_subscription",
                other.id,
                f"Subscription {other.id} was ended because checkout {session.id} made another;"
                " see whether something must be refunded.",
                tenant_id=tenant.id,
            )
    if newest is not None:
        subscription_state.apply(tenant, newest, db)
