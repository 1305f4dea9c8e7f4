"""Signup to first payment, as the product does it, with the browser's half played by HTTP."""

from __future__ import annotations

import pytest
import stripe

from tests.sandbox.stripe.tools import Receiver, Sandbox, until

DAY = 86_400


def _sign_up(sandbox: Sandbox, card: str = "pm_card_visa") -> stripe.Subscription:
    v1 = sandbox.v1
    customer = v1.customers.create(
        {"email": "a@b.test", "name": "A", "metadata": {"tenant_id": "t1"}},
        {"idempotency_key": "cus:t1"},
    )
    intent = v1.setup_intents.create(
        {
            "customer": customer.id,
            "usage": "off_session",
            "allowed_payment_method_types": ["card"],
            "metadata": {"tenant_id": "t1", "purpose": "signup"},
        },
        {"idempotency_key": "seti:t1:1"},
    )
    done = sandbox.browser(
        f"setup_intents/{intent.id}/confirm",
        client_secret=intent.client_secret or "",
        payment_method=card,
    )
    assert done.status_code == 200, done.text
    method = v1.setup_intents.retrieve(intent.id).payment_method
    assert isinstance(method, str)
    assert v1.payment_methods.retrieve(method).customer == customer.id
    v1.customers.update(customer.id, {"invoice_settings": {"default_payment_method": method}})
    return v1.subscriptions.create(
        {
            "customer": customer.id,
            "items": [{"price": sandbox.price()}],
            "default_payment_method": method,
            "trial_end": sandbox.now() + 7 * DAY,
            "trial_settings": {"end_behavior": {"missing_payment_method": "pause"}},
            "payment_settings": {"save_default_payment_method": "on_subscription"},
            "collection_method": "charge_automatically",
            "billing_mode": {"type": "flexible"},
            "off_session": True,
            "metadata": {"tenant_id": "t1", "plan": "starter"},
        },
        {"idempotency_key": "sub:t1:1"},
    )


def test_the_trial_costs_nothing_and_the_eighth_day_9700(sandbox: Sandbox) -> None:
    subscription = _sign_up(sandbox)
    assert subscription.status == "trialing"
    item = subscription["items"].data[0]
    assert item.current_period_end == subscription.trial_end
    zero = sandbox.v1.invoices.retrieve(str(subscription.latest_invoice))
    assert (zero.status, zero.amount_paid, zero.billing_reason) == (
        "paid",
        0,
        "subscription_create",
    )

    sandbox.advance(days=6, hours=23)
    assert sandbox.v1.subscriptions.retrieve(subscription.id).status == "trialing"
    sandbox.advance(hours=1, seconds=5)
    now_active = sandbox.v1.subscriptions.retrieve(subscription.id)
    assert now_active.status == "active"
    draft = sandbox.v1.invoices.retrieve(str(now_active.latest_invoice))
    assert (draft.status, draft.billing_reason) == ("draft", "subscription_cycle")
    assert sandbox.v1.charges.list().data == []

    sandbox.advance(hours=1)
    paid = sandbox.v1.invoices.retrieve(draft.id, {"expand": ["payments"]})
    assert (paid.status, paid.amount_paid, paid.attempt_count) == ("paid", 9_700, 1)
    assert paid.parent.subscription_details.metadata.to_dict() == {
        "tenant_id": "t1",
        "plan": "starter",
    }
    [charge] = sandbox.v1.charges.list().data
    assert (charge.amount, charge.captured, charge.status) == (9_700, True, "succeeded")
    [payment] = sandbox.v1.invoice_payments.list(
        {"payment": {"type": "payment_intent", "payment_intent": str(charge.payment_intent)}}
    ).data
    assert (payment.invoice, payment.status) == (paid.id, "paid")
    assert paid.payments.data[0].id == payment.id


