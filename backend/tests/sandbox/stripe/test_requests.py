"""The wire: keys, parameters, errors, idempotency, lists, expansion."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import httpx
import pytest
import stripe

from tests.sandbox.stripe.tools import Sandbox


def _post(sandbox: Sandbox, path: str, form: dict[str, str], **headers: str) -> httpx.Response:
    return httpx.post(
        f"{sandbox.url}/stripe/v1/{path}",
        data=form,
        headers={"Authorization": "Bearer sk_test_sandbox", **headers},
        timeout=10,
    )


def test_no_key_and_a_wrong_key_are_refused(sandbox: Sandbox) -> None:
    bare = httpx.get(f"{sandbox.url}/stripe/v1/customers", timeout=10)
    assert bare.status_code == 401
    assert bare.headers["Request-Id"].startswith("req_")
    stranger = stripe.StripeClient(
        "sk_test_stranger", base_addresses={"api": f"{sandbox.url}/stripe"}
    )
    with pytest.raises(stripe.AuthenticationError, match="Invalid API Key"):
        stranger.v1.customers.list()


def test_the_publishable_key_opens_one_intent_with_its_secret(sandbox: Sandbox) -> None:
    intent = sandbox.v1.setup_intents.create({"customer": sandbox.customer(None).id})
    path = f"setup_intents/{intent.id}/confirm"
    assert sandbox.browser("customers").status_code == 403
    wrong = sandbox.browser(path, client_secret="wrong", payment_method="pm_card_visa")
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "client_secret")
    assert sandbox.browser(path, payment_method="pm_card_visa").status_code == 400
    good = sandbox.browser(
        path, client_secret=str(intent.client_secret), payment_method="pm_card_visa"
    )
    assert good.status_code == 200
    assert "metadata" not in good.json()


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        ({"amount": 100, "currency": "usd", "coupon": "x"}, "parameter_unknown", "coupon"),
        (
            {"amount": 100, "currency": "usd", "payment_method_types": ["card"]},
            "payment_method_types_no_longer_supported",
            "payment_method_types",
        ),
        ({"currency": "usd"}, "parameter_missing", "amount"),
        ({"amount": "ten", "currency": "usd"}, "parameter_invalid_integer", "amount"),
        ({"amount": 10, "currency": "usd"}, "amount_too_small", "amount"),
        ({"amount": 100, "currency": "usd", "capture_method": "later"}, None, "capture_method"),
        (
            {"amount": 100, "currency": "usd", "customer": "cus_none"},
            "resource_missing",
            "customer",
        ),
        (
            {"amount": 100, "currency": "usd", "transfer_group": "g"},
            "sandbox_not_imitated",
            "transfer_group",
        ),
    ],
)
def test_bad_parameters_are_named(
    sandbox: Sandbox, params: Any, code: str | None, param: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        sandbox.v1.payment_intents.create(params)
    assert caught.value.http_status == 400
    assert (caught.value.code, caught.value.param) == (code, param)
    assert sandbox.v1.payment_intents.list().data == []


@pytest.mark.parametrize(
    ("params", "param"),
    [
        (
            {"trial_settings": {"end_behavior": {"missing_payment_method": "paus"}}},
            "trial_settings[end_behavior][missing_payment_method]",
        ),
        ({"trial_end": "soon"}, "trial_end"),
        ({"trial_end": 1}, "trial_end"),
        ({"items": [{"price": "price_none"}]}, "items[0][price]"),
        ({"items": [{"plan_name": "x"}]}, "items[0][plan_name]"),
        ({"default_payment_method": "pm_card_visa"}, "default_payment_method"),
    ],
)
def test_bad_subscriptions_are_refused(sandbox: Sandbox, params: Any, param: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        sandbox.subscribe(**params)
    assert caught.value.param == param
    assert sandbox.v1.subscriptions.list().data == []


def test_a_billing_cycle_anchor_is_an_object_on_update(sandbox: Sandbox) -> None:
    subscription = sandbox.trial()
    with pytest.raises(stripe.InvalidRequestError) as caught:
        sandbox.v1.subscriptions.update(subscription.id, {"billing_cycle_anchor": "now"})  # type: ignore[typeddict-item]
    assert caught.value.param == "billing_cycle_anchor"


def test_what_is_not_there_is_404(sandbox: Sandbox) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        sandbox.v1.customers.retrieve("cus_none")
    assert (caught.value.http_status, caught.value.code) == (404, "resource_missing")
    with pytest.raises(stripe.InvalidRequestError, match="Unrecognized request URL"):
        sandbox.client.raw_request("get", "/v1/astrology")


def test_another_api_version_is_refused(sandbox: Sandbox) -> None:
    answer = _post(sandbox, "customers", {}, **{"Stripe-Version": "2019-05-16"})
    assert answer.status_code == 400
    assert "Invalid Stripe API version" in answer.json()["error"]["message"]


def test_a_repeated_key_has_one_effect_and_the_same_answer(sandbox: Sandbox) -> None:
    headers = {"Idempotency-Key": "k1"}
    first = _post(sandbox, "customers", {"email": "a@b.test"}, **headers)
    second = _post(sandbox, "customers", {"email": "a@b.test"}, **headers)
    assert (first.status_code, first.content) == (second.status_code, second.content)
    assert second.headers["Idempotent-Replayed"] == "true"
    assert second.headers["Original-Request"] == first.headers["Request-Id"]
    assert len(sandbox.v1.customers.list().data) == 1


def test_the_same_key_for_something_else_is_refused(sandbox: Sandbox) -> None:
    key: Any = {"idempotency_key": "k1"}
    sandbox.v1.customers.create({"email": "a@b.test"}, key)
    with pytest.raises(stripe.IdempotencyError) as caught:
        sandbox.v1.customers.create({"email": "other@b.test"}, key)
    assert caught.value.http_status == 400


def test_a_card_error_is_replayed_but_a_refused_request_is_not_kept(sandbox: Sandbox) -> None:
    intent = sandbox.v1.payment_intents.create({"amount": 100, "currency": "usd"})
    key: Any = {"idempotency_key": "k1"}
    for _ in range(2):
        with pytest.raises(stripe.CardError):
            sandbox.v1.payment_intents.confirm(
                intent.id, {"payment_method": "pm_card_chargeDeclined"}, key
            )
    assert len(sandbox.v1.charges.list().data) == 1
    again: Any = {"idempotency_key": "k2"}
    with pytest.raises(stripe.InvalidRequestError):
        sandbox.v1.customers.create({"nickname": "x"}, again)  # type: ignore[typeddict-unknown-key]
    assert sandbox.v1.customers.create({"name": "x"}, again).name == "x"


def test_a_key_is_new_again_after_a_day(sandbox: Sandbox) -> None:
    key: Any = {"idempotency_key": "k1"}
    first = sandbox.v1.customers.create({}, key)
    sandbox.advance(hours=25)
    assert sandbox.v1.customers.create({}, key).id != first.id


def test_the_same_key_twice_at_once_is_409(sandbox: Sandbox) -> None:
    sandbox.control("stripe/settings", latency_seconds=0.5)
    answers: list[int] = []

    def send() -> None:
        answers.append(_post(sandbox, "customers", {}, **{"Idempotency-Key": "k1"}).status_code)

    threads = [threading.Thread(target=send) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200, 409]


def test_an_error_after_the_effect_is_healed_by_a_retry_with_the_same_key(
    sandbox: Sandbox,
) -> None:
    sandbox.control("faults", part="stripe", match="POST .*/v1/subscriptions", mode="fail_after")
    client = stripe.StripeClient(
        "sk_test_sandbox",
        base_addresses={"api": f"{sandbox.url}/stripe"},
        max_network_retries=2,
    )
    made = client.v1.subscriptions.create(
        {"customer": sandbox.customer().id, "items": [{"price": sandbox.price()}]},
        {"idempotency_key": "sub:1"},
    )
    assert [one.id for one in sandbox.v1.subscriptions.list().data] == [made.id]


def test_lists_are_newest_first_and_paged_by_cursor(sandbox: Sandbox) -> None:
    made = [sandbox.v1.customers.create({"name": str(n)}).id for n in range(5)]
    first = sandbox.v1.customers.list({"limit": 2})
    assert ([one.id for one in first.data], first.has_more) == (made[:2:-1], True)
    back = sandbox.v1.customers.list({"limit": 2, "ending_before": made[0]})
    assert [one.id for one in back.data] == [made[2], made[1]]
    assert [one.id for one in first.auto_paging_iter()] == made[::-1]
    with pytest.raises(stripe.InvalidRequestError):
        sandbox.v1.customers.list({"limit": 101})


def test_expansion_replaces_ids_and_adds_what_is_left_out(sandbox: Sandbox) -> None:
    subscription = sandbox.v1.subscriptions.retrieve(
        sandbox.subscribe().id, {"expand": ["customer", "latest_invoice.payments"]}
    )
    assert isinstance(subscription.customer, stripe.Customer)
    invoice = subscription.latest_invoice
    assert isinstance(invoice, stripe.Invoice)
    assert invoice.payments is not None
    [listed] = sandbox.v1.charges.list({"expand": ["data.payment_intent"]}).data
    assert isinstance(listed.payment_intent, stripe.PaymentIntent)
    assert listed.payment_intent.latest_charge == listed.id
    with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
        sandbox.v1.charges.retrieve(listed.id, {"expand": ["astrology"]})
    with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
        sandbox.v1.charges.retrieve(listed.id, {"expand": ["payment_method"]})


def test_metadata_merges_and_has_limits(sandbox: Sandbox) -> None:
    customer = sandbox.v1.customers.create({"metadata": {"a": "1", "b": "2", "2024": "x"}})
    changed = sandbox.v1.customers.update(customer.id, {"metadata": {"a": "", "c": "3"}})
    assert changed.metadata is not None
    assert changed.metadata.to_dict() == {"b": "2", "c": "3", "2024": "x"}
    with pytest.raises(stripe.InvalidRequestError):
        sandbox.v1.customers.update(customer.id, {"metadata": {"d": "x" * 501}})


def test_the_three_plans_are_there(sandbox: Sandbox) -> None:
    keys = ["starter_monthly", "growth_monthly", "enterprise_monthly"]
    prices = sandbox.v1.prices.list({"lookup_keys": keys, "active": True}).data
    amounts = {str(price.lookup_key): price.unit_amount for price in prices}
    assert amounts == dict(zip(keys, (9_700, 29_700, 99_700), strict=True))
    moved = sandbox.v1.prices.create(
        {
            "product": str(prices[0].product),
            "currency": "usd",
            "unit_amount": 12_700,
            "recurring": {"interval": "month"},
            "lookup_key": "starter_monthly",
            "transfer_lookup_key": True,
        }
    )
    assert sandbox.price() == moved.id


def test_every_parameter_type_resolves_in_a_fresh_process() -> None:
    """The SDK imports many names for type checkers only; nothing may depend on who ran before."""
    script = (
        "from sandbox.stripe import routes, validation\n"
        "for one in routes.ROUTES:\n"
        "    fields = validation._params(one.params).model_fields.values()\n"
        "    unknown = one.accepts - {field.alias for field in fields}\n"
        "    print(one.method, one.path, sorted(unknown - {'created', 'expand'}) or '')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) > 60
    assert [line for line in lines if "[" in line] == []


def test_a_reset_forgets_what_happened_but_not_the_plans(sandbox: Sandbox) -> None:
    sandbox.trial()
    sandbox.control("stripe/reset")
    assert sandbox.v1.subscriptions.list().data == []
    sandbox.advance(days=8)
    assert sandbox.types() == []
    assert sandbox.trial().status == "trialing"
