"""PaymentGateway against Stripe: one effect per key, whatever the line does."""

from __future__ import annotations

import traceback
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from app.errors import OutcomeUnknown, PaymentRequired, ProviderFailed, ProviderUnavailable
from app.integrations import ports
from app.integrations.stripe_client import StripeGateway
from tests.contracts.tools import HAPPENED, MISHAPS, Line, Sandbox, Scripted

KEY = "sk_test_sandbox"
ALL_TRIES = 3
"""The first and two more: max_network_retries."""


def gateway_at(url: str, *, timeout: float = 10.0, key: str = KEY) -> StripeGateway:
    return StripeGateway(
        secret_key=key, webhook_secret="whsec_sandbox", api_base=url, timeout_seconds=timeout
    )


@pytest.fixture
def gateway(line: Line) -> StripeGateway:
    return gateway_at(f"{line.url}/stripe")


@pytest.fixture
def customer(gateway: StripeGateway) -> str:
    return gateway.create_customer(email="a@b.test", name="A", tenant_id="t1", key=key())


def key() -> str:
    return uuid4().hex


def confirm(sandbox: Sandbox, intent: ports.Intent, card: str = "pm_card_visa") -> httpx.Response:
    """What Stripe.js does in the browser."""
    kind = "setup_intents" if intent.id.startswith("seti_") else "payment_intents"
    return httpx.post(
        f"{sandbox.url}/stripe/v1/{kind}/{intent.id}/confirm",
        data={
            "client_secret": str(intent.client_secret),
            "payment_method": card,
            "key": "pk_test_sandbox",
        },
        timeout=60,
    )


def listed(sandbox: Sandbox, kind: str, **query: str) -> list[dict[str, Any]]:
    answer = httpx.get(
        f"{sandbox.url}/stripe/v1/{kind}",
        params=query,
        headers={"Authorization": f"Bearer {KEY}"},
    )
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


@pytest.fixture
def card(sandbox: Sandbox, gateway: StripeGateway, customer: str) -> str:
    return save_card(sandbox, gateway, customer)


def save_card(
    sandbox: Sandbox, gateway: StripeGateway, customer: str, which: str = "pm_card_visa"
) -> str:
    intent = gateway.create_setup_intent(customer=customer, tenant_id="t1", key=key())
    confirm(sandbox, intent, which).raise_for_status()
    method = gateway.get_setup_intent(intent.id).payment_method
    assert method is not None
    return method


def subscribe(
    sandbox: Sandbox,
    gateway: StripeGateway,
    customer: str,
    card: str,
    *,
    days: int | None = 7,
    plan: str = "starter",
    idempotency_key: str | None = None,
) -> ports.SubscriptionState:
    end = None if days is None else sandbox.world.clock.now() + timedelta(days=days)
    return gateway.create_subscription(
        customer=customer,
        plan=plan,
        payment_method=card,
        trial_end=end,
        tenant_id="t1",
        key=idempotency_key or key(),
    )


def hold(
    gateway: StripeGateway, customer: str, *, amount: int = 1428, with_key: str | None = None
) -> ports.Intent:
    return gateway.create_payment_intent(
        customer=customer,
        amount=amount,
        currency="usd",
        description="Domain acme.com, 1 year",
        metadata={"order_id": "o1"},
        key=with_key or key(),
    )


# What is promised when all goes well ------------------------------------------------------------


def test_a_card_is_saved_without_a_charge(
    sandbox: Sandbox, gateway: StripeGateway, customer: str
) -> None:
    intent = gateway.create_setup_intent(customer=customer, tenant_id="t1", key=key())
    assert (intent.status, intent.customer) == ("requires_payment_method", customer)
    assert intent.client_secret
    assert intent.client_secret.startswith(intent.id)
    confirm(sandbox, intent).raise_for_status()
    saved = gateway.get_setup_intent(intent.id)
    assert (saved.status, saved.metadata["tenant_id"]) == ("succeeded", "t1")
    assert saved.payment_method is not None
    card = gateway.get_card(saved.payment_method)
    assert (card.brand, card.last_four, card.customer) == ("visa", "4242", customer)
    assert card.fingerprint
    assert len(card.expiry.split("/")[1]) == 4
    assert listed(sandbox, "charges", customer=customer) == []


