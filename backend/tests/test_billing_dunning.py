"""Declined payments: what is a strike and what is not, and how paying heals it by itself."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import httpx
import pytest

from app.database.session import ALL_TENANTS, transaction
from app.rules import dunning
from app.rules.dunning import Debt, Verdict
from app.services.operator_service import OperatorService
from tests.fixtures.customer import Customer
from tests.fixtures.money import (
    alerts,
    at_stripe,
    audit,
    charges,
    customer_id,
    kinds,
    later,
    letters,
    quiet,
    renew,
    set_bank,
    tenant_of,
)
from tests.fixtures.world import Running


def standing(customer: Customer) -> tuple[str, bool, str | None]:
    data = customer.get("/billing/subscription")
    return data["status"], data["is_suspended"], data["suspension_reason"]


def open_invoice(customer: Customer) -> dict[str, Any]:
    (found,) = [row for row in customer.get("/billing/invoices") if row["status"] == "open"]
    return dict(found)


@pytest.fixture
def stripe_settings(world: Running) -> Any:
    """Change Stripe's dashboard for one test."""

    def change(**settings: Any) -> None:
        world.control("stripe/settings", **settings)

    yield change
    change(retry_days=[3, 5], after_retries="mark_unpaid")


def test_three_attempts_suspend_and_another_card_heals(starter: Customer) -> None:
    set_bank(starter, "generic_decline")
    renew(starter)
    assert standing(starter) == ("past_due", False, None)
    assert open_invoice(starter)["attempt_count"] == 1
    later(starter, days=3, hours=1)
    assert standing(starter) == ("past_due", False, None)
    assert open_invoice(starter)["attempt_count"] == 2
    later(starter, days=5, hours=1)
    assert standing(starter) == ("unpaid", True, "payment_failed")
    refused = starter.try_post("/domains/search", query="acme")
    assert (refused.status_code, refused.json()["error_code"]) == (403, "TENANT_SUSPENDED")
    # A suspended tenant may still add a card; what is owed is asked of it at once.
    intent = starter.post("/billing/setup-intent")
    starter.confirm("setup_intent", intent, "pm_card_mastercard").raise_for_status()
    quiet(starter)
    assert standing(starter) == ("active", False, None)
    assert starter.try_post("/domains/search", query="acme").is_success
    assert charges(starter) == [9_700, 9_700]
    assert kinds(starter)["failure"] == 3
    told = letters(starter)
    assert told.count("Your payment did not go through") == 3
    assert told.count("Your account is suspended") == 1
    assert told.count("Your account is active again") == 1
    assert told.count("Your receipt: 97.00 USD") == 2
    assert audit(starter).balances


def test_five_impatient_clicks_are_one_strike(starter: Customer) -> None:
    set_bank(starter, "insufficient_funds")
    renew(starter)
    invoice = open_invoice(starter)
    for number in range(5):
        answer = starter.try_post(f"/billing/invoices/{invoice['id']}/pay", key=f"click-{number}")
        assert (answer.status_code, answer.json()["error_code"]) == (402, "PAYMENT_REQUIRED")
        assert answer.json()["details"]["decline_code"] == "insufficient_funds"
    quiet(starter)
    assert kinds(starter)["failure"] == 6
    assert open_invoice(starter)["attempt_count"] == 1
    assert standing(starter) == ("past_due", False, None)
    assert letters(starter).count("Your payment did not go through") == 1
    set_bank(starter, "ok")
    paid = starter.post(f"/billing/invoices/{invoice['id']}/pay")
    assert paid["status"] == "paid"
    assert standing(starter) == ("active", False, None)
    assert starter.try_post(f"/billing/invoices/{invoice['id']}/pay").status_code == 409


def test_a_hard_decline_counts_on_without_charges(starter: Customer) -> None:
    set_bank(starter, "lost_card")
    renew(starter)
    later(starter, days=3, hours=1)
    later(starter, days=5, hours=1)
    assert kinds(starter)["failure"] == 1
    assert open_invoice(starter)["attempt_count"] == 3
    assert standing(starter) == ("unpaid", True, "payment_failed")


