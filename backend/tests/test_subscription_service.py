"""Trials, plans and the switch that turns a tenant off."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app import clock, errors
from app.database import audit
from app.database.models import (
    AuditLog,
    OutboxEvent,
    SubscriptionStatus,
    SuspensionReason,
    Tenant,
)
from app.database.session import ALL_TENANTS, transaction
from app.services.subscription_service import SubscriptionService

Make = Callable[..., Any]


def test_create_trial(db: Session) -> None:
    tenant = Tenant(company_name="Acme", company_email="a@acme.test")
    before = clock.now()
    SubscriptionService.create_trial(tenant, db)
    assert before <= tenant.trial_started_at <= clock.now()
    assert tenant.trial_ends_at - tenant.trial_started_at == timedelta(days=7)
    assert (tenant.trial_inbox_limit, tenant.trial_domain_limit) == (5, 1)
    assert tenant.subscription_status == SubscriptionStatus.TRIALING
    assert tenant.trial_converted is False
    assert SubscriptionService.get_trial_days_remaining(tenant) == 7


def test_it_works_on_an_instance_too(db: Session) -> None:
    tenant = Tenant(company_name="Acme", company_email="a@acme.test")
    assert SubscriptionService().create_trial(tenant, db) is tenant


@pytest.mark.parametrize(
    ("days", "left"),
    [(0, 7), (1, 6), (6.5, 1), (7, 0), (30, 0)],
)
def test_trial_days_remaining(
    db: Session, make_tenant: Make, travel: Make, days: float, left: int
) -> None:
    tenant = make_tenant(db, plan=None)
    travel(days=days)
    assert SubscriptionService.get_trial_days_remaining(tenant) == left


def test_a_paying_tenant_has_no_trial_days(db: Session, make_tenant: Make) -> None:
    assert SubscriptionService.get_trial_days_remaining(make_tenant(db)) == 0


def test_a_trial_without_a_card_expires_on_day_eight(
    db: Session, make_tenant: Make, travel: Make
) -> None:
    tenant = make_tenant(db, plan=None)
    assert SubscriptionService.check_trial_expired(tenant, db) is False
    travel(days=7)
    assert SubscriptionService.check_trial_expired(tenant, db) is True
    assert tenant.subscription_status == SubscriptionStatus.TRIAL_EXPIRED
    assert SubscriptionService.may_send(tenant) is False
    with pytest.raises(errors.TrialExpired):
        SubscriptionService.require_active(tenant, db)


def test_a_trial_with_a_subscription_is_left_to_stripe(
    db: Session, make_tenant: Make, travel: Make
) -> None:
    tenant = make_tenant(db, plan=None, stripe_subscription_id="sub_1")
    travel(days=8)
    assert SubscriptionService.check_trial_expired(tenant, db) is False
    assert SubscriptionService.may_send(tenant) is True


def test_limits_follow_the_plan_once_it_is_paid_for(db: Session, make_tenant: Make) -> None:
    assert SubscriptionService.limits_of(make_tenant(db, plan=None)).inboxes == 5
    assert SubscriptionService.limits_of(make_tenant(db, plan="starter")).inboxes == 100
    assert SubscriptionService.limits_of(make_tenant(db, plan="enterprise")).domains == 500


@pytest.mark.parametrize("reason", list(SuspensionReason))
def test_suspend(db: Session, make_tenant: Make, reason: SuspensionReason) -> None:
    tenant = make_tenant(db)
    SubscriptionService.suspend_tenant(tenant, reason, db)
    audit.seal(db)
    assert tenant.is_suspended
    assert tenant.suspension_reason == reason
    assert "TenantSuspended" in db.scalars(select(OutboxEvent.event)).all()
    audited = db.scalars(select(AuditLog).where(AuditLog.action == "tenant_suspended")).one()
    assert audited.changes["is_suspended"] == [False, True]
    with pytest.raises(errors.TenantSuspended, match=str(reason)):
        SubscriptionService.require_active(tenant, db)


def test_an_unknown_reason_is_refused(db: Session, make_tenant: Make) -> None:
    with pytest.raises(errors.Invalid, match="spam_complaint"):
        SubscriptionService.suspend_tenant(make_tenant(db), "because", db)


def test_suspending_twice_tells_once(make_tenant: Make) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        tenant_id = make_tenant(db).id

    def suspend(_: int) -> None:
        with transaction(tenant=ALL_TENANTS) as db:
            SubscriptionService.suspend_tenant(db.get_one(Tenant, tenant_id), "blacklisted", db)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(suspend, range(8)))
    with transaction(tenant=ALL_TENANTS) as db:
        told = db.scalars(select(OutboxEvent).where(OutboxEvent.event == "TenantSuspended")).all()
        assert len(told) == 1


def test_reinstate(db: Session, make_tenant: Make) -> None:
    tenant = make_tenant(db)
    SubscriptionService.reinstate_tenant(tenant, db)  # Nothing to undo: nothing is told.
    SubscriptionService.suspend_tenant(tenant, "spam_complaint", db)
    SubscriptionService.reinstate_tenant(tenant, db)
    db.flush()
    assert not tenant.is_suspended
    assert tenant.suspension_reason is None
    told = db.scalars(select(OutboxEvent.event).order_by(OutboxEvent.id)).all()
    assert [name for name in told if name.startswith("TenantRe")] == ["TenantReinstated"]