def test_a_saved_card_is_held_without_its_holder(
    gateway: StripeGateway, customer: str, card: str
) -> None:
    made, again = hold(gateway, customer), key()
    for _ in range(2):
        intent = gateway.charge_saved_card(made.id, payment_method=card, key=again)
        assert (intent.status, intent.amount_capturable) == ("requires_capture", 1428)
    assert gateway.capture(made.id, key=key()).status == "succeeded"


def test_a_refused_card_leaves_the_intent_to_another(
    sandbox: Sandbox, gateway: StripeGateway, customer: str, card: str
) -> None:
    made = hold(gateway, customer)
    for answer in ("insufficient_funds", "authentication_required"):
        sandbox.control("stripe/cards", payment_method=card, charge=answer)
        with pytest.raises(PaymentRequired):
            gateway.charge_saved_card(made.id, payment_method=card, key=key())
        assert gateway.get_payment_intent(made.id).status == "requires_payment_method"
    sandbox.control("stripe/cards", payment_method=card, charge="ok")
    intent = gateway.charge_saved_card(made.id, payment_method=card, key=key())
    assert intent.status == "requires_capture"
    gateway.release(made.id, key=key())


def test_a_trial_is_not_paid_for_until_it_ends(
    sandbox: Sandbox, gateway: StripeGateway, customer: str, card: str
) -> None:
    state = subscribe(sandbox, gateway, customer, card)
    assert (state.status, state.plan, state.customer) == ("trialing", "starter", customer)
    assert state.default_payment_method == card
    assert state.trial_end is not None
    assert state.trial_end == state.current_period_end
    assert state.trial_end - sandbox.world.clock.now() > timedelta(days=6, hours=23)
    assert gateway.get_subscription(state.id) == state
    assert listed(sandbox, "charges", customer=customer) == []


def test_without_a_trial_money_moves_at_once(
    sandbox: Sandbox, gateway: StripeGateway, customer: str, card: str
) -> None:
    state = subscribe(sandbox, gateway, customer, card, days=None)
    assert (state.status, state.cancel_at_period_end) == ("active", False)
    (charge,) = listed(sandbox, "charges", customer=customer)
    seen = gateway.get_charge(charge["id"])
    assert (seen.amount, seen.captured, seen.status) == (9700, True, "succeeded")
    assert (seen.customer, seen.currency) == (customer, "usd")
    (invoice,) = listed(sandbox, "invoices", customer=customer)
    told = gateway.get_invoice(invoice["id"])
    assert (told.status, told.amount_paid, told.subscription) == ("paid", 9700, state.id)
    assert told.billing_reason == "subscription_create"


def test_an_upgrade_changes_the_one_item_and_is_prorated(
    sandbox: Sandbox, gateway: StripeGateway, customer: str, card: str
) -> None:
    before = subscribe(sandbox, gateway, customer, card, days=None)
    after = gateway.change_plan(before.id, plan="growth", end_trial=False, key=key())
    assert (after.plan, after.status, after.item_id) == ("growth", "active", before.item_id)
    (subscription,) = listed(sandbox, "subscriptions", customer=customer)
    assert len(subscription["items"]["data"]) == 1
    newest = listed(sandbox, "invoices", customer=customer)[0]
    # The period has hardly begun: nearly the whole difference is due.
    assert 19_900 <= newest["amount_paid"] <= 20_000
    assert newest["billing_reason"] == "subscription_update"


