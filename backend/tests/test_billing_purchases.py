"""Buying a name: offers that are altered, too old, too dear or another's; both ways of capture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import update

from app.database.models import Domain, DomainPurchase
from app.database.session import ALL_TENANTS, transaction
from tests.fixtures.customer import Customer
from tests.fixtures.money import alerts, at_stripe, audit, kinds, letters, quiet
from tests.fixtures.world import Running

Invariants = Any


def held(customer: Customer, name: str | None = None, **more: Any) -> dict[str, Any]:
    """An offer whose price is held on the card."""
    body = {"domain_name": name or f"held-{customer.tag}.com", **more}
    offer: dict[str, Any] = customer.post("/billing/domain-purchase-intent", **body)
    assert customer.confirm("payment_intent", offer).is_success
    return offer


def buy(customer: Customer, offer: dict[str, Any]) -> httpx.Response:
    return customer.try_post("/domains/purchase", purchase_id=offer["purchase_id"])


def intent_of(customer: Customer, offer: dict[str, Any]) -> dict[str, Any]:
    return at_stripe(customer, f"payment_intents/{offer['payment_intent_id']}")


def change(offer: dict[str, Any], **values: Any) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        statement = update(DomainPurchase).where(DomainPurchase.id == UUID(offer["purchase_id"]))
        db.execute(statement.values(**values))


def state_of(offer: dict[str, Any]) -> str:
    with transaction(tenant=ALL_TENANTS) as db:
        return str(db.get_one(DomainPurchase, UUID(offer["purchase_id"])).state)


def registered(name: str) -> bool:
    with transaction(tenant=ALL_TENANTS) as db:
        found = db.query(Domain).filter(Domain.domain_name == name).one_or_none()
        return found is not None and found.purchase_date is not None


def let_go(customer: Customer, offer: dict[str, Any]) -> None:
    """No money moved and no hold is left."""
    customer.settle(
        lambda: intent_of(customer, offer)["status"] == "canceled", why="the hold is cancelled"
    )
    quiet(customer)
    assert kinds(customer)["capture"] == 0
    assert not registered(offer["domain_name"])
    assert audit(customer).balances


@pytest.mark.parametrize("field", ["price_cents", "cost_cents", "domain_name", "years"])
def test_an_altered_offer_buys_nothing(signed_in: Customer, field: str) -> None:
    offer = signed_in.offer()
    other = f"dearer-{signed_in.tag}.com"
    change(offer, **{field: other if field == "domain_name" else 9})
    assert signed_in.confirm("payment_intent", offer).is_success
    answer = buy(signed_in, offer)
    assert (answer.status_code, answer.json()["error_code"]) == (409, "CONFLICT")
    let_go(signed_in, offer)


def test_a_paid_intent_for_another_amount_buys_nothing(signed_in: Customer) -> None:
    cheap, dear = signed_in.offer(f"cheap-{signed_in.tag}.com"), held(signed_in)
    # Somebody with the database's key points an offer at another payment.
    change(dear, stripe_payment_intent_id="pi_moved")
    change(cheap, stripe_payment_intent_id=dear["payment_intent_id"], price_cents=1)
    answer = buy(signed_in, cheap)
    assert (answer.status_code, answer.json()["error_code"]) == (409, "CONFLICT")


def test_an_offer_that_expired_releases_its_hold(signed_in: Customer) -> None:
    offer = signed_in.offer()
    signed_in.world.advance(seconds=16 * 60)
    signed_in.sign_in_again()
    assert signed_in.confirm("payment_intent", offer).is_success
    answer = buy(signed_in, offer)
    assert (answer.status_code, answer.json()["error_code"]) == (409, "QUOTE_EXPIRED")
    let_go(signed_in, offer)


def test_another_tenants_purchase_is_no_purchase(signed_in: Customer, other: Customer) -> None:
    offer = held(signed_in)
    for body in (
        {"purchase_id": offer["purchase_id"]},
        {"payment_intent_id": offer["payment_intent_id"]},
    ):
        answer = other.try_post("/domains/purchase", **body)
        assert (answer.status_code, answer.json()["error_code"]) == (404, "NOT_FOUND")


def test_a_card_that_needs_its_holder(signed_in: Customer) -> None:
    offer = signed_in.offer()
    asked = signed_in.confirm("payment_intent", offer, "pm_card_authenticationRequired").json()
    assert asked["status"] == "requires_action"
    answer = buy(signed_in, offer)
    assert (answer.status_code, answer.json()["error_code"]) == (402, "PAYMENT_NOT_COMPLETED")
    assert answer.json()["details"]["payment_status"] == "requires_action"
    signed_in.world.control("stripe/authenticate", intent=offer["payment_intent_id"], succeed=True)
    assert buy(signed_in, offer).status_code == 202
    quiet(signed_in)
    signed_in.settle(lambda: registered(offer["domain_name"]), why="registered")


def test_a_price_that_rose_buys_nothing(signed_in: Customer) -> None:
    """The offer is older and cheaper than what the registrar asks now."""
    from app.services import offers

    offer = held(signed_in)
    with transaction(tenant=ALL_TENANTS) as db:
        purchase = db.get_one(DomainPurchase, UUID(offer["purchase_id"]))
        purchase.cost_cents -= 100
        purchase.signature = offers.sign(purchase)
    assert buy(signed_in, offer).status_code == 202
    let_go(signed_in, offer)
    assert state_of(offer) == "voided"


# Premium names ----------------------------------------------------------------------------------


def test_a_premium_name_wants_to_be_confirmed(signed_in: Customer) -> None:
    name = f"premium-{signed_in.tag}.com"
    answer = signed_in.try_post("/billing/domain-purchase-intent", domain_name=name)
    assert (answer.status_code, answer.json()["error_code"]) == (409, "PREMIUM_NOT_CONFIRMED")
    price = answer.json()["details"]["price_cents"]
    assert price > 65_000
    offer = held(signed_in, name, confirm_premium=True)
    assert (offer["premium"], offer["amount"]) == (True, price)
    assert buy(signed_in, offer).status_code == 202
    signed_in.settle(lambda: registered(name), why="registered")
    quiet(signed_in)
    assert state_of(offer) == "captured"
    assert audit(signed_in).net_cents == price


# Automatic capture ------------------------------------------------------------------------------


@pytest.fixture
def automatic(world: Running) -> Iterator[None]:
    """The setting STRIPE_DOMAIN_CAPTURE=automatic, as wiring would give it."""
    from dataclasses import replace

    from app.integrations import ports

    before = ports.current()
    platform = replace(before.platform, automatic_capture=True)
    ports.install(replace(before, platform=platform))
    yield
    ports.install(before)


def test_an_automatic_capture_is_charged_once_and_entered_once(
    signed_in: Customer, automatic: None, invariants: Invariants
) -> None:
    offer = held(signed_in)
    assert intent_of(signed_in, offer)["status"] == "succeeded"
    assert buy(signed_in, offer).status_code == 202
    signed_in.settle(lambda: state_of(offer) == "captured", why="the purchase is complete")
    quiet(signed_in)
    assert kinds(signed_in) == {"capture": 1}
    assert audit(signed_in).net_cents == offer["amount"]
    assert any(subject.startswith("Your receipt") for subject in letters(signed_in))
    invariants()


def test_an_automatic_capture_is_refunded_when_the_name_is_gone(
    signed_in: Customer, automatic: None, invariants: Invariants
) -> None:
    offer = held(signed_in, f"gone-{signed_in.tag}.com")
    assert buy(signed_in, offer).status_code == 202
    signed_in.settle(lambda: state_of(offer) == "refunded", why="the money is back")
    quiet(signed_in)
    assert kinds(signed_in) == {"capture": 1, "refund": 1}
    found = audit(signed_in)
    assert found.balances
    assert found.net_cents == 0
    invariants()


def test_a_charge_for_an_offer_that_expired_is_refunded(
    signed_in: Customer, automatic: None
) -> None:
    offer = signed_in.offer()
    signed_in.world.advance(seconds=16 * 60)
    signed_in.sign_in_again()
    assert signed_in.confirm("payment_intent", offer).is_success
    signed_in.settle(lambda: state_of(offer) == "refunded", why="the money is back")
    assert not registered(offer["domain_name"])


# Losses -----------------------------------------------------------------------------------------


def test_a_hold_that_ran_out_is_a_loss_for_a_person(signed_in: Customer) -> None:
    """Registered, but the hold was cancelled before it could be captured."""
    offer = held(signed_in)
    signed_in.world.fault("stripe", "POST .*/capture", "fail_before", times=30)
    assert buy(signed_in, offer).status_code == 202
    signed_in.settle(lambda: registered(offer["domain_name"]), why="registered")
    httpx.delete(f"{signed_in.world.sandbox_url}/control/faults", timeout=10)
    httpx.post(
        f"{signed_in.world.sandbox_url}/stripe/v1/payment_intents/{offer['payment_intent_id']}/cancel",
        headers={"Authorization": "Bearer sk_test_sandbox"},
        timeout=10,
    ).raise_for_status()
    signed_in.settle(lambda: state_of(offer) == "loss", why="the loss is seen")
    assert "loss" in alerts()
    quiet(signed_in)
    assert kinds(signed_in) == {"authorisation": 1, "release": 1}
