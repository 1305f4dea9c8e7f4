"""Choosing, changing, cancelling and taking up a plan again.

Each function expects the tenant's row locked, asks Stripe for one change and mirrors its answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import clock, errors
from app.database import audit
from app.database.models import Invoice, PaymentMethod, Plan, SubscriptionStatus, Tenant
from app.integrations import ports
from app.rules import dunning, plans
from app.services import subscription_state

PREVIEW_HOLDS = timedelta(minutes=15)
"""How long a previewed price may be taken up."""


@dataclass(frozen=True)
class Outlook:
    """What choosing a plan would mean, before it is chosen."""

    plan: str
    current: str
    kind: str
    """subscribe, begin (the trial ends), upgrade or downgrade."""
    amount_due: int
    currency: str
    effective_at: datetime | None
    """None is now."""
    proration_date: datetime | None
    lines: list[ports.PreviewLine]
    refusal: str | None
    """Why it cannot be chosen at present."""


def preview(tenant: Tenant, plan: str, *, payments: ports.PaymentGateway) -> Outlook:
    """The exact price of `plan` from now; it changes nothing. Raises Invalid and Conflict."""
    _check(plan)
    kind, now = _kind(tenant, plan), clock.now().replace(microsecond=0)
    wanted, refusal, due, lines = plans.plan(plan), None, 0, []
    effective: datetime | None = None
    if kind == "subscribe":
        due = wanted.price_cents
        lines = [ports.PreviewLine(f"{wanted.title}, one month", due, False)]
    elif kind == "downgrade":
        effective = tenant.current_period_end
        try:
            _check_usage(tenant, plan)
        except errors.DowngradeRefused as error:
            refusal = error.message
    else:
        with_proration = kind == "upgrade"
        found = payments.preview_plan(
            tenant.stripe_subscription_id or "",
            plan=plan,
            end_trial=not with_proration,
            at=now,
        )
        due, lines = found.amount_due, list(found.lines)
    return Outlook(
        plan=plan,
        current=str(tenant.subscription_tier),
        kind=kind,
        amount_due=due,
        currency=wanted.currency,
        effective_at=effective,
        proration_date=now if kind == "upgrade" else None,
        lines=lines,
        refusal=refusal,
    )


def change(
    tenant: Tenant,
    plan: str,
    db: Session,
    *,
    key: str,
    proration_date: datetime | None,
    payments: ports.PaymentGateway,
) -> Tenant:
    """See SubscriptionService.upgrade_subscription."""
    _check(plan)
    _check_proration(proration_date)
    kind, before = _kind(tenant, plan), str(tenant.subscription_tier)
    match kind:
        case "subscribe":
            _subscribe(tenant, plan, db, key=key, payments=payments)
        case "downgrade":
            _downgrade(tenant, plan, db, key=key, payments=payments)
        case _:
            _upgrade(
                tenant,
                plan,
                db,
                key=key,
                end_trial=kind == "begin",
                proration_date=proration_date,
                payments=payments,
            )
    audit.write(db, tenant.id, "plan_chosen", "tenant", tenant.id, {"plan": [before, plan]})
    return tenant


def _check(plan: str) -> None:
    if plan not in plans.PLANS:
        raise errors.Invalid(f"plan must be one of {', '.join(plans.PLANS)}.", plan=plan)


def _check_proration(at: datetime | None) -> None:
    now = clock.now()
    if at is not None and not now - PREVIEW_HOLDS <= at <= now + timedelta(minutes=1):
        raise errors.Conflict("The preview is too old. Ask for a new one.")


def _kind(tenant: Tenant, plan: str) -> str:
    """Raises Conflict for the plan that one has."""
    if tenant.stripe_subscription_id is None or tenant.subscription_status in {
        SubscriptionStatus.CANCELED,
        SubscriptionStatus.TRIAL_EXPIRED,
    }:
        return "subscribe"
    if tenant.subscription_status == SubscriptionStatus.TRIALING:
        return "begin"
    if plans.is_upgrade(tenant.subscription_tier, plan):
        return "upgrade"
    if plan == tenant.subscription_tier and tenant.scheduled_plan is None:
        raise errors.Conflict("This is the present plan.", plan=plan)
    return "downgrade"


def _subscribe(
    tenant: Tenant, plan: str, db: Session, *, key: str, payments: ports.PaymentGateway
) -> Tenant:
    """A new subscription, charged at once and without another trial."""
    customer, card = tenant.stripe_customer_id, _card(tenant, db)
    if customer is None or card is None:
        raise errors.PaymentRequired("Add a card first: confirm the SetupIntent.")
    # An earlier try may have worked and only its answer been lost.
    state = subscription_state.chosen(payments.list_subscriptions(customer))
    if state is not None and state.status == "paused":
        # Paused for want of a card: the price is set first, then the paid time starts.
        if state.plan != plan:
            payments.set_plan_quietly(state.id, plan=plan, key=f"{key}:plan")
        state = payments.resume_subscription(state.id, key=key)
    elif state is None or state.is_over or state.status == "incomplete":
        _check_usage(tenant, plan)
        if state is not None and not state.is_over:
            # Its first payment never came; another plan or card begins afresh.
            payments.end_subscription(state.id)
        state = payments.create_subscription(
            customer=customer,
            plan=plan,
            payment_method=card,
            trial_end=None,
            tenant_id=str(tenant.id),
            key=key,
            or_nothing=True,
        )
    subscription_state.apply(tenant, state, db)
    if state.status == "trialing":
        # The event that began it is still on its way to us.
        return _upgrade(
            tenant, plan, db, key=key, end_trial=True, proration_date=None, payments=payments
        )
    if state.status != "active":
        raise _waits_for_customer(state, payments)
    subscription_state.convert(tenant, db)
    return tenant


def _upgrade(
    tenant: Tenant,
    plan: str,
    db: Session,
    *,
    key: str,
    end_trial: bool,
    proration_date: datetime | None,
    payments: ports.PaymentGateway,
) -> Tenant:
    subscription = tenant.stripe_subscription_id or ""
    if tenant.subscription_status == SubscriptionStatus.PAST_DUE and _owes(tenant, db):
        raise errors.PaymentRequired("Settle the open invoice first.")
    if tenant.scheduled_plan is not None:
        # Stripe has the cheaper price already; what was really paid for is prorated.
        payments.set_plan_quietly(
            subscription, plan=str(tenant.subscription_tier), key=f"{key}:undo"
        )
        subscription_state.schedule(tenant, None, None, db)
    try:
        state = payments.change_plan(
            subscription,
            plan=plan,
            end_trial=end_trial,
            key=key,
            proration_date=proration_date,
        )
    except errors.PaymentRequired as refusal:
        if refusal.details.get("decline_code") != "authentication_required":
            raise
        # The bank wants the holder: the change waits for the invoice, which has a page for that.
        state = payments.change_plan(
            subscription,
            plan=plan,
            end_trial=end_trial,
            key=f"{key}:wait",
            proration_date=proration_date,
            wait_for_customer=True,
        )
    subscription_state.apply(tenant, state, db)
    if state.pending_update or state.status != "active":
        raise _waits_for_customer(state, payments)
    subscription_state.convert(tenant, db)
    return tenant


def _waits_for_customer(
    state: ports.SubscriptionState, payments: ports.PaymentGateway
) -> errors.PaymentRequired:
    if state.latest_invoice is None:
        return errors.PaymentRequired(
            f"The payment did not go through (subscription is {state.status})."
        )
    invoice = payments.get_invoice(state.latest_invoice)
    return errors.PaymentRequired(
        "Your bank wants you to confirm the payment. The change is made as soon as you have.",
        decline_code="authentication_required",
        hosted_invoice_url=invoice.hosted_invoice_url,
    )


def _downgrade(
    tenant: Tenant, plan: str, db: Session, *, key: str, payments: ports.PaymentGateway
) -> Tenant:
    """From the next period on; what is paid for goes on until then. The present plan undoes it."""
    _check_usage(tenant, plan)
    state = payments.set_plan_quietly(tenant.stripe_subscription_id or "", plan=plan, key=key)
    if plan == tenant.subscription_tier:
        subscription_state.schedule(tenant, None, None, db)
    else:
        subscription_state.schedule(tenant, Plan(plan), state.current_period_end, db)
    subscription_state.apply(tenant, state, db)
    return tenant


def _check_usage(tenant: Tenant, plan: str) -> None:
    wanted = plans.plan(plan)
    for resource, used, allowed in (
        ("inboxes", tenant.inboxes_count, wanted.inboxes),
        ("domains", tenant.domains_count, wanted.domains),
    ):
        if used > allowed:
            raise errors.DowngradeRefused(
                plan=plan, resource=resource, used=used, allowed=allowed, limit=allowed
            )


def cancel(
    tenant: Tenant,
    db: Session,
    *,
    key: str,
    comment: str | None,
    payments: ports.PaymentGateway,
) -> Tenant:
    """See SubscriptionService.cancel."""
    subscription = _living(tenant)
    if subscription is None:
        raise errors.Conflict("There is no subscription to cancel.")
    if not tenant.cancel_at_period_end:
        state = payments.set_cancellation(
            subscription, at_period_end=True, comment=comment, key=key
        )
        subscription_state.apply(tenant, state, db)
        audit.write(db, tenant.id, "subscription_cancel_requested", "tenant", tenant.id)
    return tenant


def resume(tenant: Tenant, db: Session, *, key: str, payments: ports.PaymentGateway) -> Tenant:
    """See SubscriptionService.resume."""
    subscription = _living(tenant)
    if subscription is None or tenant.subscription_status == SubscriptionStatus.TRIAL_EXPIRED:
        if tenant.subscription_status == SubscriptionStatus.TRIALING:
            raise errors.Conflict("The trial is running; there is nothing to resume.")
        return _subscribe(tenant, str(tenant.subscription_tier), db, key=key, payments=payments)
    if not tenant.cancel_at_period_end:
        raise errors.Conflict("The subscription is not cancelled; there is nothing to resume.")
    state = payments.set_cancellation(subscription, at_period_end=False, comment=None, key=key)
    subscription_state.apply(tenant, state, db)
    audit.write(db, tenant.id, "subscription_resumed", "tenant", tenant.id)
    return tenant


def _living(tenant: Tenant) -> str | None:
    ended = tenant.subscription_status == SubscriptionStatus.CANCELED
    return None if ended else tenant.stripe_subscription_id


def _card(tenant: Tenant, db: Session) -> str | None:
    """The default card; the newest when none is, as before the event that makes it one."""
    return db.scalar(
        select(PaymentMethod.stripe_payment_method_id)
        .where(PaymentMethod.tenant_id == tenant.id, PaymentMethod.is_active)
        .order_by(PaymentMethod.is_default.desc(), PaymentMethod.created_at.desc())
        .limit(1)
    )


def _owes(tenant: Tenant, db: Session) -> bool:
    found = db.scalars(select(Invoice).where(Invoice.tenant_id == tenant.id))
    return any(
        dunning.Debt(row.status, row.attempt_count, row.billing_reason).is_overdue for row in found
    )