def test_an_upgrade_ends_a_trial_and_is_paid_in_full(
    sandbox: Sandbox, gateway: StripeGateway, customer: str, card: str
) -> None:
    trial = subscribe(sandbox, gateway, customer, card)
    after = gateway.change_plan(trial.id, plan="enterprise", end_trial=True, key=key())
    assert (after.plan, after.status) == ("enterprise", "active")
    assert [c["amount"] for c in listed(sandbox, "charges", customer=customer)] == [99_700]


def test_a_new_card_is_the_default_of_customer_and_subscription(
    sandbox: Sandbox, gateway: StripeGateway, customer: str, card: str
) -> None:
    state = subscribe(sandbox, gateway, customer, card)
    other = save_card(sandbox, gateway, customer, "pm_card_mastercard")
    gateway.set_default_payment_method(
        customer=customer, payment_method=other, subscription=state.id
    )
    assert gateway.get_subscription(state.id).default_payment_method == other
    (kept,) = [c for c in listed(sandbox, "customers") if c["id"] == customer]
    assert kept["invoice_settings"]["default_payment_method"] == other
    # Before there is a subscription, too.
    gateway.set_default_payment_method(customer=customer, payment_method=card, subscription=None)


def test_a_hold_is_captured_once(sandbox: Sandbox, gateway: StripeGateway, customer: str) -> None:
    intent = hold(gateway, customer)
    assert (intent.status, intent.amount, intent.amount_received) == (
        "requires_payment_method",
        1428,
        0,
    )
    confirm(sandbox, intent).raise_for_status()
    held = gateway.get_payment_intent(intent.id)
    assert (held.status, held.amount_capturable, held.amount_received) == (
        "requires_capture",
        1428,
        0,
    )
    assert held.metadata == {"order_id": "o1"}
    same = key()
    taken = gateway.capture(intent.id, key=same)
    assert (taken.status, taken.amount_received, taken.amount_capturable) == ("succeeded", 1428, 0)
    assert gateway.capture(intent.id, key=same) == taken
    with pytest.raises(ProviderFailed):
        gateway.capture(intent.id, key=key())
    with pytest.raises(ProviderFailed):
        gateway.release(intent.id, key=key())
    assert gateway.get_payment_intent(intent.id).amount_received == 1428


def test_a_hold_is_released_and_stays_released(
    sandbox: Sandbox, gateway: StripeGateway, customer: str
) -> None:
    intent = hold(gateway, customer)
    confirm(sandbox, intent).raise_for_status()
    assert gateway.release(intent.id, key=key()).status == "canceled"
    assert gateway.release(intent.id, key=key()).status == "canceled"
    with pytest.raises(ProviderFailed):
        gateway.capture(intent.id, key=key())


# What Stripe refuses ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("which", "code"),
    [
        ("pm_card_chargeCustomerFail", "generic_decline"),
        ("pm_card_chargeCustomerFailInsufficientFunds", "insufficient_funds"),
    ],
)
def test_a_declined_card_is_a_missing_payment_with_the_bank_s_reason(
    sandbox: Sandbox, gateway: StripeGateway, customer: str, which: str, code: str
) -> None:
    bad = save_card(sandbox, gateway, customer, which)
    trial = subscribe(sandbox, gateway, customer, bad)
    with pytest.raises(PaymentRequired) as caught:
        gateway.change_plan(trial.id, plan="growth", end_trial=True, key=key())
    assert caught.value.details == {"decline_code": code}
    # Nothing of the change stays: the trial goes on.
    assert gateway.get_subscription(trial.id) == trial