def test_a_declined_domain_is_no_strike(starter: Customer) -> None:
    for number in range(4):
        offer = starter.offer(f"declined-{number}-{starter.tag}.com")
        assert starter.confirm("payment_intent", offer, "pm_card_chargeDeclined").status_code == 402
    quiet(starter)
    assert kinds(starter)["failure"] == 4
    assert standing(starter) == ("active", False, None)


@pytest.mark.parametrize("after", ["cancel", "leave_past_due", "mark_unpaid"])
def test_every_setting_of_the_dashboard_ends_in_suspension_and_heals(
    starter: Customer, stripe_settings: Any, after: str
) -> None:
    stripe_settings(after_retries=after)
    set_bank(starter, "generic_decline")
    renew(starter)
    later(starter, days=9)
    later(starter, days=6)
    status, suspended, reason = standing(starter)
    assert (suspended, reason) == (True, "payment_failed")
    assert status == {"cancel": "canceled", "leave_past_due": "past_due"}.get(after, "unpaid")
    intent = starter.post("/billing/setup-intent")
    starter.confirm("setup_intent", intent, "pm_card_visa").raise_for_status()
    quiet(starter)
    status, suspended, _ = standing(starter)
    assert not suspended
    # A subscription that Stripe ended is not begun anew without being asked.
    assert status == ("canceled" if after == "cancel" else "active")


def test_one_retry_only_is_terminal_before_three_strikes(
    starter: Customer, stripe_settings: Any
) -> None:
    stripe_settings(retry_days=[1])
    set_bank(starter, "generic_decline")
    renew(starter)
    later(starter, days=1, hours=1)
    assert open_invoice(starter)["attempt_count"] == 2
    assert standing(starter) == ("unpaid", True, "payment_failed")


def test_eight_smart_retries_suspend_at_the_third(starter: Customer, stripe_settings: Any) -> None:
    stripe_settings(retry_days=[1, 1, 2, 2, 2, 2, 2, 2])
    set_bank(starter, "generic_decline")
    renew(starter)
    later(starter, days=1, hours=1)
    assert standing(starter)[1] is False
    later(starter, days=1, hours=1)
    assert standing(starter) == ("past_due", True, "payment_failed")


def test_paying_on_stripes_own_page_lifts_it_too(starter: Customer) -> None:
    set_bank(starter, "generic_decline")
    renew(starter)
    later(starter, days=9)
    later(starter, days=1)
    page = open_invoice(starter)["hosted_invoice_url"]
    assert standing(starter)[1]
    httpx.post(page, data={"card": "pm_card_visa"}, timeout=20).raise_for_status()
    quiet(starter)
    assert standing(starter) == ("active", False, None)


def test_money_does_not_lift_what_a_person_has_done(starter: Customer) -> None:
    set_bank(starter, "generic_decline")
    renew(starter)
    later(starter, days=9)
    later(starter, days=1)
    assert standing(starter)[2] == "payment_failed"
    with transaction(tenant=ALL_TENANTS) as db:
        OperatorService.suspend(UUID(starter.tenant_id), "spam_complaint", db)
    page = open_invoice(starter)["hosted_invoice_url"]
    httpx.post(page, data={"card": "pm_card_visa"}, timeout=20).raise_for_status()
    quiet(starter)
    assert standing(starter) == ("active", True, "spam_complaint")


def test_a_bank_that_wants_the_holder_is_told_of(starter: Customer) -> None:
    set_bank(starter, "authenticate")
    renew(starter)
    assert "Your bank wants you to confirm a payment" in letters(starter)
    assert standing(starter) == ("past_due", False, None)


def test_on_day_eight_active_is_not_paid(signed_in: Customer) -> None:
    """Stripe says active an hour before it tries the card: the trial's caps hold until money came."""
    signed_in.add_card("pm_card_chargeCustomerFail")
    later(signed_in, days=7, seconds=60)
    data = signed_in.get("/billing/subscription")
    assert (data["status"], data["trial_converted"]) == ("active", False)
    assert data["limits"]["inboxes"] == 5
    later(signed_in, hours=2)
    data = signed_in.get("/billing/subscription")
    assert (data["status"], data["trial_converted"]) == ("past_due", False)
    assert data["limits"]["inboxes"] == 5


