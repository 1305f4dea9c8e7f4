"""The pages Stripe hosts: checkout, 3-D Secure, portal, invoices."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import stripe

from tests.sandbox.stripe.tools import Sandbox

DAY = 86_400


def _session(sandbox: Sandbox, **more: Any) -> stripe.checkout.Session:
    params: Any = {
        "mode": "subscription",
        "customer": sandbox.customer(None).id,
        "client_reference_id": "t1",
        "line_items": [{"price": sandbox.price(), "quantity": 1}],
        "success_url": "http://shop.test/return?session_id={CHECKOUT_SESSION_ID}",
        "cancel_url": "http://shop.test/cancel",
        "metadata": {"tenant_id": "t1"},
        **more,
    }
    return sandbox.v1.checkout.sessions.create(params)


def _submit(session: stripe.checkout.Session, card: str = "pm_card_visa") -> httpx.Response:
    return httpx.post(str(session.url), data={"card": card}, timeout=10)


def test_checkout_makes_the_subscription_when_it_is_completed(sandbox: Sandbox) -> None:
    session = _session(
        sandbox,
        payment_method_collection="always",
        subscription_data={
            "trial_end": sandbox.now() + 7 * DAY,
            "trial_settings": {"end_behavior": {"missing_payment_method": "pause"}},
            "billing_mode": {"type": "flexible"},
            "metadata": {"tenant_id": "t1"},
        },
    )
    assert (session.status, session.subscription) == ("open", None)
    page = httpx.get(str(session.url), timeout=10)
    assert "Starter" in page.text
    done = _submit(session)
    assert done.status_code == 303
    assert done.headers["Location"] == f"http://shop.test/return?session_id={session.id}"
    [event] = sandbox.events(type="checkout.session.completed")
    completed = event["data"]["object"]
    assert (completed["status"], completed["payment_status"]) == ("complete", "no_payment_required")
    subscription = sandbox.v1.subscriptions.retrieve(completed["subscription"])
    assert subscription.status == "trialing"
    assert subscription.metadata.to_dict() == {"tenant_id": "t1"}
    sandbox.advance(days=7, hours=1, seconds=5)
    assert [one.amount for one in sandbox.v1.charges.list().data] == [9_700]


def test_checkout_for_one_payment_creates_a_customer(sandbox: Sandbox) -> None:
    price = sandbox.v1.prices.create(
        {"currency": "usd", "unit_amount": 1_299, "product_data": {"name": "Domain"}}
    )
    session = sandbox.v1.checkout.sessions.create(
        {
            "mode": "payment",
            "customer_email": "new@b.test",
            "line_items": [{"price": price.id, "quantity": 2}],
            "success_url": "http://shop.test/ok",
        }
    )
    assert session.amount_total == 2_598
    assert _submit(session).status_code == 303
    after = sandbox.v1.checkout.sessions.retrieve(
        session.id, {"expand": ["payment_intent", "line_items"]}
    )
    assert isinstance(after.payment_intent, stripe.PaymentIntent)
    assert (after.payment_status, after.payment_intent.amount_received) == ("paid", 2_598)
    assert sandbox.v1.customers.retrieve(str(after.customer)).email == "new@b.test"


def test_a_refused_card_leaves_the_page_open(sandbox: Sandbox) -> None:
    session = _session(sandbox)
    refused = _submit(session, "pm_card_chargeDeclined")
    assert (refused.status_code, "declined" in refused.text) == (402, True)
    assert sandbox.v1.subscriptions.list().data == []
    assert _submit(session).status_code == 303
    assert _submit(session).status_code == 402  # It is complete and cannot be paid twice.
    assert len(sandbox.v1.subscriptions.list().data) == 1


def test_sessions_expire(sandbox: Sandbox) -> None:
    by_hand, by_time = _session(sandbox), _session(sandbox)
    assert sandbox.v1.checkout.sessions.expire(by_hand.id).status == "expired"
    sandbox.advance(hours=25)
    assert sandbox.v1.checkout.sessions.retrieve(by_time.id).status == "expired"
    assert len(sandbox.events(type="checkout.session.expired")) == 2


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"ui_mode": "hosted"}, "ui_mode"),
        ({"payment_method_types": ["card"]}, "payment_method_types"),
        ({"subscription_data": {"trial_end": 1}}, "subscription_data[trial_end]"),
        ({"line_items": []}, "line_items"),
    ],
)
def test_bad_sessions_are_refused(sandbox: Sandbox, more: Any, param: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        _session(sandbox, **more)
    assert caught.value.param == param


def test_three_d_secure_sends_the_holder_there_and_back(sandbox: Sandbox) -> None:
    intent = sandbox.v1.setup_intents.create({"customer": sandbox.customer(None).id})
    asked = sandbox.browser(
        f"setup_intents/{intent.id}/confirm",
        client_secret=str(intent.client_secret),
        payment_method="pm_card_authenticationRequired",
        return_url="http://shop.test/back?a=b",
    ).json()
    page = asked["next_action"]["redirect_to_url"]["url"]
    assert httpx.get(page.partition("?")[0], timeout=10).status_code == 404
    assert "Your bank asks" in httpx.get(page, timeout=10).text
    back = httpx.post(page, data={"answer": "yes"}, timeout=10)
    query = httpx.URL(back.headers["Location"]).params
    assert (query["a"], query["setup_intent"], query["redirect_status"]) == (
        "b",
        intent.id,
        "succeeded",
    )
    assert sandbox.v1.setup_intents.retrieve(intent.id).status == "succeeded"


def test_the_portal_cancels_keeps_and_changes_the_card(sandbox: Sandbox) -> None:
    subscription = sandbox.subscribe()
    session = sandbox.v1.billing_portal.sessions.create(
        {"customer": str(subscription.customer), "return_url": "http://shop.test/"}
    )
    assert "starter_monthly" in httpx.get(session.url, timeout=10).text
    httpx.post(session.url, data={"action": "cancel"}, timeout=10)
    assert sandbox.v1.subscriptions.retrieve(subscription.id).cancel_at_period_end
    httpx.post(session.url, data={"action": "keep"}, timeout=10)
    assert not sandbox.v1.subscriptions.retrieve(subscription.id).cancel_at_period_end
    httpx.post(session.url, data={"action": "card", "card": "pm_card_mastercard"}, timeout=10)
    method = sandbox.v1.subscriptions.retrieve(subscription.id).default_payment_method
    card = sandbox.v1.payment_methods.retrieve(str(method)).card
    assert card is not None
    assert card.brand == "mastercard"
    sandbox.advance(hours=2)
    assert httpx.get(session.url, timeout=10).status_code == 404


def test_an_open_invoice_is_paid_on_its_page(sandbox: Sandbox) -> None:
    subscription = sandbox.subscribe("pm_card_chargeCustomerFail")
    invoice = sandbox.v1.invoices.retrieve(str(subscription.latest_invoice))
    assert "Pay" in httpx.get(str(invoice.hosted_invoice_url), timeout=10).text
    httpx.post(str(invoice.hosted_invoice_url), data={"card": "pm_card_visa"}, timeout=10)
    assert sandbox.v1.subscriptions.retrieve(subscription.id).status == "active"
    pdf = httpx.get(str(invoice.invoice_pdf), timeout=10).content
    assert pdf.startswith(b"%PDF-1.4")
    assert str(invoice.number).encode() in pdf
    charge = sandbox.v1.charges.list().data[0]
    assert "4242" in httpx.get(str(charge.receipt_url), timeout=10).text


def test_the_script_is_served(sandbox: Sandbox) -> None:
    answer = httpx.get(f"{sandbox.url}/stripe/v3/stripe.js", timeout=10)
    assert answer.headers["Content-Type"].startswith("text/javascript")
    assert "confirmSetup" in answer.text


def test_browsers_may_call_from_another_origin(sandbox: Sandbox) -> None:
    answer = httpx.options(
        f"{sandbox.url}/stripe/v1/payment_methods",
        headers={
            "Origin": "http://shop.test",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization",
        },
        timeout=10,
    )
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
