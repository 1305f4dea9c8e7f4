"""Fifteen stories of a customer and their money, over HTTP, told from the outside.

Each ends with the ledger proved against Stripe's objects and the platform's invariants checked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from fractions import Fraction
from typing import Any

import httpx
import pytest

from tests.fixtures.customer import Customer
from tests.fixtures.money import (
    alerts,
    at_stripe,
    audit,
    charges,
    customer_id,
    kinds,
    later,
    quiet,
    renew,
    set_bank,
    tick,
)
from tests.fixtures.world import Running

STARTER, GROWTH = 9_700, 29_700


@pytest.fixture(autouse=True)
def books_balance(signed_in: Customer, invariants: Callable[[], None]) -> Iterator[None]:
    """However a story ends, our ledger is Stripe's to the cent."""
    yield
    quiet(signed_in)
    found = audit(signed_in)
    assert found.balances, found
    invariants()


def standing(customer: Customer) -> tuple[str, bool]:
    """How the subscription is, and whether sending is stopped."""
    data = customer.get("/billing/subscription")
    return data["status"], data["is_suspended"]


def may_work(customer: Customer) -> bool:
    return customer.try_post("/domains/search", query="acme").is_success


def new_card(customer: Customer, card: str = "pm_card_mastercard") -> None:
    intent = customer.post("/billing/setup-intent")
    customer.confirm("setup_intent", intent, card).raise_for_status()
    quiet(customer)


def subscriptions(customer: Customer) -> list[dict[str, Any]]:
    asked = at_stripe(customer, "subscriptions", customer=customer_id(customer), status="all")
    found: list[dict[str, Any]] = asked["data"]
    return found


def attempts(customer: Customer) -> int:
    return max(row["attempt_count"] for row in customer.get("/billing/invoices"))


def orders(customer: Customer, name: str) -> int:
    """How often the registrar sold us `name`."""
    url = f"{customer.world.sandbox_url}/control/namecheap/orders"
    return str(httpx.get(url, timeout=10).json()["orders"]).count(f"'{name}'")


def hold(customer: Customer, name: str | None = None) -> dict[str, Any]:
    offer = customer.offer(name)
    assert customer.confirm("payment_intent", offer).is_success
    return offer


def buy(customer: Customer, offer: dict[str, Any], *, patience: float = 0.0) -> dict[str, Any]:
    """The domain as it ends, active or failed; `patience` hours go by while nothing happens."""
    bought = customer.post("/domains/purchase", purchase_id=offer["purchase_id"])

    def ended() -> Any:
        domain = customer.get(f"/domains/{bought['domain']['id']}")
        if domain["status"] in {"active", "failed"}:
            return domain
        if patience:
            customer.world.advance(hours=patience)
            customer.sign_in_again()
        return None

    domain: dict[str, Any] = customer.settle(ended, within=40, why="the purchase has ended")
    quiet(customer)
    return domain


def intent_of(customer: Customer, offer: dict[str, Any]) -> dict[str, Any]:
    return at_stripe(customer, f"payment_intents/{offer['payment_intent_id']}")


def test_01_seven_days_and_an_hour_then_97_dollars(signed_in: Customer) -> None:
    signed_in.add_card()
    assert standing(signed_in) == ("trialing", False)
    later(signed_in, days=6, hours=23)
    assert charges(signed_in) == []
    later(signed_in, hours=1.5)
    # The trial is over, the invoice still a draft: active is not yet paid.
    assert standing(signed_in) == ("active", False)
    assert not signed_in.get("/auth/me")["tenant"]["trial_converted"]
    later(signed_in, hours=1)
    assert charges(signed_in) == [STARTER]
    assert signed_in.get("/auth/me")["tenant"]["trial_converted"]
    (invoice,) = [row for row in signed_in.get("/billing/invoices") if row["amount_paid_cents"]]
    assert (invoice["status"], invoice["amount_paid_cents"]) == ("paid", STARTER)


def test_02_three_failures_suspend_and_a_new_card_resumes(signed_in: Customer) -> None:
    signed_in.add_card("pm_card_chargeCustomerFail")
    later(signed_in, days=7, hours=2)
    assert (*standing(signed_in), attempts(signed_in)) == ("past_due", False, 1)
    later(signed_in, days=3, hours=1)
    assert (*standing(signed_in), attempts(signed_in)) == ("past_due", False, 2)
    later(signed_in, days=5, hours=1)
    assert (*standing(signed_in), attempts(signed_in)) == ("unpaid", True, 3)
    assert not may_work(signed_in)
    new_card(signed_in)
    assert standing(signed_in) == ("active", False)
    assert may_work(signed_in)
    assert charges(signed_in) == [STARTER]