# Disputes ---------------------------------------------------------------------------------------


def dispute(customer: Customer, **more: str) -> dict[str, Any]:
    (charge,) = at_stripe(customer, "charges", customer=customer_id(customer))["data"]
    found: dict[str, Any] = customer.world.control("stripe/disputes", charge=charge["id"], **more)
    quiet(customer)
    return found


def test_a_dispute_freezes_and_calls_and_winning_lifts(starter: Customer) -> None:
    made = dispute(starter)
    assert standing(starter) == ("active", True, "payment_disputed")
    assert alerts() == ["dispute"]
    assert kinds(starter)["dispute"] == 1
    starter.world.control("stripe/disputes", dispute=made["id"], status="won")
    quiet(starter)
    assert standing(starter) == ("active", False, None)
    assert kinds(starter)["dispute_won"] == 1
    assert audit(starter).balances
    assert audit(starter).net_cents == 9_700


def test_a_lost_dispute_stays_frozen_until_a_person_decides(
    starter: Customer, operator: httpx.Client
) -> None:
    made = dispute(starter)
    starter.world.control("stripe/disputes", dispute=made["id"], status="lost")
    quiet(starter)
    assert standing(starter)[2] == "payment_disputed"
    assert audit(starter).net_cents == 0
    operator.post(f"/admin/tenants/{starter.tenant_id}/reinstate").raise_for_status()
    renew(starter)
    assert standing(starter) == ("active", False, None)


# The rule ---------------------------------------------------------------------------------------

OPEN, CYCLE = "open", "subscription_cycle"


@pytest.mark.parametrize(
    ("status", "debts", "disputes", "wanted"),
    [
        ("active", [], [], Verdict.CLEAR),
        (None, [], [], Verdict.CLEAR),
        ("active", [Debt(OPEN, 0, CYCLE)], [], Verdict.CLEAR),
        ("past_due", [Debt(OPEN, 1, CYCLE)], [], Verdict.OWING),
        ("past_due", [Debt(OPEN, 2, CYCLE)], [], Verdict.OWING),
        ("past_due", [Debt(OPEN, 3, CYCLE)], [], Verdict.SUSPEND),
        ("active", [Debt("paid", 3, CYCLE)], [], Verdict.CLEAR),
        ("active", [Debt("void", 9, CYCLE)], [], Verdict.CLEAR),
        ("active", [Debt("uncollectible", 3, CYCLE)], [], Verdict.SUSPEND),
        ("active", [Debt(OPEN, 1, "subscription_update")], [], Verdict.CLEAR),
        ("unpaid", [Debt(OPEN, 2, CYCLE)], [], Verdict.SUSPEND),
        ("unpaid", [], [], Verdict.SUSPEND),
        ("canceled", [], [], Verdict.CLEAR),
        ("canceled", [Debt(OPEN, 1, CYCLE)], [], Verdict.SUSPEND),
        ("canceled", [Debt(OPEN, 0, CYCLE)], [], Verdict.CLEAR),
        ("paused", [], [], Verdict.CLEAR),
        ("past_due", [Debt(OPEN, 1, CYCLE), Debt(OPEN, 3, CYCLE)], [], Verdict.SUSPEND),
        ("active", [], ["needs_response"], Verdict.FREEZE),
        ("unpaid", [Debt(OPEN, 3, CYCLE)], ["under_review"], Verdict.FREEZE),
        ("active", [], ["won"], Verdict.CLEAR),
        ("active", [], ["warning_needs_response"], Verdict.CLEAR),
        ("active", [], ["lost"], Verdict.FREEZE),
    ],
)
def test_the_verdict(
    status: str | None, debts: list[Debt], disputes: list[str], wanted: Verdict
) -> None:
    assert dunning.verdict(status, debts, disputes) == wanted


def test_a_debt_is_not_told_to_another_tenant(starter: Customer, other: Customer) -> None:
    set_bank(starter, "generic_decline")
    renew(starter)
    other.sign_in_again()
    answer = other.try_post(f"/billing/invoices/{open_invoice(starter)['id']}/pay")
    assert answer.status_code == 404
    assert tenant_of(other).is_suspended is False