def test_unknown_ids_plans_and_keys_are_a_clear_no(
    sandbox: Sandbox, gateway: StripeGateway, customer: str, card: str
) -> None:
    for call in (
        lambda: gateway.get_payment_intent("pi_nothing"),
        lambda: gateway.get_setup_intent("seti_nothing"),
        lambda: gateway.get_card("pm_nothing"),
        lambda: gateway.get_subscription("sub_nothing"),
        lambda: gateway.get_invoice("in_nothing"),
        lambda: gateway.get_charge("ch_nothing"),
        lambda: gateway.capture("pi_nothing", key=key()),
        lambda: subscribe(sandbox, gateway, customer, card, plan="free"),
        lambda: subscribe(sandbox, gateway, "cus_nothing", card),
    ):
        with pytest.raises(ProviderFailed):
            call()


def test_the_secret_key_stays_out_of_errors(sandbox: Sandbox) -> None:
    stranger = gateway_at(f"{sandbox.url}/stripe", key="sk_live_very_secret_indeed")
    with pytest.raises(ProviderFailed) as caught:
        stranger.get_charge("ch_1")
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value.details)
    assert "very_secret" not in told


def test_a_key_used_for_something_else_is_refused(gateway: StripeGateway, customer: str) -> None:
    same = key()
    hold(gateway, customer, amount=1000, with_key=same)
    with pytest.raises(ProviderFailed):
        hold(gateway, customer, amount=2000, with_key=same)


# What happens when the line breaks --------------------------------------------------------------

WRITE = "POST /stripe/v1/subscriptions"


def test_the_same_key_has_one_effect(
    sandbox: Sandbox, gateway: StripeGateway, customer: str, card: str
) -> None:
    same = key()
    first = subscribe(sandbox, gateway, customer, card, days=None, idempotency_key=same)
    again = subscribe(sandbox, gateway, customer, card, days=None, idempotency_key=same)
    assert again == first
    assert len(listed(sandbox, "subscriptions", customer=customer)) == 1
    assert len(listed(sandbox, "charges", customer=customer)) == 1


@pytest.mark.parametrize("mode", [mode for mode in MISHAPS if mode != "garbage"])
def test_one_mishap_is_not_even_noticed(
    sandbox: Sandbox, line: Line, gateway: StripeGateway, customer: str, card: str, mode: str
) -> None:
    line.mishap("stripe", WRITE, mode)
    state = subscribe(sandbox, gateway, customer, card, days=None)
    assert state.status == "active"
    assert len(listed(sandbox, "subscriptions", customer=customer)) == 1
    assert len(listed(sandbox, "charges", customer=customer)) == 1


@pytest.mark.parametrize("mode", MISHAPS)
def test_a_lost_answer_is_told_and_the_same_key_finds_the_effect(
    sandbox: Sandbox, line: Line, gateway: StripeGateway, customer: str, card: str, mode: str
) -> None:
    same = key()
    # An answer that is no JSON is not asked for again by the SDK: it says 200.
    line.mishap("stripe", WRITE, mode, times=1 if mode == "garbage" else ALL_TRIES)
    with pytest.raises(OutcomeUnknown):
        subscribe(sandbox, gateway, customer, card, days=None, idempotency_key=same)
    effects = len(listed(sandbox, "subscriptions", customer=customer))
    assert effects == (1 if mode in HAPPENED else 0)
    state = subscribe(sandbox, gateway, customer, card, days=None, idempotency_key=same)
    assert state.status == "active"
    assert len(listed(sandbox, "subscriptions", customer=customer)) == 1
    assert len(listed(sandbox, "charges", customer=customer)) == 1


def test_a_late_answer_is_a_lost_one(
    sandbox: Sandbox, gateway: StripeGateway, customer: str
) -> None:
    hasty = gateway_at(f"{sandbox.url}/stripe", timeout=0.3)
    same = key()
    sandbox.fault("stripe", "/payment_intents", "timeout_after", times=ALL_TRIES, seconds=1.5)
    with pytest.raises(OutcomeUnknown):
        hold(hasty, customer, with_key=same)
    found = hold(gateway, customer, with_key=same)
    (only,) = listed(sandbox, "payment_intents", customer=customer)
    assert only["id"] == found.id


