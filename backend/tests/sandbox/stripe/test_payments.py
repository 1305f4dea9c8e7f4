"""One-time payments: holds, declines, 3-D Secure, refunds."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import stripe

from tests.sandbox.stripe.tools import Sandbox

DAY = 86_400


def _hold(sandbox: Sandbox, card: str = "pm_card_visa", **more: Any) -> stripe.PaymentIntent:
    intent = sandbox.v1.payment_intents.create(
        {
            "amount": 1_299,
            "currency": "usd",
            "customer": sandbox.customer(None).id,
            "allowed_payment_method_types": ["card"],
            "capture_method": "manual",
            "description": "Domain example.com",
            "statement_descriptor_suffix": "EXAMPLE",
            "metadata": {"order_id": "o1"},
            **more,
        }
    )
    assert intent.status == "requires_payment_method"
    sandbox.browser(
        f"payment_intents/{intent.id}/confirm",
        client_secret=str(intent.client_secret),
        payment_method=card,
    )
    return sandbox.v1.payment_intents.retrieve(intent.id)


def test_a_hold_is_placed_and_captured(sandbox: Sandbox) -> None:
    intent = _hold(sandbox)
    assert (intent.status, intent.amount_capturable, intent.amount_received) == (
        "requires_capture",
        1_299,
        0,
    )
    charge = sandbox.v1.charges.retrieve(str(intent.latest_charge))
    assert (charge.captured, charge.amount_captured, charge.status) == (False, 0, "succeeded")
    card = charge.payment_method_details.card
    assert card.capture_before == charge.created + 7 * DAY
    done = sandbox.v1.payment_intents.capture(intent.id, {}, {"idempotency_key": "cap:o1"})
    assert (done.status, done.amount_received, done.amount_capturable) == ("succeeded", 1_299, 0)
    assert sandbox.types()[-4:] == [
        "charge.succeeded",
        "payment_intent.amount_capturable_updated",
        "charge.captured",
        "payment_intent.succeeded",
    ]
    with pytest.raises(stripe.InvalidRequestError) as caught:
        sandbox.v1.payment_intents.cancel(intent.id)
    assert caught.value.code == "payment_intent_unexpected_state"


def test_a_hold_is_released(sandbox: Sandbox) -> None:
    intent = _hold(sandbox)
    gone = sandbox.v1.payment_intents.cancel(intent.id, {"cancellation_reason": "abandoned"})
    assert (gone.status, gone.cancellation_reason) == ("canceled", "abandoned")
    charge = sandbox.v1.charges.retrieve(str(intent.latest_charge))
    assert (charge.refunded, charge.amount_captured) == (True, 0)
    assert sandbox.types()[-1] == "payment_intent.canceled"
    with pytest.raises(stripe.InvalidRequestError) as caught:
        sandbox.v1.payment_intents.capture(intent.id)
    assert caught.value.code == "payment_intent_unexpected_state"


def test_a_hold_expires_after_seven_days(sandbox: Sandbox) -> None:
    intent = _hold(sandbox)
    sandbox.advance(days=6, hours=23)
    assert sandbox.v1.payment_intents.retrieve(intent.id).status == "requires_capture"
    sandbox.advance(hours=2)
    gone = sandbox.v1.payment_intents.retrieve(intent.id)
    assert (gone.status, gone.cancellation_reason) == ("canceled", "automatic")
    assert sandbox.types()[-2:] == ["charge.expired", "payment_intent.canceled"]


def test_part_of_a_hold_can_be_captured(sandbox: Sandbox) -> None:
    intent = _hold(sandbox)
    with pytest.raises(stripe.InvalidRequestError):
        sandbox.v1.payment_intents.capture(intent.id, {"amount_to_capture": 1_300})
    done = sandbox.v1.payment_intents.capture(intent.id, {"amount_to_capture": 1_000})
    assert done.amount_received == 1_000


@pytest.mark.parametrize(
    ("card", "code", "reason"),
    [
        ("pm_card_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_visa_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        (
            "pm_card_visa_chargeDeclinedInsufficientFunds",
            "card_declined",
            "insufficient_funds",
        ),
        ("pm_card_chargeDeclinedLostCard", "card_declined", "lost_card"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", "expired_card"),
        ("pm_card_chargeCustomerFail", "card_declined", "generic_decline"),
    ],
)
def test_a_refused_card_is_a_card_error(
    sandbox: Sandbox, card: str, code: str, reason: str
) -> None:
    intent = sandbox.v1.payment_intents.create({"amount": 500, "currency": "usd"})
    with pytest.raises(stripe.CardError) as caught:
        sandbox.v1.payment_intents.confirm(intent.id, {"payment_method": card})
    error = caught.value.json_body["error"]
    assert (caught.value.http_status, caught.value.code, error["decline_code"]) == (
        402,
        code,
        reason,
    )
    after = sandbox.v1.payment_intents.retrieve(intent.id)
    assert (after.status, after.last_payment_error.decline_code) == (
        "requires_payment_method",
        reason,
    )
    charge = sandbox.v1.charges.retrieve(error["charge"])
    assert (charge.status, charge.paid, charge.failure_code) == ("failed", False, code)
    assert sandbox.types()[-2:] == ["charge.failed", "payment_intent.payment_failed"]
    # Another card may still pay the same intent.
    again = sandbox.v1.payment_intents.confirm(intent.id, {"payment_method": "pm_card_visa"})
    assert (again.status, again.last_payment_error) == ("succeeded", None)


def test_a_card_refused_at_setup_is_not_saved(sandbox: Sandbox) -> None:
    customer = sandbox.customer(None)
    intent = sandbox.v1.setup_intents.create({"customer": customer.id})
    with pytest.raises(stripe.CardError) as caught:
        sandbox.v1.setup_intents.confirm(
            intent.id, {"payment_method": "pm_card_chargeDeclinedInsufficientFunds"}
        )
    assert caught.value.json_body["error"]["setup_intent"]["id"] == intent.id
    after = sandbox.v1.setup_intents.retrieve(intent.id)
    assert (after.status, after.last_setup_error.decline_code) == (
        "requires_payment_method",
        "insufficient_funds",
    )
    assert sandbox.types()[-1] == "setup_intent.setup_failed"
    assert sandbox.v1.payment_methods.list({"customer": customer.id, "type": "card"}).data == []


def test_a_test_id_becomes_a_fresh_method_with_a_stable_fingerprint(sandbox: Sandbox) -> None:
    methods = []
    for _ in range(2):
        intent = sandbox.v1.setup_intents.create(
            {
                "customer": sandbox.customer(None).id,
                "payment_method": "pm_card_visa",
                "confirm": True,
            }
        )
        methods.append(sandbox.v1.payment_methods.retrieve(str(intent.payment_method)))
    one, two = methods
    assert one.id != two.id
    assert one.card is not None
    assert two.card is not None
    assert one.card.fingerprint == two.card.fingerprint
    assert (one.card.last4, one.card.brand) == ("4242", "visa")
    other = sandbox.v1.payment_methods.retrieve("pm_card_mastercard")
    assert other.card is not None
    assert other.card.fingerprint != one.card.fingerprint


@pytest.mark.parametrize("succeed", [True, False])
def test_three_d_secure_waits_for_the_holder(sandbox: Sandbox, succeed: bool) -> None:
    intent = _hold(sandbox, "pm_card_authenticationRequired")
    assert intent.status == "requires_action"
    assert intent.next_action.type == "use_stripe_sdk"
    assert sandbox.v1.charges.list().data == []
    sandbox.control("stripe/authenticate", intent=intent.id, succeed=succeed)
    after = sandbox.v1.payment_intents.retrieve(intent.id)
    assert after.status == ("requires_capture" if succeed else "requires_payment_method")
    assert len(sandbox.v1.charges.list().data) == succeed


def test_three_d_secure_off_session_is_declined(sandbox: Sandbox) -> None:
    customer = sandbox.customer("pm_card_authenticationRequired")
    method = str(customer.invoice_settings.default_payment_method)
    with pytest.raises(stripe.CardError) as caught:
        sandbox.v1.payment_intents.create(
            {
                "amount": 500,
                "currency": "usd",
                "customer": customer.id,
                "payment_method": method,
                "off_session": True,
                "confirm": True,
            }
        )
    assert caught.value.code == "authentication_required"


def test_a_card_authenticated_at_setup_pays_off_session(sandbox: Sandbox) -> None:
    customer = sandbox.customer(None)
    intent = sandbox.v1.setup_intents.create(
        {
            "customer": customer.id,
            "payment_method": "pm_card_authenticationRequiredOnSetup",
            "confirm": True,
            "return_url": "http://shop.test/back",
        }
    )
    assert intent.next_action.redirect_to_url.return_url == "http://shop.test/back"
    sandbox.control("stripe/authenticate", intent=intent.id)
    paid = sandbox.v1.payment_intents.create(
        {
            "amount": 500,
            "currency": "usd",
            "customer": customer.id,
            "payment_method": str(sandbox.v1.setup_intents.retrieve(intent.id).payment_method),
            "off_session": True,
            "confirm": True,
        }
    )
    assert paid.status == "succeeded"


def test_refunds_go_up_to_what_was_captured(sandbox: Sandbox) -> None:
    intent = sandbox.v1.payment_intents.create(
        {"amount": 1_000, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}
    )
    part = sandbox.v1.refunds.create(
        {
            "payment_intent": intent.id,
            "amount": 400,
            "reason": "requested_by_customer",
            "metadata": {"order_id": "o"},
        }
    )
    assert (part.status, part.amount) == ("succeeded", 400)
    with pytest.raises(stripe.InvalidRequestError):
        sandbox.v1.refunds.create({"payment_intent": intent.id, "amount": 601})
    sandbox.v1.refunds.create({"charge": str(intent.latest_charge)})
    charge = sandbox.v1.charges.retrieve(str(intent.latest_charge), {"expand": ["refunds"]})
    assert (charge.refunded, charge.amount_refunded, len(charge.refunds.data)) == (True, 1_000, 2)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        sandbox.v1.refunds.create({"payment_intent": intent.id})
    assert caught.value.code == "charge_already_refunded"
    assert sandbox.types()[-2:] == ["refund.created", "charge.refunded"]


def test_a_detached_card_is_nobodys_default_and_cannot_pay(sandbox: Sandbox) -> None:
    customer = sandbox.customer()
    method = str(customer.invoice_settings.default_payment_method)
    gone = sandbox.v1.payment_methods.detach(method)
    assert gone.customer is None
    after = sandbox.v1.customers.retrieve(customer.id)
    assert after.invoice_settings.default_payment_method is None
    [event] = sandbox.events(type="payment_method.detached")
    assert event["data"]["previous_attributes"] == {"customer": customer.id}
    with pytest.raises(stripe.InvalidRequestError):
        sandbox.v1.payment_methods.attach(method, {"customer": customer.id})


def test_raw_numbers_are_for_browsers_only(sandbox: Sandbox) -> None:
    with pytest.raises(stripe.StripeError, match="unsafe"):
        sandbox.v1.payment_methods.create(
            {
                "type": "card",
                "card": {"number": "4242424242424242", "exp_month": 12, "exp_year": 2040},
            }
        )
    form = {
        "type": "card",
        "card[number]": "4000 0000 0000 0341",
        "card[exp_month]": "12",
        "card[exp_year]": "2040",
        "card[cvc]": "123",
    }
    made = sandbox.browser("payment_methods", **form)
    assert made.json()["card"]["last4"] == "0341"
    unknown = sandbox.browser("payment_methods", **form | {"card[number]": "4111111111111111"})
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (402, "incorrect_number")


def test_a_charge_is_disputed_once_and_the_dispute_decided_once(sandbox: Sandbox) -> None:
    intent = sandbox.v1.payment_intents.create(
        {"amount": 1_000, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}
    )
    dispute = sandbox.control("stripe/disputes", charge=intent.latest_charge)
    assert (dispute["status"], dispute["amount"]) == ("needs_response", 1_000)
    assert sandbox.v1.charges.retrieve(str(intent.latest_charge)).disputed
    with pytest.raises(httpx.HTTPStatusError):
        sandbox.control("stripe/disputes", charge=intent.latest_charge)
    sandbox.control("stripe/disputes", dispute=dispute["id"], status="lost")
    with pytest.raises(httpx.HTTPStatusError):
        sandbox.control("stripe/disputes", dispute=dispute["id"], status="won")
    assert sandbox.types()[-2:] == ["charge.dispute.created", "charge.dispute.closed"]
