"""What goes wrong at Stripe by itself, from its event to what customer and operator are told."""

from __future__ import annotations

from uuid import UUID

import pytest

from app.database.models import Tenant
from app.database.session import ALL_TENANTS, transaction
from app.services import refunds
from tests.fixtures.customer import Customer
from tests.fixtures.money import (
    alerts,
    at_stripe,
    audit,
    charges,
    customer_id,
    kinds,
    letters,
    quiet,
    renew,
)

PRICE = 9_700


def newest_charge(customer: Customer) -> dict[str, str]:
    found = at_stripe(customer, "charges", customer=customer_id(customer))["data"][0]
    return {"id": found["id"], "payment_intent": found["payment_intent"]}


def give_back(customer: Customer, cents: int | None = None) -> str:
    """Stripe's id of a refund that we asked for."""
    charge = newest_charge(customer)
    with transaction(tenant=ALL_TENANTS) as db:
        tenant = db.get_one(Tenant, UUID(customer.tenant_id))
        refunds.request(tenant, charge["payment_intent"], db, cause="by agreement", cents=cents)
    quiet(customer)
    return str(at_stripe(customer, "refunds", charge=charge["id"])["data"][0]["id"])


@pytest.fixture
def slow_banks(starter: Customer) -> Customer:
    starter.world.control("stripe/settings", refunds="pending")
    return starter


def test_a_refund_counts_when_it_has_arrived(slow_banks: Customer) -> None:
    refund = give_back(slow_banks, 500)
    assert kinds(slow_banks)["refund"] == 0
    slow_banks.world.control("stripe/refunds", refund=refund, status="succeeded")
    quiet(slow_banks)
    assert kinds(slow_banks)["refund"] == 1
    found = audit(slow_banks)
    assert (found.balances, found.net_cents) == (True, PRICE - 500)


def test_a_refund_that_failed_is_money_we_still_have(slow_banks: Customer) -> None:
    refund = give_back(slow_banks)
    slow_banks.world.control("stripe/refunds", refund=refund, status="failed", reason="declined")
    quiet(slow_banks)
    assert "refund_failed" in alerts()
    found = audit(slow_banks)
    assert (found.balances, found.net_cents) == (True, PRICE)


def test_a_refund_that_came_back_after_it_had_arrived(starter: Customer) -> None:
    refund = give_back(starter)
    assert audit(starter).net_cents == 0
    starter.world.control(
        "stripe/refunds", refund=refund, status="failed", reason="lost_or_stolen_card"
    )
    quiet(starter)
    assert (kinds(starter)["refund"], kinds(starter)["refund_failed"]) == (1, 1)
    assert "refund_failed" in alerts()
    found = audit(starter)
    assert (found.balances, found.net_cents) == (True, PRICE)


def test_an_early_fraud_warning_calls_a_person_once(starter: Customer) -> None:
    charge = newest_charge(starter)["id"]
    starter.world.control("stripe/warnings", charge=charge)
    starter.world.control("stripe/redeliver", since=0)
    quiet(starter)
    assert alerts() == ["early_fraud_warning"]


def test_a_draft_that_is_stuck_charges_nothing_until_a_person_acts(starter: Customer) -> None:
    customer = customer_id(starter)
    starter.world.control(
        "stripe/invoices", customer=customer, finalization="customer_tax_location_invalid"
    )
    renew(starter)
    assert "finalization_failed" in alerts()
    assert charges(starter) == [PRICE]
    data = starter.get("/billing/subscription")
    assert (data["status"], data["is_suspended"]) == ("active", False)
    starter.world.control("stripe/invoices", customer=customer, finalization="ok")
    quiet(starter)
    assert charges(starter) == [PRICE, PRICE]
    assert audit(starter).balances


def test_a_card_that_the_bank_renewed_is_shown_as_it_is(starter: Customer) -> None:
    (before,) = starter.get("/billing/payment-methods")
    (method,) = at_stripe(starter, "payment_methods", customer=customer_id(starter))["data"]
    starter.world.control("stripe/cards", payment_method=method["id"], renewed=True)
    quiet(starter)
    (after,) = starter.get("/billing/payment-methods")
    assert (after["id"], after["is_default"]) == (before["id"], True)
    assert (after["card_last_four"], after["card_exp"]) != (
        before["card_last_four"],
        before["card_exp"],
    )
    renew(starter)
    assert charges(starter) == [PRICE, PRICE]


def test_a_receipt_comes_for_each_payment_and_none_for_nothing(starter: Customer) -> None:
    renew(starter)
    assert letters(starter).count("Your receipt: 97.00 USD") == 2
    assert not [subject for subject in letters(starter) if " 0.00 " in subject]
