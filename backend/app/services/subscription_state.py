"""Mirroring what Stripe says about a tenant's subscription: the one place that writes it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from app import clock, events
from app.database import audit, outbox
from app.database.models import NoticeKind, Plan, SubscriptionStatus, Tenant
from app.integrations import ports
from app.rules import plans, trial
from app.services import notices

STATUSES = {
    "trialing": SubscriptionStatus.TRIALING,
    "active": SubscriptionStatus.ACTIVE,
    "past_due": SubscriptionStatus.PAST_DUE,
    "unpaid": SubscriptionStatus.UNPAID,
    "paused": SubscriptionStatus.TRIAL_EXPIRED,
    "canceled": SubscriptionStatus.CANCELED,
    "incomplete_expired": SubscriptionStatus.CANCELED,
}
"""Stripe's words to ours; `incomplete` is a first payment that is still being made."""

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def chosen(
    found: Sequence[ports.SubscriptionState], present: str | None = None
) -> ports.SubscriptionState | None:
    """Which of a customer's subscriptions counts: a living one before an ended one.

    Among several living ones the one we know already, else the newest. It depends on Stripe's
    present state only, so that late events of an old subscription change nothing.
    """
    living = [state for state in found if not state.is_over]
    known = next((state for state in living if state.id == present), None)
    newest_first = sorted(
        living or found, key=lambda state: (state.created or _LONG_AGO, state.id), reverse=True
    )
    return known or next(iter(newest_first), None)


def refresh(
    tenant: Tenant, db: Session, payments: ports.PaymentGateway
) -> ports.SubscriptionState | None:
    """Ask Stripe and mirror the answer; None when the customer never subscribed."""
    if tenant.stripe_customer_id is None:
        return None
    state = chosen(
        payments.list_subscriptions(tenant.stripe_customer_id), tenant.stripe_subscription_id
    )
    if state is not None:
        apply(tenant, state, db)
    return state


def apply(tenant: Tenant, state: ports.SubscriptionState, db: Session) -> None:
    """Write down what Stripe says about the subscription; repeats are quiet."""
    _remember(tenant, state, db)
    _apply_plan(tenant, state, db)
    status = STATUSES.get(state.status)
    if state.status == "incomplete_expired" and not tenant.trial_converted:
        # It never began; another card begins it.
        status = SubscriptionStatus.TRIAL_EXPIRED
    if (
        state.status == "incomplete"
        and tenant.subscription_status == SubscriptionStatus.TRIALING
        and trial.is_over(tenant.trial_ends_at, clock.now())
    ):
        # The first payment is not made, and the days that needed none are over.
        status = SubscriptionStatus.TRIAL_EXPIRED
    if status == SubscriptionStatus.CANCELED and tenant.subscription_status != status:
        notices.owe(db, tenant.id, NoticeKind.CANCELED, state.id)
    if status is not None:
        set_status(tenant, status, db)


def _remember(tenant: Tenant, state: ports.SubscriptionState, db: Session) -> None:
    changes = {}
    for name, value in (
        ("stripe_subscription_id", state.id),
        ("current_period_end", state.current_period_end),
        ("cancel_at_period_end", state.cancel_at_period_end),
    ):
        before = getattr(tenant, name)
        if before != value:
            setattr(tenant, name, value)
            changes[name] = [_plain(before), _plain(value)]
    if changes:
        audit.write(db, tenant.id, "subscription_changed", "tenant", tenant.id, changes)


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value


def _apply_plan(tenant: Tenant, state: ports.SubscriptionState, db: Session) -> None:
    """The plan that Stripe bills is the plan, except while a cheaper one waits for its day.

    Then Stripe has the next period's price already, and what was paid for goes on until its end.
    """
    if state.plan not in plans.PLANS:
        return
    waits = tenant.scheduled_plan is not None and tenant.scheduled_plan_at is not None
    if waits and state.plan == tenant.scheduled_plan and not state.is_over:
        if clock.now() < (tenant.scheduled_plan_at or _LONG_AGO):
            return
        set_plan(tenant, tenant.scheduled_plan or Plan(state.plan), db)
        schedule(tenant, None, None, db)
        return
    if waits:
        # Undone or overtaken at Stripe, by the portal for example.
        schedule(tenant, None, None, db)
    set_plan(tenant, Plan(state.plan), db)


def set_plan(tenant: Tenant, plan: Plan, db: Session) -> None:
    """Change the plan; its limits follow by a job."""
    if tenant.subscription_tier == plan:
        return
    before, tenant.subscription_tier = tenant.subscription_tier, plan
    audit.write(
        db,
        tenant.id,
        "plan_changed",
        "tenant",
        tenant.id,
        {"subscription_tier": [str(before), str(plan)]},
    )
    outbox.record(db, events.PlanChanged(tenant_id=tenant.id))


def schedule(tenant: Tenant, plan: Plan | None, at: datetime | None, db: Session) -> None:
    """Have `plan` begin at `at`; None takes a scheduled one back."""
    before = tenant.scheduled_plan
    tenant.scheduled_plan, tenant.scheduled_plan_at = plan, at
    if before != plan:
        audit.write(
            db,
            tenant.id,
            "plan_scheduled",
            "tenant",
            tenant.id,
            {"scheduled_plan": [before and str(before), plan and str(plan)]},
        )


def begin_scheduled_plan(tenant: Tenant, db: Session) -> None:
    """The day of a scheduled plan has come, whether or not an event of the renewal has."""
    plan, at = tenant.scheduled_plan, tenant.scheduled_plan_at
    if plan is not None and at is not None and at <= clock.now():
        set_plan(tenant, plan, db)
        schedule(tenant, None, None, db)


def set_status(tenant: Tenant, status: SubscriptionStatus, db: Session) -> None:
    """Change the subscription's state and say so in the audit trail; repeats are quiet."""
    if tenant.subscription_status == status:
        return
    before, tenant.subscription_status = tenant.subscription_status, status
    audit.write(
        db,
        tenant.id,
        "subscription_status_changed",
        "tenant",
        tenant.id,
        {"subscription_status": [str(before), str(status)]},
    )
    outbox.record(db, events.PlanChanged(tenant_id=tenant.id))


def convert(tenant: Tenant, db: Session) -> None:
    """The first payment has arrived: the trial's caps are over. Repeats are quiet."""
    if tenant.trial_converted:
        return
    tenant.trial_converted = True
    audit.write(
        db, tenant.id, "trial_converted", "tenant", tenant.id, {"trial_converted": [False, True]}
    )
    outbox.record(db, events.PlanChanged(tenant_id=tenant.id))
