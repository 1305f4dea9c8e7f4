"""Changing, cancelling and renewing subscriptions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import stripe

from sandbox.stripe import values
from tests.sandbox.stripe.tools import Sandbox

DAY = 86_400


def _item(subscription: stripe.Subscription) -> stripe.SubscriptionItem:
    [item] = subscription["items"].data
    return item


def _upgrade(subscription: stripe.Subscription, price: str, **more: Any) -> Any:
    return {
        "items": [{"id": _item(subscription).id, "price": price}],
        "proration_behavior": "always_invoice",
        "payment_behavior": "pending_if_incomplete",
        **more,
    }


def test_without_a_trial_it_is_paid_at_once(sandbox: Sandbox) -> None:
    subscription = sandbox.subscribe()
    invoice = sandbox.v1.invoices.retrieve(str(subscription.latest_invoice))
    assert (subscription.status, invoice.status, invoice.amount_paid) == ("active", "paid", 9_700)
    assert invoice.billing_reason == "subscription_create"
    assert _item(subscription).current_period_start == subscription.created


def test_the_shape_is_that_of_the_pinned_version(sandbox: Sandbox) -> None:
    subscription = sandbox.subscribe()
    raw = subscription.to_dict()
    assert "current_period_end" not in raw
    assert raw["items"]["data"][0]["current_period_end"] > sandbox.now()
    invoice = sandbox.v1.invoices.retrieve(str(subscription.latest_invoice)).to_dict()
    assert not {"subscription", "charge", "payment_intent", "paid", "payments"} & set(invoice)
    assert invoice["parent"]["subscription_details"]["subscription"] == subscription.id
    line = invoice["lines"]["data"][0]
    assert line["pricing"]["price_details"]["price"] == sandbox.price()


def test_an_upgrade_in_mid_cycle_is_prorated_to_the_cent(sandbox: Sandbox) -> None:
    subscription = sandbox.subscribe()
    start, end = _item(subscription).current_period_start, _item(subscription).current_period_end
    sandbox.advance(days=10)
    at = start + 10 * DAY
    growth = sandbox.price("growth")
    preview = sandbox.v1.invoices.create_preview(
        {
            "customer": str(subscription.customer),
            "subscription": subscription.id,
            "subscription_details": {
                "items": [{"id": _item(subscription).id, "price": growth}],
                "proration_behavior": "always_invoice",
                "proration_date": at,
            },
        }
    )
    changed = sandbox.v1.subscriptions.update(
        subscription.id, _upgrade(subscription, growth, proration_date=at)
    )
    invoice = sandbox.v1.invoices.retrieve(str(changed.latest_invoice))
    left, whole = end - at, end - start
    expected = [-round(9_700 * left / whole), round(29_700 * left / whole)]
    assert [line.amount for line in invoice.lines.data] == expected
    assert (invoice.status, invoice.amount_paid) == ("paid", sum(expected))
    assert preview.amount_due == sum(expected)
    assert all(
        line.parent.subscription_item_details.proration
        for line in invoice.lines.data
        if line.parent is not None and line.parent.subscription_item_details is not None
    )
    assert _item(changed).price.id == growth
    assert _item(changed).current_period_end == end
    assert invoice.billing_reason == "subscription_update"


def test_an_upgrade_that_is_not_paid_stays_pending_and_then_expires(sandbox: Sandbox) -> None:
    subscription = sandbox.subscribe()
    customer = sandbox.v1.customers.retrieve(str(subscription.customer))
    method = str(customer.invoice_settings.default_payment_method)
    sandbox.control("stripe/cards", payment_method=method, charge="insufficient_funds")
    changed = sandbox.v1.subscriptions.update(
        subscription.id, _upgrade(subscription, sandbox.price("growth"))
    )
    assert changed.status == "active"
    assert _item(changed).price.lookup_key == "starter_monthly"
    assert changed.pending_update is not None
    assert changed.pending_update.subscription_items is not None
    assert changed.pending_update.subscription_items[0].price.lookup_key == "growth_monthly"
    invoice = str(changed.latest_invoice)
    assert sandbox.v1.invoices.retrieve(invoice).status == "open"
    sandbox.advance(hours=24)
    after = sandbox.v1.subscriptions.retrieve(subscription.id)
    assert (after.status, after.pending_update) == ("active", None)
    assert sandbox.v1.invoices.retrieve(invoice).status == "void"
    assert "customer.subscription.pending_update_expired" in sandbox.types()


def test_a_pending_upgrade_is_applied_when_its_invoice_is_paid(sandbox: Sandbox) -> None:
    subscription = sandbox.subscribe()
    customer = sandbox.v1.customers.retrieve(str(subscription.customer))
    method = str(customer.invoice_settings.default_payment_method)
    sandbox.control("stripe/cards", payment_method=method, charge="insufficient_funds")
    changed = sandbox.v1.subscriptions.update(
        subscription.id, _upgrade(subscription, sandbox.price("growth"))
    )
    sandbox.control("stripe/cards", payment_method=method, charge="ok")
    sandbox.v1.invoices.pay(str(changed.latest_invoice))
    after = sandbox.v1.subscriptions.retrieve(subscription.id)
    assert (_item(after).price.lookup_key, after.pending_update) == ("growth_monthly", None)
    assert "customer.subscription.pending_update_applied" in sandbox.types()


def test_an_upgrade_that_ends_the_trial_charges_the_full_new_price(sandbox: Sandbox) -> None:
    subscription = sandbox.trial()
    sandbox.advance(days=2)
    changed = sandbox.v1.subscriptions.update(
        subscription.id, _upgrade(subscription, sandbox.price("growth"), trial_end="now")
    )
    assert changed.status == "active"
    invoice = sandbox.v1.invoices.retrieve(str(changed.latest_invoice))
    assert (invoice.status, invoice.amount_paid) == ("paid", 29_700)
    now = sandbox.now()
    assert abs(changed.trial_end - now) < 5
    assert _item(changed).current_period_start == changed.trial_end
    sandbox.advance(days=6)
    assert len(sandbox.v1.charges.list().data) == 1  # The old end of the trial means nothing.


def test_a_trial_stays_a_trial_when_its_upgrade_is_declined(sandbox: Sandbox) -> None:
    subscription = sandbox.trial("pm_card_chargeCustomerFail")
    changed = sandbox.v1.subscriptions.update(
        subscription.id, _upgrade(subscription, sandbox.price("growth"), trial_end="now")
    )
    assert (changed.status, _item(changed).price.lookup_key) == ("trialing", "starter_monthly")


def test_error_if_incomplete_changes_nothing(sandbox: Sandbox) -> None:
    subscription = sandbox.trial("pm_card_chargeCustomerFail")
    with pytest.raises(stripe.CardError):
        sandbox.v1.subscriptions.update(
            subscription.id,
            _upgrade(
                subscription,
                sandbox.price("growth"),
                trial_end="now",
                payment_behavior="error_if_incomplete",
            ),
        )
    after = sandbox.v1.subscriptions.retrieve(subscription.id)
    assert (after.status, _item(after).price.lookup_key) == ("trialing", "starter_monthly")
    with pytest.raises(stripe.CardError):
        sandbox.subscribe("pm_card_chargeCustomerFail", payment_behavior="error_if_incomplete")


def test_pending_updates_take_only_what_stripe_lets_wait(sandbox: Sandbox) -> None:
    subscription = sandbox.subscribe()
    with pytest.raises(stripe.InvalidRequestError) as caught:
        sandbox.v1.subscriptions.update(
            subscription.id, _upgrade(subscription, sandbox.price("growth"), metadata={"a": "b"})
        )
    assert caught.value.param == "metadata"


def test_without_the_item_id_a_second_item_is_added(sandbox: Sandbox) -> None:
    subscription = sandbox.trial()
    changed = sandbox.v1.subscriptions.update(
        subscription.id, {"items": [{"price": sandbox.price("growth")}]}
    )
    assert len(changed["items"].data) == 2
    with pytest.raises(stripe.InvalidRequestError):
        sandbox.v1.subscriptions.update(
            subscription.id, {"items": [{"price": sandbox.price("growth")}]}
        )


def test_prorations_that_are_not_invoiced_come_with_the_renewal(sandbox: Sandbox) -> None:
    subscription = sandbox.subscribe()
    changed = sandbox.v1.subscriptions.update(
        subscription.id,
        {"items": [{"id": _item(subscription).id, "price": sandbox.price("growth")}]},
    )
    assert changed.latest_invoice == subscription.latest_invoice
    sandbox.advance(days=32)
    renewed = sandbox.v1.subscriptions.retrieve(subscription.id)
    invoice = sandbox.v1.invoices.retrieve(str(renewed.latest_invoice))
    assert len(invoice.lines.data) == 3
    assert abs(invoice.amount_paid - (29_700 - 9_700 + 29_700)) <= 1


def test_credit_of_a_downgrade_is_used_by_the_next_invoice(sandbox: Sandbox) -> None:
    subscription = sandbox.subscribe()
    item = _item(subscription)
    sandbox.v1.subscriptions.update(
        subscription.id,
        {
            "items": [{"id": item.id, "price": sandbox.price("growth")}],
            "proration_behavior": "none",
        },
    )
    changed = sandbox.v1.subscriptions.update(
        subscription.id,
        {
            "items": [{"id": item.id, "price": sandbox.price("starter")}],
            "proration_behavior": "always_invoice",
        },
    )
    credit = sandbox.v1.customers.retrieve(str(changed.customer)).balance
    assert credit is not None
    assert -20_000 <= credit < -19_000
    sandbox.advance(days=32)
    after = sandbox.v1.customers.retrieve(str(changed.customer))
    assert after.balance == credit + 9_700


def test_cancel_at_period_end_and_its_undoing(sandbox: Sandbox) -> None:
    subscription = sandbox.subscribe()
    planned = sandbox.v1.subscriptions.update(
        subscription.id,
        {
            "cancel_at_period_end": True,
            "cancellation_details": {"feedback": "too_expensive", "comment": "hm"},
        },
    )
    assert planned.cancel_at == _item(planned).current_period_end
    undone = sandbox.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": False})
    assert (undone.cancel_at, undone.canceled_at) == (None, None)
    sandbox.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    sandbox.advance(days=32)
    ended = sandbox.v1.subscriptions.retrieve(subscription.id)
    assert ended.status == "canceled"
    assert ended.ended_at == _item(subscription).current_period_end
    assert ended.cancellation_details is not None
    assert ended.cancellation_details.reason == "cancellation_requested"
    assert ended.cancellation_details.feedback == "too_expensive"
    assert sandbox.types()[-1] == "customer.subscription.deleted"
    assert len(sandbox.v1.charges.list().data) == 1


def test_cancel_now(sandbox: Sandbox) -> None:
    subscription = sandbox.subscribe()
    assert sandbox.v1.subscriptions.cancel(subscription.id).status == "canceled"
    assert sandbox.v1.subscriptions.list().data == []
    assert len(sandbox.v1.subscriptions.list({"status": "all"}).data) == 1
    sandbox.advance(days=60)
    assert len(sandbox.v1.charges.list().data) == 1
    with pytest.raises(stripe.InvalidRequestError):
        sandbox.v1.subscriptions.cancel(subscription.id)


def test_deleting_the_customer_ends_everything(sandbox: Sandbox) -> None:
    subscription = sandbox.subscribe()
    gone = sandbox.v1.customers.delete(str(subscription.customer))
    assert gone.deleted
    assert sandbox.v1.subscriptions.retrieve(subscription.id).status == "canceled"
    assert sandbox.v1.customers.list().data == []
    with pytest.raises(stripe.InvalidRequestError):
        sandbox.v1.setup_intents.create({"customer": gone.id})


def test_a_first_payment_that_fails_leaves_it_incomplete_for_23_hours(sandbox: Sandbox) -> None:
    subscription = sandbox.subscribe("pm_card_chargeCustomerFail")
    assert subscription.status == "incomplete"
    invoice = sandbox.v1.invoices.retrieve(str(subscription.latest_invoice))
    assert (invoice.status, invoice.attempt_count, invoice.next_payment_attempt) == (
        "open",
        1,
        None,
    )
    sandbox.advance(hours=24)
    after = sandbox.v1.subscriptions.retrieve(subscription.id)
    assert after.status == "incomplete_expired"
    assert sandbox.v1.invoices.retrieve(invoice.id).status == "void"


def test_the_browser_can_pay_a_first_invoice(sandbox: Sandbox) -> None:
    subscription = sandbox.subscribe(
        None,
        payment_behavior="default_incomplete",
        payment_settings={"save_default_payment_method": "on_subscription"},
        expand=["latest_invoice.confirmation_secret"],
    )
    assert subscription.status == "incomplete"
    invoice = subscription.latest_invoice
    assert isinstance(invoice, stripe.Invoice)
    assert invoice.confirmation_secret is not None
    secret = invoice.confirmation_secret.client_secret
    paid = sandbox.browser(
        f"payment_intents/{secret.partition('_secret_')[0]}/confirm",
        client_secret=secret,
        payment_method="pm_card_visa",
    )
    assert paid.status_code == 200
    after = sandbox.v1.subscriptions.retrieve(subscription.id)
    assert after.status == "active"
    assert after.default_payment_method is not None
    sandbox.advance(days=32)
    assert len(sandbox.v1.charges.list().data) == 2


def test_an_upcoming_invoice_is_announced_a_week_before(sandbox: Sandbox) -> None:
    subscription = sandbox.subscribe()
    sandbox.advance(days=25)
    [event] = sandbox.events(type="invoice.upcoming")
    upcoming = event["data"]["object"]
    assert upcoming["amount_due"] == 9_700
    assert upcoming["period_end"] == _item(subscription).current_period_end
    assert upcoming["id"] not in {one.id for one in sandbox.v1.invoices.list().data}


@pytest.mark.parametrize(
    ("anchor", "ends"),
    [
        ("2026-01-31", ["2026-02-28", "2026-03-31", "2026-04-30"]),
        ("2028-01-30", ["2028-02-29", "2028-03-30", "2028-04-30"]),
        ("2026-12-15", ["2027-01-15", "2027-02-15", "2027-03-15"]),
    ],
)
def test_months_are_counted_from_the_anchor(anchor: str, ends: list[str]) -> None:
    begin = int(datetime.fromisoformat(anchor).replace(tzinfo=UTC).timestamp())
    found, at = [], begin
    for _ in ends:
        at = values.period_end(begin, at, "month", 1)
        found.append(datetime.fromtimestamp(at, UTC).date().isoformat())
    assert found == ends
