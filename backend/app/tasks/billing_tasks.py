"""Jobs about money and about the people who pay."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import clock, events
from app.database import outbox
from app.database.models import (
    Domain,
    DomainPurchase,
    ProviderEvent,
    PurchaseKind,
    PurchaseState,
    SubscriptionStatus,
    Tenant,
)
from app.integrations import ports
from app.services import (
    dunning,
    notices,
    reconciliation,
    refunds,
    stripe_events,
    stripe_handlers,
    subscription_state,
)
from app.services.billing_service import BillingService
from app.services.identity_service import IdentityService
from app.services.subscription_service import SubscriptionService
from app.tasks.jobs import Again, task

BATCH = 200

REMINDERS = (1, 3)
"""Days before the end of a trial at which its owner is written to, the nearest first."""

ABANDONED_AFTER = timedelta(hours=1)
"""After the end of the offer: a payment that is just being confirmed is not cut off."""


@task("billing.send_verification_mail")
def send_verification_mail(db: Session, tenant_id: UUID, user_id: UUID) -> None:  # noqa: ARG001
    IdentityService.send_verification(user_id, db)


@task("billing.handle_provider_event")
def handle_provider_event(db: Session, provider_event_id: UUID) -> None:
    event = db.get(ProviderEvent, provider_event_id, with_for_update=True)
    if event is not None and event.handled_at is None:
        stripe_events.apply(db, event, ports.current().payments)


@task("billing.capture_purchase")
def capture_purchase(db: Session, tenant_id: UUID, domain_id: UUID) -> None:  # noqa: ARG001
    purchase_id = _purchase_of(domain_id, db)
    if purchase_id is not None:
        BillingService.charge_for_domain(purchase_id, db)


@task("billing.release_purchase")
def release_purchase(db: Session, tenant_id: UUID, domain_id: UUID) -> None:  # noqa: ARG001
    purchase_id = _purchase_of(domain_id, db)
    if purchase_id is not None:
        BillingService.release_purchase(purchase_id, db)


@task("billing.capture_renewal")
def capture_renewal(db: Session, tenant_id: UUID, domain_id: UUID, purchase_id: UUID) -> None:  # noqa: ARG001
    BillingService.charge_for_domain(purchase_id, db)


@task("billing.release_renewal")
def release_renewal(db: Session, tenant_id: UUID, domain_id: UUID, purchase_id: UUID) -> None:  # noqa: ARG001
    why = "the registrar did not renew the name"
    BillingService.release_purchase(purchase_id, db, why=why)


def _purchase_of(domain_id: UUID, db: Session) -> UUID | None:
    return db.scalar(
        select(DomainPurchase.id)
        .join(Domain, Domain.id == DomainPurchase.domain_id)
        .where(Domain.id == domain_id, DomainPurchase.kind == PurchaseKind.REGISTRATION)
    )


@task("billing.expire_trials")
def expire_trials(db: Session) -> None:
    """Trials that are over and have no card."""
    due = db.scalars(
        select(Tenant)
        .where(
            Tenant.subscription_status == SubscriptionStatus.TRIALING,
            Tenant.trial_ends_at <= clock.now(),
            Tenant.stripe_subscription_id.is_(None),
        )
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    )
    for tenant in due:
        SubscriptionService.check_trial_expired(tenant, db)


@task("billing.remind_of_trials")
def remind_of_trials(db: Session) -> None:
    """Three days and one day before; somebody late is told of the nearer one only."""
    now = clock.now()
    ending = db.scalars(
        select(Tenant).where(
            Tenant.subscription_status == SubscriptionStatus.TRIALING,
            Tenant.trial_ends_at > now,
            Tenant.trial_ends_at <= now + timedelta(days=max(REMINDERS)),
            ~Tenant.is_suspended,
        )
    )
    for tenant in ending:
        left = tenant.trial_ends_at - now
        days = next(days for days in REMINDERS if left <= timedelta(days=days))
        stripe_handlers.remind_of_trial(tenant, days, db)


@task("billing.begin_scheduled_plans")
def begin_scheduled_plans(db: Session) -> None:
    """Cheaper plans whose day has come, also when no event of the renewal has arrived."""
    due = db.scalars(
        select(Tenant)
        .where(Tenant.scheduled_plan_at <= clock.now())
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    )
    for tenant in due:
        subscription_state.begin_scheduled_plan(tenant, db)


@task("billing.collect_debts")
def collect_debts(db: Session, tenant_id: UUID) -> Again | None:
    """Another card is there: what is owed is asked of it, one invoice at a time."""
    tenant = db.get(Tenant, tenant_id, with_for_update=True)
    if tenant is not None and dunning.collect(tenant, db, ports.current().payments):
        return Again(1.0, "more is owed")
    return None


@task("billing.refund")
def refund(db: Session, tenant_id: UUID, refund_id: UUID) -> None:  # noqa: ARG001
    refunds.perform(refund_id, db, payments=ports.current().payments)


@task("billing.send_notice")
def send_notice(db: Session, tenant_id: UUID, notice_id: UUID) -> None:  # noqa: ARG001
    notices.send(notice_id, db)


@task("billing.send_alert")
def send_alert(db: Session, alert_id: UUID) -> None:
    notices.send_alert(alert_id, db)


@task("billing.reconcile")
def reconcile(db: Session) -> None:
    """Once a day: events that never came, then every account, each by a job of its own."""
    reconciliation.fetch_missed_events(db, ports.current().payments)
    for tenant_id in reconciliation.accounts(db):
        outbox.record(db, events.AccountCheckDue(tenant_id=tenant_id))


@task("billing.reconcile_account")
def reconcile_account(db: Session, tenant_id: UUID) -> None:
    reconciliation.reconcile(tenant_id, db, ports.current().payments)


@task("billing.release_quote")
def release_quote(db: Session, tenant_id: UUID, purchase_id: UUID) -> None:  # noqa: ARG001
    BillingService.release_purchase(purchase_id, db)


@task("billing.release_stale_holds")
def release_stale_holds(db: Session) -> None:
    """Quotes that nobody took up: their intents are cancelled, so that no hold stays on a card."""
    stale = db.scalars(
        select(DomainPurchase)
        .where(
            DomainPurchase.state == PurchaseState.QUOTED,
            DomainPurchase.expires_at < clock.now() - ABANDONED_AFTER,
        )
        .order_by(DomainPurchase.expires_at)
        .limit(BATCH)
    )
    for purchase in stale:
        # One job each: a task changes one thing at a provider, and one failure holds up no other.
        outbox.record(
            db,
            events.DomainQuoteAbandoned(tenant_id=purchase.tenant_id, purchase_id=purchase.id),
        )
