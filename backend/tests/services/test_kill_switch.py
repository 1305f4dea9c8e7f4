"""The kill switch: who turned it, why, and what turns it back."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import ProgrammingError

from app import clock, errors
from app.database import audit
from app.database.models import (
    Decision,
    DecisionAction,
    OutboxEvent,
    ProviderEvent,
    SuspensionReason,
    Tenant,
    new_id,
)
from app.database.session import ALL_TENANTS, transaction
from app.integrations import ports
from app.rules import suspensions
from app.services import kill_switch, stripe_events
from app.services.subscription_service import SubscriptionService

Make = Callable[..., Any]


@pytest.fixture
def tenant_id(make_tenant: Make) -> UUID:
    with transaction(tenant=ALL_TENANTS) as db:
        made: UUID = make_tenant(db, stripe_customer_id="cus_1").id
        return made


def turn(tenant_id: UUID, reason: str | None, **more: Any) -> Tenant:
    with transaction(tenant=ALL_TENANTS) as db:
        tenant = db.get_one(Tenant, tenant_id)
        if reason is None:
            return SubscriptionService.reinstate_tenant(tenant, db, **more)
        return SubscriptionService.suspend_tenant(tenant, reason, db, **more)


def decisions() -> list[Decision]:
    with transaction(tenant=ALL_TENANTS) as db:
        return list(db.scalars(select(Decision).order_by(Decision.id)))


def test_each_turn_is_one_decision_that_says_who_and_why(tenant_id: UUID) -> None:
    somebody = audit.Actor("operator", new_id())
    with audit.acting(somebody):
        turn(tenant_id, "blacklisted", note="On a list.", evidence={"list": "dbl", "code": 2})
    turn(tenant_id, "blacklisted", note="Once more.")
    turn(tenant_id, None, note="Off the list.")
    turn(tenant_id, None)
    made, undone = decisions()
    assert (made.action, made.reason) == (DecisionAction.SUSPEND, SuspensionReason.BLACKLISTED)
    assert (made.evidence, made.note) == ({"list": "dbl", "code": 2}, "On a list.")
    assert (made.actor_type, made.actor_id) == ("operator", somebody.id)
    assert made.rule_version == suspensions.VERSION
    assert (undone.action, undone.reason) == ("reinstate", "blacklisted")
    assert (undone.actor_type, undone.actor_id) == ("system", None)
    assert (undone.note, undone.evidence) == ("Off the list.", {})


def test_many_at_once_decide_once(tenant_id: UUID) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: turn(tenant_id, "blacklisted"), range(8)))
    assert len(decisions()) == 1


def test_paying_does_not_lift_what_stands_for_another_reason(tenant_id: UUID) -> None:
    turn(tenant_id, "payment_failed")
    suspended = turn(tenant_id, "spam_complaint", note="And complaints.")
    assert suspended.suspension_reason == SuspensionReason.SPAM_COMPLAINT
    kept = turn(tenant_id, None, only_for=SuspensionReason.PAYMENT_FAILED)
    assert kept.is_suspended
    # The other way round nothing changes: an abuser's open invoice is the smaller matter.
    assert turn(tenant_id, "payment_failed").suspension_reason == "spam_complaint"
    assert turn(tenant_id, "terms_violation").suspension_reason == "spam_complaint"
    assert not turn(tenant_id, None).is_suspended
    assert [(row.action, row.reason) for row in decisions()] == [
        ("suspend", "payment_failed"),
        ("suspend", "spam_complaint"),
        ("reinstate", "spam_complaint"),
    ]
    with transaction(tenant=ALL_TENANTS) as db:
        told = db.scalar(select(func.count()).where(OutboxEvent.event == "TenantSuspended"))
        assert told == 1


@pytest.mark.parametrize("reason", list(SuspensionReason))
def test_a_tenant_is_told_why_and_what_to_do(tenant_id: UUID, reason: SuspensionReason) -> None:
    before = clock.now()
    turn(tenant_id, reason, note="Look here.")
    with transaction(tenant=tenant_id) as db:
        tenant = db.get_one(Tenant, tenant_id)
        told = kill_switch.told(tenant, "Look here.")
        assert told is not None
        assert (told.reason, told.note) == (reason, "Look here.")
        assert told.what_to_do == suspensions.WHAT_TO_DO[reason]
        assert told.since is not None
        assert before <= told.since <= clock.now()
        with pytest.raises(errors.TenantSuspended) as refused:
            kill_switch.require_off(tenant)
        assert refused.value.details == {"reason": reason, "since": told.since.isoformat()}
    turn(tenant_id, None)
    with transaction(tenant=tenant_id) as db:
        tenant = db.get_one(Tenant, tenant_id)
        assert kill_switch.told(tenant, None) is None
        kill_switch.require_off(tenant)


@pytest.mark.parametrize("table", ["decisions", "operator_acts"])
@pytest.mark.parametrize("verb", ["UPDATE {} SET action = 'x'", "DELETE FROM {}"])
def test_what_was_decided_cannot_be_rewritten(tenant_id: UUID, table: str, verb: str) -> None:
    turn(tenant_id, "blacklisted")
    with (
        pytest.raises(ProgrammingError, match="permission denied"),
        transaction(tenant=ALL_TENANTS) as db,
    ):
        db.execute(text(verb.format(table)))
    assert len(decisions()) == 1


# Dunning ----------------------------------------------------------------------------------------

INVOICE = ports.InvoiceState(
    id="in_1",
    customer="cus_1",
    subscription=None,
    number="1",
    status="open",
    billing_reason="subscription_cycle",
    amount_due=9700,
    amount_paid=0,
    currency="usd",
    attempt_count=1,
    next_payment_attempt=None,
    hosted_invoice_url=None,
    invoice_pdf=None,
)


class Stripe:
    """What Stripe answers for the one invoice."""

    def __init__(self) -> None:
        self.invoice = INVOICE

    def get_invoice(self, _: str) -> ports.InvoiceState:
        return self.invoice

    def list_subscriptions(self, _: str) -> list[ports.SubscriptionState]:
        return []


@pytest.fixture
def stripe() -> Any:
    return Stripe()


def tell(stripe: Any, **fields: Any) -> None:
    stripe.invoice = replace(stripe.invoice, **fields)
    with transaction(tenant=ALL_TENANTS) as db:
        event = ProviderEvent(
            provider="stripe",
            provider_id=f"evt_{new_id()}",
            event_type="invoice.payment_failed",
            occurred_at=clock.now(),
            payload={"data": {"object": {"id": "in_1", "customer": "cus_1"}}},
        )
        db.add(event)
        stripe_events.apply(db, event, stripe)


def test_dunning_decides_with_the_invoice_as_evidence(tenant_id: UUID, stripe: Any) -> None:
    tell(stripe, attempt_count=2)
    assert decisions() == []
    tell(stripe, attempt_count=3)
    (made,) = decisions()
    assert (made.action, made.reason, made.actor_type) == ("suspend", "payment_failed", "system")
    assert made.evidence["overdue"] == [{"invoice": "in_1", "attempt_count": 3}]
    tell(stripe, status="paid", amount_paid=9700)
    undone = decisions()[-1]
    assert (undone.action, undone.actor_type) == ("reinstate", "system")
    assert undone.evidence["overdue"] == []


def test_an_abuser_who_pays_stays_out(tenant_id: UUID, stripe: Any) -> None:
    tell(stripe, attempt_count=3)
    turn(tenant_id, "spam_complaint")
    tell(stripe, status="paid", amount_paid=9700)
    with transaction(tenant=ALL_TENANTS) as db:
        assert db.get_one(Tenant, tenant_id).suspension_reason == "spam_complaint"
