"""Money that does not come: attempts, retries, hard declines, recovery."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from tests.sandbox.stripe.tools import Sandbox


def _owing(sandbox: Sandbox, card: str = "pm_card_chargeCustomerFail") -> stripe.Subscription:
    """A subscription whose first real charge has just failed."""
    subscription = sandbox.trial(card)
    sandbox.advance(days=7, hours=1, seconds=5)
    return sandbox.v1.subscriptions.retrieve(subscription.id)


def _bill(sandbox: Sandbox, subscription: stripe.Subscription) -> stripe.Invoice:
    return sandbox.v1.invoices.retrieve(str(subscription.latest_invoice))


def test_three_attempts_and_then_unpaid(sandbox: Sandbox) -> None:
    subscription = _owing(sandbox)
    seen: list[Any] = []
    for days in (3, 5, 30):
        bill = _bill(sandbox, subscription)
        state = sandbox.v1.subscriptions.retrieve(subscription.id).status
        seen.append((bill.attempt_count, bill.next_payment_attempt is not None, state))
        sandbox.advance(days=days)
        subscription.latest_invoice = bill.id
    assert seen == [(1, True, "past_due"), (2, True, "past_due"), (3, False, "unpaid")]
    failures = sandbox.events(type="invoice.payment_failed", object=bill.id)
    assert [one["data"]["object"]["attempt_count"] for one in failures] == [1, 2, 3]
    assert [one["data"]["object"]["next_payment_attempt"] is None for one in failures] == [
        False,
        False,
        True,
    ]
    assert len(sandbox.v1.charges.list().data) == 3
    assert sandbox.types(type="charge.failed") == ["charge.failed"] * 3


def test_an_unpaid_subscription_gets_drafts_only(sandbox: Sandbox) -> None:
    subscription = _owing(sandbox)
    sandbox.advance(days=40)
    latest = sandbox.v1.subscriptions.retrieve(subscription.id)
    draft = _bill(sandbox, latest)
    assert (latest.status, draft.status, draft.auto_advance) == ("unpaid", "draft", False)
    assert len(sandbox.v1.charges.list().data) == 3


def test_a_hard_decline_counts_up_with_one_charge(sandbox: Sandbox) -> None:
    subscription = _owing(sandbox, "pm_card_chargeCustomerFailLostCard")
    sandbox.advance(days=9)
    bill = _bill(sandbox, subscription)
    assert bill.attempt_count == 3
    assert len(sandbox.v1.charges.list().data) == 1
    assert sandbox.v1.subscriptions.retrieve(subscription.id).status == "unpaid"


def test_a_new_card_is_tried_after_a_hard_decline(sandbox: Sandbox) -> None:
    subscription = _owing(sandbox, "pm_card_chargeCustomerFailLostCard")
    customer = str(subscription.customer)
    method = sandbox.v1.payment_methods.attach("pm_card_visa", {"customer": customer})
    sandbox.v1.subscriptions.update(subscription.id, {"default_payment_method": method.id})
    assert _bill(sandbox, subscription).status == "open"  # Nothing is retried by the change alone.
    sandbox.advance(days=3)
    assert _bill(sandbox, subscription).status == "paid"
    assert sandbox.v1.subscriptions.retrieve(subscription.id).status == "active"


def test_paying_by_hand_five_times_is_one_strike(sandbox: Sandbox) -> None:
    subscription = _owing(sandbox)
    bill = _bill(sandbox, subscription)
    for _ in range(5):
        with pytest.raises(stripe.CardError):
            sandbox.v1.invoices.pay(bill.id)
    after = _bill(sandbox, subscription)
    assert (after.attempt_count, after.next_payment_attempt) == (1, bill.next_payment_attempt)
    assert len(sandbox.v1.charges.list().data) == 6


@pytest.mark.parametrize("late", [False, True])
def test_paying_with_another_card_heals(sandbox: Sandbox, late: bool) -> None:
    subscription = _owing(sandbox)
    if late:
        sandbox.advance(days=9)
    bill = _bill(sandbox, subscription)
    method = sandbox.v1.payment_methods.attach(
        "pm_card_visa", {"customer": str(subscription.customer)}
    )
    paid = sandbox.v1.invoices.pay(bill.id, {"payment_method": method.id})
    assert (paid.status, paid.amount_paid) == ("paid", 9_700)
    assert sandbox.v1.subscriptions.retrieve(subscription.id).status == "active"
    with pytest.raises(stripe.InvalidRequestError) as caught:
        sandbox.v1.invoices.pay(bill.id)
    assert caught.value.code == "invoice_already_paid"
    sandbox.advance(days=9)
    assert _bill(sandbox, subscription).attempt_count == bill.attempt_count


@pytest.mark.parametrize(
    ("after", "status"), [("cancel", "canceled"), ("leave_past_due", "past_due")]
)
def test_what_follows_the_last_attempt_is_a_setting(
    sandbox: Sandbox, after: str, status: str
) -> None:
    sandbox.control("stripe/settings", after_retries=after, retry_days=[1])
    subscription = _owing(sandbox)
    sandbox.advance(days=1, hours=1)
    ended = sandbox.v1.subscriptions.retrieve(subscription.id)
    assert ended.status == status
    assert _bill(sandbox, subscription).attempt_count == 2
    if status == "canceled":
        assert ended.cancellation_details is not None
        assert ended.cancellation_details.reason == "payment_failed"


def test_a_renewal_that_needs_the_holder_waits_for_him(sandbox: Sandbox) -> None:
    subscription = _owing(sandbox, "pm_card_authenticationRequired")
    bill = sandbox.v1.invoices.retrieve(str(subscription.latest_invoice), {"expand": ["payments"]})
    assert (subscription.status, bill.status) == ("past_due", "open")
    assert "invoice.payment_action_required" in sandbox.types()
    assert bill.payments is not None
    intent = str(bill.payments.data[0].payment.payment_intent)
    sandbox.control("stripe/authenticate", intent=intent)
    assert _bill(sandbox, subscription).status == "paid"
    assert sandbox.v1.subscriptions.retrieve(subscription.id).status == "active"


def test_void_and_uncollectible_end_the_collection(sandbox: Sandbox) -> None:
    first, second = _owing(sandbox), _owing(sandbox)
    assert sandbox.v1.invoices.void_invoice(str(first.latest_invoice)).status == "void"
    lost = sandbox.v1.invoices.mark_uncollectible(str(second.latest_invoice))
    assert lost.status == "uncollectible"
    before = len(sandbox.v1.charges.list().data)
    sandbox.advance(days=9)
    assert len(sandbox.v1.charges.list().data) == before
    with pytest.raises(stripe.InvalidRequestError):
        sandbox.v1.invoices.void_invoice(str(first.latest_invoice))


def test_a_declined_purchase_is_no_strike(sandbox: Sandbox) -> None:
    subscription = sandbox.subscribe()
    with pytest.raises(stripe.CardError):
        sandbox.v1.payment_intents.create(
            {
                "amount": 1_299,
                "currency": "usd",
                "customer": str(subscription.customer),
                "payment_method": "pm_card_chargeDeclined",
                "confirm": True,
            }
        )
    assert sandbox.v1.subscriptions.retrieve(subscription.id).status == "active"
    assert sandbox.types(type="invoice.payment_failed") == []
