"""PaymentGateway against Stripe: plans, hosted pages, refunds, disputes and the books."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import httpx
import pytest

from app.errors import OutcomeUnknown, PaymentRequired, ProviderFailed
from app.integrations.payments import SubscriptionState
from app.integrations.stripe_client import StripeGateway
from tests.contracts.test_payments import (
    ALL_TRIES,
    confirm,
    gateway_at,
    hold,
    key,
    listed,
    save_card,
    subscribe,
)
from tests.contracts.tools import Line, Sandbox


@pytest.fixture
def gateway(line: Line) -> StripeGateway:
    return gateway_at(f"{line.url}/stripe")


@pytest.fixture
def customer(gateway: StripeGateway) -> str:
    return gateway.create_customer(email="a@b.test", name="A", tenant_id="t1", key=key())


@pytest.fixture
def paid(sandbox: Sandbox, gateway: StripeGateway, customer: str) -> SubscriptionState:
    """A month of Starter that began just now."""
    card = save_card(sandbox, gateway, customer)
    return subscribe(sandbox, gateway, customer, card, days=None)


def now(sandbox: Sandbox) -> datetime:
    return sandbox.world.clock.now().replace(microsecond=0)


def advance(sandbox: Sandbox, **step: float) -> None:
    sandbox.control("clock/advance", **step)


# Plans ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("days", [1, 10, 29])
def test_a_preview_is_what_is_charged(
    sandbox: Sandbox, gateway: StripeGateway, customer: str, paid: SubscriptionState, days: int
) -> None:
    advance(sandbox, days=days)
    at = now(sandbox)
    seen = gateway.preview_plan(paid.id, plan="growth", end_trial=False, at=at)
    assert gateway.get_subscription(paid.id).plan == "starter"
    assert seen.amount_due == seen.total == sum(line.amount for line in seen.lines)
    assert {line.proration for line in seen.lines} == {True}
    advance(sandbox, hours=0.2)
    changed = gateway.change_plan(
        paid.id, plan="growth", end_trial=False, key=key(), proration_date=at
    )
    assert changed.plan == "growth"
    newest = listed(sandbox, "charges", customer=customer)[0]
    assert newest["amount"] == seen.amount_due


def test_a_quiet_change_costs_nothing_until_the_renewal(
    sandbox: Sandbox, gateway: StripeGateway, customer: str, paid: SubscriptionState
) -> None:
    same = key()
    for _ in range(2):
        assert gateway.set_plan_quietly(paid.id, plan="growth", key=same).plan == "growth"
    assert len(listed(sandbox, "charges", customer=customer)) == 1
    assert paid.current_period_end is not None
    left = paid.current_period_end - now(sandbox) + timedelta(hours=2)
    advance(sandbox, seconds=left.total_seconds())
    amounts = [charge["amount"] for charge in listed(sandbox, "charges", customer=customer)]
    assert amounts == [29_700, 9_700]


def test_a_cancellation_is_set_and_taken_back(
    gateway: StripeGateway, paid: SubscriptionState
) -> None:
    gone = gateway.set_cancellation(paid.id, at_period_end=True, comment="bye", key=key())
    assert gone.cancel_at_period_end
    back = gateway.set_cancellation(paid.id, at_period_end=False, comment=None, key=key())
    assert not back.cancel_at_period_end
    assert not back.is_over


def test_ending_twice_is_ending_once(gateway: StripeGateway, paid: SubscriptionState) -> None:
    for _ in range(2):
        assert gateway.end_subscription(paid.id).is_over
    (only,) = gateway.list_subscriptions(paid.customer)
    assert (only.id, only.status) == (paid.id, "canceled")


def test_all_or_nothing(sandbox: Sandbox, gateway: StripeGateway, customer: str) -> None:
    bad = save_card(sandbox, gateway, customer, "pm_card_chargeCustomerFail")
    with pytest.raises(PaymentRequired):
        gateway.create_subscription(
            customer=customer,
            plan="starter",
            payment_method=bad,
            trial_end=None,
            tenant_id="t1",
            key=key(),
            or_nothing=True,
        )
    assert [s for s in gateway.list_subscriptions(customer) if not s.is_over] == []


def test_a_trial_paused_for_want_of_a_card_is_resumed(
    sandbox: Sandbox, gateway: StripeGateway, customer: str
) -> None:
    card = save_card(sandbox, gateway, customer)
    trial = subscribe(sandbox, gateway, customer, card)
    gateway.remove_card(card)
    gateway.remove_card(card)
    assert gateway.list_cards(customer) == []
    advance(sandbox, days=8)
    assert gateway.get_subscription(trial.id).status == "paused"
    again = save_card(sandbox, gateway, customer)
    gateway.set_default_payment_method(
        customer=customer, payment_method=again, subscription=trial.id
    )
    assert gateway.resume_subscription(trial.id, key=key()).status == "active"
    assert gateway.get_customer(customer).default_payment_method == again


def test_paying_what_is_paid_changes_nothing(
    sandbox: Sandbox, gateway: StripeGateway, customer: str, paid: SubscriptionState
) -> None:
    assert paid.latest_invoice is not None
    done = gateway.pay_invoice(paid.latest_invoice, payment_method=None, key=key())
    assert (done.status, done.amount_paid) == ("paid", 9_700)
    assert len(listed(sandbox, "charges", customer=customer)) == 1
    assert done.period_start is not None
    assert done.period_end == paid.current_period_end


# Hosted pages -----------------------------------------------------------------------------------


def test_checkout_and_portal(sandbox: Sandbox, gateway: StripeGateway, customer: str) -> None:
    made = gateway.create_checkout(
        customer=customer,
        plan="growth",
        trial_end=now(sandbox) + timedelta(days=5),
        success_url="https://a.example/yes",
        cancel_url="https://a.example/no",
        tenant_id="t1",
        key=key(),
    )
    assert (made.status, made.mode, made.subscription) == ("open", "subscription", None)
    assert made.url is not None
    httpx.post(made.url, data={"card": "pm_card_visa"})
    done = gateway.get_checkout(made.id)
    assert (done.status, done.customer) == ("complete", customer)
    state = gateway.get_subscription(done.subscription or "")
    assert (state.plan, state.status) == ("growth", "trialing")
    page = gateway.create_portal(customer=customer, return_url="https://a.example/", key=key())
    assert httpx.get(page).is_success


# Money on its way back --------------------------------------------------------------------------


@pytest.fixture
def captured(sandbox: Sandbox, gateway: StripeGateway, customer: str) -> str:
    intent = hold(gateway, customer)
    confirm(sandbox, intent).raise_for_status()
    return gateway.capture(intent.id, key=key()).id


def test_a_refund_has_one_effect_for_a_key(
    sandbox: Sandbox, gateway: StripeGateway, captured: str
) -> None:
    same = key()
    sandbox.fault("stripe", "POST .*/refunds", "fail_after", times=ALL_TRIES)
    with pytest.raises(OutcomeUnknown):
        gateway.refund(captured, amount=400, metadata={"refund_id": "r1"}, key=same)
    made = gateway.refund(captured, amount=400, metadata={"refund_id": "r1"}, key=same)
    assert (made.amount, made.status, made.metadata["refund_id"]) == (400, "succeeded", "r1")
    assert len(listed(sandbox, "refunds", payment_intent=captured)) == 1
    assert gateway.get_refund(made.id) == made
    rest = gateway.refund(captured, amount=None, metadata={}, key=key())
    assert rest.amount == 1_428 - 400
    with pytest.raises(ProviderFailed):
        gateway.refund(captured, amount=None, metadata={}, key=key())


def test_a_dispute_is_read(sandbox: Sandbox, gateway: StripeGateway, captured: str) -> None:
    charge = gateway.get_payment_intent(captured).latest_charge or ""
    made = sandbox.control("stripe/disputes", charge=charge, reason="fraudulent")
    found = gateway.get_dispute(made["id"])
    assert (found.charge, found.amount, found.status) == (charge, 1_428, "needs_response")
    assert found.due_by is not None
    assert [one.id for one in gateway.disputes_of(charge)] == [made["id"]]


# Books and events -------------------------------------------------------------------------------


@pytest.mark.slow
def test_long_lists_are_read_to_their_end(
    sandbox: Sandbox, gateway: StripeGateway, customer: str
) -> None:
    for _ in range(105):
        intent = hold(gateway, customer)
        confirm(sandbox, intent)
    found = list(gateway.charges_of(customer))
    assert len({charge.id for charge in found}) == 105


@pytest.mark.parametrize(
    "read", [lambda g, c: list(g.charges_of(c)), lambda g, c: list(g.invoices_of(c))]
)
def test_the_books_of_a_new_customer_are_empty(
    gateway: StripeGateway, customer: str, read: Callable[[StripeGateway, str], list[object]]
) -> None:
    assert read(gateway, customer) == []


def test_events_are_found_by_time_and_kind(
    sandbox: Sandbox, gateway: StripeGateway, customer: str
) -> None:
    advance(sandbox, hours=1)
    since = now(sandbox)
    intent = hold(gateway, customer)
    confirm(sandbox, intent).raise_for_status()
    many = [f"nothing.of_this_kind_{n}" for n in range(25)]
    found = list(gateway.events_since(since, ["charge.succeeded", *many]))
    assert {event.type for event in found} == {"charge.succeeded"}
    (ours,) = [event for event in found if event.object["customer"] == customer]
    assert gateway.get_event(ours.id).payload == ours.payload
    with pytest.raises(ProviderFailed):
        gateway.get_event("evt_nothing")
