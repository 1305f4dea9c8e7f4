"""Trials, plans, and whether a tenant may act at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import clock, errors, events
from app.database import audit, outbox
from app.database.models import (
    PaymentMethod,
    Plan,
    SubscriptionStatus,
    SuspensionReason,
    Tenant,
)
from app.integrations import ports
from app.rules import limits, plans, trial
from app.services import kill_switch

_PAYING = frozenset({SubscriptionStatus.ACTIVE, SubscriptionStatus.PAST_DUE})


class SubscriptionService:
    """What a tenant has bought, and the switch that turns it off."""

    @staticmethod
    def create_trial(tenant: Tenant, db: Session) -> Tenant:
        """Start the trial now: seven days, five inboxes, one domain. Adds `tenant` to `db`."""
        now = clock.now()
        tenant.subscription_tier = Plan.STARTER
        tenant.subscription_status = SubscriptionStatus.TRIALING
        tenant.trial_started_at = now
        tenant.trial_ends_at = trial.ends_at(now)
        tenant.trial_inbox_limit = plans.TRIAL_INBOXES
        tenant.trial_domain_limit = plans.TRIAL_DOMAINS
        tenant.trial_converted = False
        tenant.is_suspended = False
        db.add(tenant)
        db.flush()  # The audit row needs the tenant's id, and the database its row first.
        audit.write(
            db,
            tenant.id,
            "trial_started",
            "tenant",
            tenant.id,
            {"trial_ends_at": [None, tenant.trial_ends_at.isoformat()]},
        )
        return tenant

    @staticmethod
    def open_account(
        tenant: Tenant,
        db: Session,
        *,
        email: str,
        payments: ports.PaymentGateway | None = None,
    ) -> ports.Intent:
        """Make the tenant a customer at Stripe and the SetupIntent that collects a card."""
        payments = payments or ports.current().payments
        tenant.stripe_customer_id = payments.create_customer(
            email=email, name=tenant.company_name, tenant_id=str(tenant.id), key=f"cus:{tenant.id}"
        )
        audit.write(
            db,
            tenant.id,
            "billing_account_opened",
            "tenant",
            tenant.id,
            {"stripe_customer_id": [None, tenant.stripe_customer_id]},
        )
        return payments.create_setup_intent(
            customer=tenant.stripe_customer_id, tenant_id=str(tenant.id), key=f"seti:{tenant.id}:1"
        )

    @staticmethod
    def get_trial_days_remaining(tenant: Tenant) -> int:
        """Whole days left, a begun one counted; 0 once the trial is over or paid for."""
        if tenant.subscription_status != SubscriptionStatus.TRIALING:
            return 0
        return trial.days_remaining(tenant.trial_ends_at, clock.now())

    @staticmethod
    def check_trial_expired(tenant: Tenant, db: Session) -> bool:
        """Whether the trial is over without a subscription; if so the tenant is marked.

        With a card on file Stripe charges on day 8 and its events decide; here only those without
        one are caught. Their data stays, sending and provisioning stop.
        """
        if tenant.subscription_status == SubscriptionStatus.TRIAL_EXPIRED:
            return True
        if tenant.subscription_status != SubscriptionStatus.TRIALING:
            return False
        if not trial.is_over(tenant.trial_ends_at, clock.now()):
            return False
        if tenant.stripe_subscription_id is not None:
            return False
        SubscriptionService.set_status(tenant, SubscriptionStatus.TRIAL_EXPIRED, db)
        return True

    @staticmethod
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

    @staticmethod
    def limits_of(tenant: Tenant) -> limits.Limits:
        """What this tenant may have at once."""
        on_trial = tenant.subscription_status not in _PAYING
        return limits.limits_of(plans.plan(tenant.subscription_tier), on_trial=on_trial)

    @staticmethod
    def is_entitled(tenant: Tenant) -> bool:
        """Whether the tenant has paid for sending, or is within the trial; suspended or not."""
        if tenant.subscription_status in _PAYING:
            return True
        if tenant.subscription_status != SubscriptionStatus.TRIALING:
            return False
        # Day 8 with a card: the charge is on its way, nobody is cut off meanwhile.
        return tenant.stripe_subscription_id is not None or not trial.is_over(
            tenant.trial_ends_at, clock.now()
        )

    @staticmethod
    def may_send(tenant: Tenant) -> bool:
        """Whether the mail plane should accept mail of this tenant."""
        return not tenant.is_suspended and SubscriptionService.is_entitled(tenant)

    @staticmethod
    def require_active(tenant: Tenant, db: Session) -> None:
        """Raises TenantSuspended or TrialExpired when the tenant may not make or buy anything."""
        kill_switch.require_off(tenant)
        if SubscriptionService.check_trial_expired(tenant, db):
            refused = tenant.trial_refused_for
            raise errors.TrialExpired(
                None if refused is None else "There was a trial before. Choose a plan to go on.",
                trial_ends_at=tenant.trial_ends_at.isoformat(),
                trial_refused_for=refused,
            )
        if tenant.subscription_status in {SubscriptionStatus.CANCELED, SubscriptionStatus.UNPAID}:
            raise errors.PaymentRequired(
                f"The subscription is {tenant.subscription_status}. Choose a plan to go on."
            )

    @staticmethod
    def upgrade_subscription(
        tenant: Tenant,
        plan: str,
        db: Session,
        *,
        key: str,
        payments: ports.PaymentGateway | None = None,
    ) -> Tenant:
        """Move to `plan` now. A trial ends and is paid for; a dearer plan is prorated at once; who
        had no trial begins to pay.

        `key` makes a repeat harmless at Stripe. Raises Invalid for an unknown plan, Conflict for a
        cheaper or the same one, PaymentRequired without a card or when the charge is declined.
        """
        payments = payments or ports.current().payments
        if plan not in plans.PLANS:
            raise errors.Invalid(f"plan must be one of {', '.join(plans.PLANS)}.", plan=plan)
        if tenant.stripe_subscription_id is None:
            # Of two at once, the second finds what the first has bought.
            db.refresh(tenant, with_for_update=True)
        if tenant.stripe_subscription_id is None:
            return _subscribe(tenant, plan, db, key=key, payments=payments)
        on_trial = tenant.subscription_status == SubscriptionStatus.TRIALING
        if not on_trial and not plans.is_upgrade(tenant.subscription_tier, plan):
            raise errors.Conflict(
                "Choose a plan above the present one; going down is arranged with support.",
                plan=plan,
                current=str(tenant.subscription_tier),
            )
        state = payments.change_plan(
            tenant.stripe_subscription_id, plan=plan, end_trial=on_trial, key=key
        )
        return _paid(tenant, state, db)

    @staticmethod
    def apply_state(tenant: Tenant, state: ports.SubscriptionState, db: Session) -> None:
        """Mirror what Stripe says about the subscription."""
        mirrored = {
            "stripe_subscription_id": state.id,
            "current_period_end": state.current_period_end,
            "cancel_at_period_end": state.cancel_at_period_end,
        }
        before = {name: getattr(tenant, name) for name in mirrored}
        for name, value in mirrored.items():
            setattr(tenant, name, value)
        audit.write_difference(
            db, tenant.id, "subscription_changed", "tenant", tenant.id, before, mirrored
        )
        if state.plan in plans.PLANS and state.plan != tenant.subscription_tier:
            tier, tenant.subscription_tier = tenant.subscription_tier, Plan(state.plan)
            audit.write(
                db,
                tenant.id,
                "plan_changed",
                "tenant",
                tenant.id,
                {"subscription_tier": [str(tier), state.plan]},
            )
            outbox.record(db, events.PlanChanged(tenant_id=tenant.id))
        status = {
            "trialing": SubscriptionStatus.TRIALING,
            "active": SubscriptionStatus.ACTIVE,
            "past_due": SubscriptionStatus.PAST_DUE,
            "unpaid": SubscriptionStatus.UNPAID,
            "paused": SubscriptionStatus.TRIAL_EXPIRED,
            "canceled": SubscriptionStatus.CANCELED,
            "incomplete_expired": SubscriptionStatus.CANCELED,
        }.get(state.status)
        if status is not None:
            SubscriptionService.set_status(tenant, status, db)

    @staticmethod
    def suspend_tenant(
        tenant: Tenant,
        reason: SuspensionReason | str,
        db: Session,
        *,
        note: str | None = None,
        evidence: Mapping[str, Any] | None = None,
    ) -> Tenant:
        """Turn the kill switch on; see kill_switch.turn_on."""
        return kill_switch.turn_on(tenant, reason, db, note=note, evidence=evidence)

    @staticmethod
    def reinstate_tenant(
        tenant: Tenant,
        db: Session,
        *,
        note: str | None = None,
        evidence: Mapping[str, Any] | None = None,
        only_for: SuspensionReason | None = None,
    ) -> Tenant:
        """Turn the kill switch off; see kill_switch.turn_off."""
        return kill_switch.turn_off(tenant, db, note=note, evidence=evidence, only_for=only_for)


def _subscribe(
    tenant: Tenant, plan: str, db: Session, *, key: str, payments: ports.PaymentGateway
) -> Tenant:
    """The first subscription, without a trial, by the card on file. `tenant` is held."""
    card = db.scalars(
        select(PaymentMethod).where(
            PaymentMethod.tenant_id == tenant.id,
            PaymentMethod.is_active,
            PaymentMethod.is_default,
        )
    ).one_or_none()
    if card is None or tenant.stripe_customer_id is None:
        raise errors.PaymentRequired("Add a card first: confirm the SetupIntent.")
    state = payments.create_subscription(
        customer=tenant.stripe_customer_id,
        plan=plan,
        payment_method=card.stripe_payment_method_id,
        trial_end=None,
        tenant_id=str(tenant.id),
        key=key,
    )
    return _paid(tenant, state, db)


def _paid(tenant: Tenant, state: ports.SubscriptionState, db: Session) -> Tenant:
    if state.status != "active":
        raise errors.PaymentRequired(
            f"The payment did not go through (subscription is {state.status})."
        )
    plan = [str(tenant.subscription_tier), state.plan]
    audit.write(db, tenant.id, "plan_chosen", "tenant", tenant.id, {"plan": plan})
    SubscriptionService.apply_state(tenant, state, db)
    return tenant