def test_one_long_jump_does_everything_in_order_at_its_own_time(
    sandbox: Sandbox, receiver: Receiver
) -> None:
    subscription = _sign_up(sandbox)
    start, trial_end = subscription.created, subscription.trial_end
    sandbox.advance(days=7 + 70)
    numbers = [one.created for one in sandbox.v1.invoices.list().data[::-1]]
    assert numbers[0] == start
    assert numbers[1] == trial_end
    assert len(numbers) == 4  # The trial, its end, and two renewals.
    events = sandbox.events(since=start)
    moments = [event["created"] for event in events]
    assert moments == sorted(moments)
    by_type = {event["type"]: event["created"] for event in reversed(events)}
    assert by_type["customer.subscription.trial_will_end"] == trial_end - 3 * DAY
    first_charge = by_type["charge.succeeded"]
    assert first_charge == trial_end + 3_600
    until(lambda: len(receiver.requests) == len(sandbox.events()), "every delivery")
    assert [event.id for event in receiver.events()] == [one["id"] for one in sandbox.events()]


def test_the_end_of_the_trial_tells_what_changed(sandbox: Sandbox) -> None:
    subscription = _sign_up(sandbox)
    sandbox.advance(days=7, seconds=5)
    [event] = sandbox.events(type="customer.subscription.updated", object=subscription.id)
    assert event["data"]["previous_attributes"]["status"] == "trialing"
    assert event["api_version"] == "2026-10-28.endive"
    assert event["request"] == {"id": None, "idempotency_key": None}


def test_a_short_trial_is_reminded_at_once(sandbox: Sandbox) -> None:
    sandbox.trial(days=2)
    until(lambda: sandbox.types(type="customer.subscription.trial_will_end"), "the reminder")


@pytest.mark.parametrize(
    ("behaviour", "status", "event"),
    [
        ("pause", "paused", "customer.subscription.paused"),
        ("cancel", "canceled", "customer.subscription.deleted"),
        ("create_invoice", "past_due", "invoice.payment_failed"),
    ],
)
def test_a_trial_without_a_card_ends_as_it_was_agreed(
    sandbox: Sandbox, behaviour: str, status: str, event: str
) -> None:
    subscription = sandbox.trial(
        None, trial_settings={"end_behavior": {"missing_payment_method": behaviour}}
    )
    sandbox.advance(days=7, hours=1, seconds=5)
    assert sandbox.v1.subscriptions.retrieve(subscription.id).status == status
    assert event in sandbox.types()
    assert sandbox.v1.charges.list().data == []


def test_a_paused_trial_resumes_when_a_card_pays(sandbox: Sandbox) -> None:
    subscription = sandbox.trial(
        None, trial_settings={"end_behavior": {"missing_payment_method": "pause"}}
    )
    sandbox.advance(days=8)
    customer = str(subscription.customer)
    method = sandbox.v1.payment_methods.attach("pm_card_visa", {"customer": customer})
    sandbox.v1.subscriptions.update(subscription.id, {"default_payment_method": method.id})
    resumed = sandbox.v1.subscriptions.resume(subscription.id)
    assert resumed.status == "active"
    assert resumed.status_details is None
    assert "customer.subscription.resumed" in sandbox.types()
    assert [one.amount for one in sandbox.v1.charges.list().data] == [9_700]


def test_the_zero_invoice_of_a_trial_can_be_turned_off(sandbox: Sandbox) -> None:
    sandbox.control("stripe/settings", zero_trial_invoice=False)
    assert sandbox.trial().latest_invoice is None
    assert sandbox.v1.invoices.list().data == []


def test_a_draft_waits_for_its_acknowledgement_when_told_to(
    sandbox: Sandbox, receiver: Receiver
) -> None:
    sandbox.control("stripe/settings", hold_invoices_until_acknowledged=True)
    receiver.answer = lambda kind: 500 if kind == "invoice.created" else 200
    subscription = sandbox.trial()
    sandbox.advance(days=7, hours=2)
    latest = str(sandbox.v1.subscriptions.retrieve(subscription.id).latest_invoice)
    assert sandbox.v1.invoices.retrieve(latest).status == "draft"
    receiver.answer = lambda kind: 200
    sandbox.advance(seconds=120)
    waiting = sandbox.world.store.collection("stripe.deliveries")
    until(lambda: not waiting, "the deliveries")
    sandbox.advance(seconds=120)
    assert sandbox.v1.invoices.retrieve(latest).status == "paid"