def test_a_capture_whose_answer_was_lost_took_the_money_once(
    sandbox: Sandbox, gateway: StripeGateway, customer: str
) -> None:
    intent = hold(gateway, customer)
    confirm(sandbox, intent).raise_for_status()
    same = key()
    sandbox.fault("stripe", "/capture", "fail_after", times=ALL_TRIES)
    with pytest.raises(OutcomeUnknown):
        gateway.capture(intent.id, key=same)
    assert gateway.get_payment_intent(intent.id).status == "succeeded"
    assert gateway.capture(intent.id, key=same).amount_received == 1428


def test_a_question_without_an_answer_leaves_nothing_unknown(
    sandbox: Sandbox, gateway: StripeGateway, nowhere: str
) -> None:
    sandbox.fault("stripe", "GET ", "fail_before", times=ALL_TRIES)
    with pytest.raises(ProviderUnavailable) as caught:
        gateway.get_charge("ch_1")
    assert type(caught.value) is ProviderUnavailable
    with pytest.raises(ProviderUnavailable) as caught:
        gateway_at(f"http://{nowhere}").get_charge("ch_1")
    assert type(caught.value) is ProviderUnavailable


def test_a_limiter_s_no_proves_that_nothing_happened(
    sandbox: Sandbox, gateway: StripeGateway, customer: str
) -> None:
    sandbox.fault("stripe", "POST ", "rate_limit", times=ALL_TRIES)
    with pytest.raises(ProviderUnavailable) as caught:
        hold(gateway, customer)
    assert type(caught.value) is ProviderUnavailable
    sandbox.heal()
    assert listed(sandbox, "payment_intents", customer=customer) == []


def test_prices_are_looked_up_once(
    sandbox: Sandbox, gateway: StripeGateway, customer: str, card: str
) -> None:
    subscribe(sandbox, gateway, customer, card)
    sandbox.fault("stripe", "/prices", "fail_before", times=50)
    assert subscribe(sandbox, gateway, customer, card).plan == "starter"
    with pytest.raises(ProviderUnavailable):
        subscribe(sandbox, gateway, customer, card, plan="growth")


# What goes over the wire ------------------------------------------------------------------------


def test_a_redirect_is_not_followed(scripted: Scripted) -> None:
    scripted.say(307, Location=f"{scripted.url}/elsewhere")
    with pytest.raises(ProviderUnavailable):
        gateway_at(scripted.url).get_charge("ch_1")
    assert [path for _, path, _, _ in scripted.asked] == ["/v1/charges/ch_1"]


def test_the_pinned_version_the_key_and_the_form_are_sent(scripted: Scripted) -> None:
    scripted.say(400, '{"error": {"type": "invalid_request_error", "message": "no"}}')
    with pytest.raises(ProviderFailed, match="no"):
        hold(gateway_at(scripted.url), "cus_1", with_key="our-row-7")
    ((method, path, headers, body),) = scripted.asked
    assert (method, path) == ("POST", "/v1/payment_intents")
    assert headers["stripe-version"] == "2026-10-28.endive"
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["idempotency-key"] == "our-row-7"
    form = httpx.QueryParams(body.decode())
    assert form["capture_method"] == "manual"
    assert form["allowed_payment_method_types[0]"] == "card"
    assert "payment_method_types" not in body.decode().replace("allowed_payment_method_types", "")


@pytest.mark.parametrize(
    ("status", "body"),
    [(403, "<html>proxy</html>"), (200, "<html>" + "x" * 5000), (302, ""), (503, "")],
)
def test_an_answer_that_is_not_stripe_s_is_no_answer(
    scripted: Scripted, status: int, body: str
) -> None:
    for _ in range(ALL_TRIES):
        scripted.say(status, body)
    with pytest.raises(OutcomeUnknown) as caught:
        hold(gateway_at(scripted.url), "cus_1")
    assert len(repr(caught.value.details)) < 500
