"""Trials, plans, and whether a tenant may act at all."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import clock, errors
from app.database import audit
from app.database.models import (
    NoticeKind,
    Plan,
    SubscriptionStatus,
    SuspensionReason,
    Tenant,
)
from app.integrations import ports
from app.rules import limits, plans, trial
from app.services import kill_switch, notices, plan_changes, subscription_state

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
        subscription_state.set_status(tenant, SubscriptionStatus.TRIAL_EXPIRED, db)
        notices.owe(db, tenant.id, NoticeKind.TRIAL_EXPIRED, tenant.trial_ends_at.isoformat())
        return True

    @staticmethod
    def limits_of(tenant: Tenant) -> limits.Limits:
        """What this tenant may have at once."""
        # Stripe calls a subscription active before the first payment was even tried.
        on_trial = tenant.subscription_status not in _PAYING or not tenant.trial_converted
        allowed = limits.limits_of(plans.plan(tenant.subscription_tier), on_trial=on_trial)
        if tenant.scheduled_plan is None:
            return allowed
        # What is added now must still fit when the cheaper plan begins.
        soon = limits.limits_of(plans.plan(tenant.scheduled_plan), on_trial=on_trial)
        return limits.Limits(min(allowed.inboxes, soon.inboxes), min(allowed.domains, soon.domains))

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
        proration_date: datetime | None = None,
        payments: ports.PaymentGateway | None = None,
    ) -> Tenant:
        """Move to `plan`: a dearer one now and prorated, a cheaper one at the period's end.

        A trial ends and is paid for; somebody without a living subscription begins one. `key`
        makes a repeat harmless at Stripe, `proration_date` is the instant that a preview named.
        Raises Invalid for an unknown plan, Conflict for the present one, DowngradeRefused while
        usage is above the cheaper one, PaymentRequired without a card or when it says no.
        """
        payments = payments or ports.current().payments
        tenant = lock(tenant, db)
        return plan_changes.change(
            tenant, plan, db, key=key, proration_date=proration_date, payments=payments
        )

    @staticmethod
    def cancel(
        tenant: Tenant,
        db: Session,
        *,
        key: str,
        comment: str | None = None,
        payments: ports.PaymentGateway | None = None,
    ) -> Tenant:
        """Let the subscription end with what is paid for. Raises Conflict when there is none."""
        payments = payments or ports.current().payments
        return plan_changes.cancel(
            lock(tenant, db), db, key=key, comment=comment, payments=payments
        )

    @staticmethod
    def resume(
        tenant: Tenant,
        db: Session,
        *,
        key: str,
        payments: ports.PaymentGateway | None = None,
    ) -> Tenant:
        """Take a cancellation back; after the end, subscribe again at once and without a trial.

        Raises Conflict when nothing was cancelled, PaymentRequired without a card or when it says
        no.
        """
        payments = payments or ports.current().payments
        return plan_changes.resume(lock(tenant, db), db, key=key, payments=payments)

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
        forgive: bool = True,
    ) -> Tenant:
        """Turn the kill switch off; see kill_switch.turn_off."""
        return kill_switch.turn_off(
            tenant, db, note=note, evidence=evidence, only_for=only_for, forgive=forgive
        )


def lock(tenant: Tenant, db: Session) -> Tenant:
    """The tenant's row, locked and fresh: whatever touches its money takes this first."""
    return db.scalars(
        select(Tenant)
        .where(Tenant.id == tenant.id)
        # Not against those who only refer to the row: an insert elsewhere need not wait.
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).one()