def test_03_a_hard_decline_is_three_attempts_and_one_charge(signed_in: Customer) -> None:
    signed_in.add_card("pm_card_chargeCustomerFailLostCard")
    later(signed_in, days=7, hours=2)
    later(signed_in, days=3, hours=1)
    later(signed_in, days=5, hours=1)
    tried = at_stripe(signed_in, "charges", customer=customer_id(signed_in))["data"]
    assert [one["status"] for one in tried] == ["failed"]
    assert (*standing(signed_in), attempts(signed_in)) == ("unpaid", True, 3)


def test_04_no_card_ends_the_trial_without_a_charge(signed_in: Customer) -> None:
    later(signed_in, days=7, hours=2)
    tick(signed_in)
    assert standing(signed_in)[0] == "trial_expired"
    assert not signed_in.try_post(
        "/billing/domain-purchase-intent", domain_name=f"late-{signed_in.tag}.com"
    ).is_success
    assert subscriptions(signed_in) == []
    assert at_stripe(signed_in, "charges", customer=customer_id(signed_in))["data"] == []
    # Nothing is lost: a card takes up where the trial ended.
    new_card(signed_in)
    assert standing(signed_in) == ("active", False)
    assert charges(signed_in) == [STARTER]


def test_05_five_clicks_on_pay_now_are_no_strikes(starter: Customer) -> None:
    set_bank(starter, "insufficient_funds")
    renew(starter)
    (owed,) = [row for row in starter.get("/billing/invoices") if row["status"] == "open"]
    for click in range(5):
        answer = starter.try_post(f"/billing/invoices/{owed['id']}/pay", key=f"click-{click}")
        assert answer.json()["error_code"] == "PAYMENT_REQUIRED"
    quiet(starter)
    assert kinds(starter)["failure"] == 6
    assert (*standing(starter), attempts(starter)) == ("past_due", False, 1)


def test_06_a_declined_domain_is_no_strike(starter: Customer) -> None:
    for number in range(3):
        offer = starter.offer(f"declined{number}-{starter.tag}.com")
        declined = starter.confirm("payment_intent", offer, "pm_card_chargeDeclined")
        assert declined.status_code == 402
    quiet(starter)
    assert kinds(starter)["failure"] == 3
    assert standing(starter) == ("active", False)
    assert may_work(starter)


def test_07_twice_and_shuffled_is_the_same_as_once_and_in_order(
    signed_in: Customer, world: Running, drain: Callable[..., list[str]]
) -> None:
    """Two customers live the same life; the events of one come doubled and out of order."""

    def live(customer: Customer, card: str) -> tuple[Any, ...]:
        customer.add_card(card)
        customer.upgrade("starter")
        quiet(customer)
        set_bank(customer, "generic_decline")
        renew(customer)
        set_bank(customer, "ok")
        later(customer, days=3, hours=1)
        customer.buy_domain()
        customer.upgrade("growth")
        quiet(customer)
        renew(customer)
        invoices = customer.get("/billing/invoices")
        return (
            standing(customer),
            customer.get("/billing/subscription")["plan"],
            kinds(customer),
            Counter((row["status"], row["attempt_count"]) for row in invoices),
            [card["is_default"] for card in customer.get("/billing/payment-methods")],
        )

    calm = live(signed_in, "pm_card_visa")
    world.control("deliveries", part="stripe", duplicate=1, shuffle=True)
    troubled = Customer(world, drain).sign_up()
    # Another card: with the same one there would be no second trial.
    assert live(troubled, "pm_card_mastercard") == calm
    assert audit(troubled).balances


def test_08_the_registrar_acts_and_goes_silent(signed_in: Customer, world: Running) -> None:
    offer = hold(signed_in)
    world.fault("namecheap", "Command=namecheap.domains.create", "fail_after")
    assert buy(signed_in, offer, patience=0.2)["status"] == "active"
    assert orders(signed_in, offer["domain_name"]) == 1
    assert kinds(signed_in)["capture"] == 1
    assert intent_of(signed_in, offer)["status"] == "succeeded"


def test_09_the_registrar_says_no_and_the_hold_is_cancelled(signed_in: Customer) -> None:
    offer = hold(signed_in, f"gone-{signed_in.tag}.com")
    assert buy(signed_in, offer, patience=0.2)["status"] == "failed"
    intent = intent_of(signed_in, offer)
    assert (intent["status"], intent["amount_received"]) == ("canceled", 0)
    assert kinds(signed_in) == Counter(authorisation=1, release=1)


def test_10_a_price_above_the_quote_buys_nothing(signed_in: Customer, world: Running) -> None:
    offer = hold(signed_in)
    world.control("namecheap/settings", prices={"com": {"register": "39.99"}})
    assert buy(signed_in, offer)["status"] == "failed"
    assert orders(signed_in, offer["domain_name"]) == 0
    assert intent_of(signed_in, offer)["status"] == "canceled"
    assert kinds(signed_in)["capture"] == 0


@pytest.mark.parametrize("call", ["POST .*/zones\n", "POST .*/batch"])
def test_11_cloudflare_acts_and_answers_500(signed_in: Customer, world: Running, call: str) -> None:
    offer = hold(signed_in)
    world.fault("cloudflare", call, "fail_after")
    domain = buy(signed_in, offer)
    assert domain["status"] == "active"
    headers = {"Authorization": "Bearer sandbox-token"}
    base = f"{world.sandbox_url}/cloudflare/client/v4/zones"
    zones = httpx.get(
        base, params={"name": offer["domain_name"]}, headers=headers, timeout=10
    ).json()["result"]
    assert len(zones) == 1
    answer = httpx.get(
        f"{base}/{zones[0]['id']}/dns_records",
        params={"per_page": 100},
        headers=headers,
        timeout=10,
    )
    records = [(row["type"], row["name"], row["content"]) for row in answer.json()["result"]]
    assert len(records) == len(set(records)) > 5


def test_12_stripe_subscribes_and_answers_500(signed_in: Customer, world: Running) -> None:
    world.fault("stripe", "POST /stripe/v1/subscriptions\n", "fail_after", times=3)
    signed_in.add_card()
    quiet(signed_in)
    assert [one["status"] for one in subscriptions(signed_in)] == ["trialing"]
    later(signed_in, days=7, hours=3)
    assert charges(signed_in) == [STARTER]


def test_13_an_upgrade_in_mid_month_is_prorated_to_the_cent(starter: Customer) -> None:
    later(starter, days=11, hours=7)
    seen = starter.get("/billing/upgrade/preview", plan="growth")
    (item,) = subscriptions(starter)[0]["items"]["data"]
    start, end = item["current_period_start"], item["current_period_end"]
    at = datetime.fromisoformat(seen["proration_date"]).timestamp()
    left = Fraction(end - int(at), end - start)
    # Each side is rounded by itself, as its line on the invoice is.
    expected = round(GROWTH * left) - round(STARTER * left)
    assert seen["amount_due"] == expected
    starter.post("/billing/upgrade", plan="growth", proration_date=seen["proration_date"])
    quiet(starter)
    assert charges(starter) == sorted([STARTER, expected])
    renew(starter)
    assert charges(starter) == sorted([STARTER, expected, GROWTH])


def test_14_cancelled_at_the_end_of_the_period_and_taken_back(starter: Customer) -> None:
    assert starter.post("/billing/cancel", comment="too quiet")["cancel_at_period_end"]
    quiet(starter)
    assert standing(starter) == ("active", False)
    assert subscriptions(starter)[0]["cancel_at_period_end"]
    assert not starter.post("/billing/resume")["cancel_at_period_end"]
    renew(starter)
    assert standing(starter) == ("active", False)
    assert charges(starter) == [STARTER, STARTER]
    # And once more, without coming back.
    starter.post("/billing/cancel")
    renew(starter)
    assert standing(starter)[0] == "canceled"
    assert charges(starter) == [STARTER, STARTER]


def test_15_a_dispute_freezes(starter: Customer) -> None:
    (charge,) = at_stripe(starter, "charges", customer=customer_id(starter))["data"]
    starter.world.control("stripe/disputes", charge=charge["id"])
    quiet(starter)
    assert standing(starter) == ("active", True)
    assert starter.get("/billing/subscription")["suspension_reason"] == "payment_disputed"
    assert not may_work(starter)
    assert alerts() == ["dispute"]
    assert kinds(starter)["dispute"] == 1
