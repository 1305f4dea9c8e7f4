"""Plans up and down, cancelling and coming back, checkout, portal, cards: over HTTP, to the cent."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import httpx
import pytest

from app.database.models import Tenant
from app.database.session import ALL_TENANTS, transaction
from tests.fixtures.customer import Customer
from tests.fixtures.money import at_stripe, charges, customer_id, later, letters, quiet, renew, tick
from tests.fixtures.world import Running


def use(customer: Customer, **counts: int) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        tenant = db.get_one(Tenant, UUID(customer.tenant_id))
        for name, value in counts.items():
            setattr(tenant, name, value)


def subscriptions(customer: Customer) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = at_stripe(
        customer, "subscriptions", customer=customer_id(customer), status="all"
    )["data"]
    return found


# Upgrades ---------------------------------------------------------------------------------------


def test_an_upgrade_costs_what_its_preview_said(starter: Customer) -> None:
    later(starter, days=11, hours=5)
    seen = starter.get("/billing/upgrade/preview", plan="growth")
    assert (seen["kind"], seen["current"], seen["effective_at"]) == ("upgrade", "starter", None)
    assert 0 < seen["amount_due"] < 29_700 - 9_700
    assert sum(line["amount"] for line in seen["lines"]) == seen["amount_due"]
    assert all(line["proration"] for line in seen["lines"])
    # Some minutes of thought must not change the price.
    starter.world.advance(seconds=300)
    done = starter.post(
        "/billing/upgrade", key="up", plan="growth", proration_date=seen["proration_date"]
    )
    assert (done["plan"], done["status"]) == ("growth", "active")
    quiet(starter)
    assert charges(starter) == sorted([9_700, seen["amount_due"]])


def test_a_preview_is_good_for_a_quarter_of_an_hour(starter: Customer) -> None:
    later(starter, days=3)
    seen = starter.get("/billing/upgrade/preview", plan="growth")
    starter.world.advance(seconds=16 * 60)
    starter.sign_in_again()
    answer = starter.try_post(
        "/billing/upgrade", plan="growth", proration_date=seen["proration_date"]
    )
    assert (answer.status_code, answer.json()["error_code"]) == (409, "CONFLICT")
    assert starter.get("/billing/subscription")["plan"] == "starter"


def test_on_trial_a_plan_begins_at_its_full_price(signed_in: Customer) -> None:
    signed_in.add_card()
    seen = signed_in.get("/billing/upgrade/preview", plan="growth")
    assert (seen["kind"], seen["amount_due"]) == ("begin", 29_700)
    data = signed_in.post("/billing/upgrade", plan="growth")
    assert data["trial_converted"]
    quiet(signed_in)
    assert charges(signed_in) == [29_700]


def test_a_declined_upgrade_changes_nothing(starter: Customer) -> None:
    method = subscriptions(starter)[0]["default_payment_method"]
    starter.world.control("stripe/cards", payment_method=method, charge="insufficient_funds")
    later(starter, days=2)
    answer = starter.try_post("/billing/upgrade", plan="enterprise")
    assert (answer.status_code, answer.json()["error_code"]) == (402, "PAYMENT_REQUIRED")
    assert answer.json()["details"]["decline_code"] == "insufficient_funds"
    quiet(starter)
    data = starter.get("/billing/subscription")
    assert (data["plan"], data["status"], data["is_suspended"]) == ("starter", "active", False)


def test_an_upgrade_that_the_bank_wants_confirmed_waits_for_its_page(starter: Customer) -> None:
    method = subscriptions(starter)[0]["default_payment_method"]
    starter.world.control("stripe/cards", payment_method=method, charge="authenticate")
    later(starter, days=2)
    answer = starter.try_post("/billing/upgrade", plan="growth")
    assert answer.status_code == 402
    page = answer.json()["details"]["hosted_invoice_url"]
    quiet(starter)
    assert starter.get("/billing/subscription")["plan"] == "starter"
    # The holder pays on that page.
    httpx.post(page, data={"card": "pm_card_visa"}, timeout=20).raise_for_status()
    quiet(starter)
    data = starter.get("/billing/subscription")
    assert (data["plan"], data["status"]) == ("growth", "active")


# Downgrades -------------------------------------------------------------------------------------


def test_a_downgrade_begins_with_the_next_period(starter: Customer) -> None:
    starter.upgrade("growth")
    quiet(starter)
    seen = starter.get("/billing/upgrade/preview", plan="starter")
    assert (seen["kind"], seen["amount_due"], seen["refusal"]) == ("downgrade", 0, None)
    data = starter.post("/billing/upgrade", key="down", plan="starter")
    assert (data["plan"], data["scheduled_plan"]) == ("growth", "starter")
    assert data["scheduled_plan_at"] == data["current_period_end"] == seen["effective_at"]
    # What is added now must fit the plan that comes.
    assert data["limits"]["inboxes"] == 100
    quiet(starter)
    assert starter.get("/billing/subscription")["plan"] == "growth"
    before = charges(starter)
    renew(starter)
    data = starter.get("/billing/subscription")
    assert (data["plan"], data["scheduled_plan"], data["status"]) == ("starter", None, "active")
    assert charges(starter) == sorted([*before, 9_700])


def test_a_downgrade_is_refused_while_too_much_is_used(starter: Customer) -> None:
    starter.upgrade("growth")
    quiet(starter)
    use(starter, inboxes_count=101)
    try:
        seen = starter.get("/billing/upgrade/preview", plan="starter")
        assert "100 inboxes, 101 are in use" in seen["refusal"]
        answer = starter.try_post("/billing/upgrade", plan="starter")
        assert (answer.status_code, answer.json()["error_code"]) == (409, "DOWNGRADE_REFUSED")
        assert answer.json()["details"]["used"] == 101
    finally:
        use(starter, inboxes_count=0)


def test_a_scheduled_downgrade_is_taken_back_by_the_present_plan(starter: Customer) -> None:
    starter.upgrade("growth")
    starter.upgrade("starter")
    quiet(starter)
    data = starter.post("/billing/upgrade", plan="growth")
    assert (data["plan"], data["scheduled_plan"]) == ("growth", None)
    quiet(starter)
    before = charges(starter)
    renew(starter)
    assert charges(starter) == sorted([*before, 29_700])


def test_an_upgrade_after_a_scheduled_downgrade_is_prorated_from_what_was_paid(
    starter: Customer,
) -> None:
    starter.upgrade("growth")
    quiet(starter)
    fair = starter.get("/billing/upgrade/preview", plan="enterprise")
    starter.upgrade("starter")
    quiet(starter)
    before = charges(starter)
    starter.upgrade("enterprise")
    quiet(starter)
    (paid,) = set(charges(starter)) - set(before)
    # Some seconds went by since the preview.
    assert abs(paid - fair["amount_due"]) <= 10
    assert starter.get("/billing/subscription")["plan"] == "enterprise"


# Cancelling and coming back ---------------------------------------------------------------------


def test_cancelling_and_taking_it_back(starter: Customer) -> None:
    assert starter.try_post("/billing/resume").status_code == 409
    data = starter.post("/billing/cancel", comment="too quiet")
    assert (data["cancel_at_period_end"], data["status"]) == (True, "active")
    assert starter.post("/billing/cancel")["cancel_at_period_end"]
    assert not starter.post("/billing/resume")["cancel_at_period_end"]
    renew(starter)
    assert starter.get("/billing/subscription")["status"] == "active"
    assert charges(starter) == [9_700, 9_700]


def test_after_the_end_one_comes_back_without_a_trial(starter: Customer) -> None:
    starter.post("/billing/cancel")
    renew(starter)
    data = starter.get("/billing/subscription")
    assert (data["status"], data["is_suspended"]) == ("canceled", False)
    assert charges(starter) == [9_700]
    assert starter.try_post("/domains/search", query="acme").is_success
    refused = starter.try_post("/billing/domain-purchase-intent", domain_name="acme-back.com")
    assert refused.status_code == 402
    data = starter.post("/billing/resume", key="back")
    assert (data["status"], data["trial_days_remaining"]) == ("active", 0)
    quiet(starter)
    assert charges(starter) == [9_700, 9_700]
    assert [one["status"] for one in subscriptions(starter)] == ["active", "canceled"]


def test_adding_a_card_after_cancelling_charges_nothing(starter: Customer) -> None:
    starter.post("/billing/cancel")
    renew(starter)
    intent = starter.post("/billing/setup-intent")
    starter.confirm("setup_intent", intent, "pm_card_mastercard").raise_for_status()
    quiet(starter)
    assert starter.get("/billing/subscription")["status"] == "canceled"
    assert charges(starter) == [9_700]


def test_a_trial_without_a_card_ends_and_a_card_resumes_it(signed_in: Customer) -> None:
    signed_in.world.advance(days=8)
    signed_in.sign_in_again()
    tick(signed_in)
    assert signed_in.get("/billing/subscription")["status"] == "trial_expired"
    assert signed_in.try_post(
        "/infrastructure/provision", domain_id=signed_in.tenant_id
    ).status_code in {402, 404}
    intent = signed_in.post("/billing/setup-intent")
    signed_in.confirm("setup_intent", intent).raise_for_status()
    quiet(signed_in)
    data = signed_in.get("/billing/subscription")
    assert (data["status"], data["trial_converted"]) == ("active", True)
    assert charges(signed_in) == [9_700]


def test_a_first_payment_that_fails_is_mended_by_another_card(signed_in: Customer) -> None:
    """The trial is over, the first card is refused, the second one pays."""
    signed_in.world.advance(days=8)
    signed_in.sign_in_again()
    tick(signed_in)
    for card in ("pm_card_chargeCustomerFail", "pm_card_visa"):
        assert signed_in.get("/billing/subscription")["status"] == "trial_expired"
        intent = signed_in.post("/billing/setup-intent")
        signed_in.confirm("setup_intent", intent, card).raise_for_status()
        quiet(signed_in)
    data = signed_in.get("/billing/subscription")
    assert (data["status"], data["trial_converted"]) == ("active", True)
    assert charges(signed_in) == [9_700]
    assert len(subscriptions(signed_in)) == 1


def test_a_plan_may_be_chosen_before_the_news_of_the_card_is_whole(signed_in: Customer) -> None:
    """Stripe told us of the card, not yet of the SetupIntent that makes it the default."""
    httpx.post(
        f"{signed_in.world.sandbox_url}/stripe/v1/payment_methods/pm_card_visa/attach",
        data={"customer": customer_id(signed_in)},
        headers={"Authorization": "Bearer sk_test_sandbox"},
        timeout=30,
    ).raise_for_status()
    quiet(signed_in)
    assert subscriptions(signed_in) == []
    data = signed_in.post("/billing/upgrade", plan="starter")
    assert (data["status"], data["trial_converted"]) == ("active", True)
    quiet(signed_in)
    assert charges(signed_in) == [9_700]


def test_a_plan_may_be_chosen_before_the_news_of_the_trial(signed_in: Customer) -> None:
    """Stripe has the subscription, and our row does not know of it."""
    signed_in.add_card()
    quiet(signed_in)
    with transaction(tenant=ALL_TENANTS) as db:
        db.get_one(Tenant, UUID(signed_in.tenant_id)).stripe_subscription_id = None
    data = signed_in.post("/billing/upgrade", plan="starter")
    assert (data["status"], data["trial_converted"]) == ("active", True)
    quiet(signed_in)
    assert charges(signed_in) == [9_700]
    assert len(subscriptions(signed_in)) == 1


def test_after_a_refused_first_payment_a_dearer_plan_may_be_chosen(signed_in: Customer) -> None:
    signed_in.world.advance(days=8)
    signed_in.sign_in_again()
    tick(signed_in)
    intent = signed_in.post("/billing/setup-intent")
    signed_in.confirm("setup_intent", intent, "pm_card_chargeCustomerFail").raise_for_status()
    quiet(signed_in)
    assert signed_in.try_post("/billing/upgrade", plan="growth").status_code == 402
    (card,) = at_stripe(signed_in, "payment_methods", customer=customer_id(signed_in))["data"]
    signed_in.world.control("stripe/cards", payment_method=card["id"], charge="ok")
    data = signed_in.post("/billing/upgrade", plan="growth")
    assert (data["plan"], data["status"]) == ("growth", "active")
    quiet(signed_in)
    assert charges(signed_in) == [29_700]
    assert sorted(one["status"] for one in subscriptions(signed_in))[0] == "active"


def test_an_invoice_is_shown_with_fresh_links(starter: Customer, other: Customer) -> None:
    listed = next(row for row in starter.get("/billing/invoices") if row["amount_paid_cents"])
    shown = starter.get(f"/billing/invoices/{listed['id']}")
    assert (shown["amount_paid_cents"], shown["status"]) == (9_700, "paid")
    assert shown["hosted_invoice_url"].startswith("http")
    assert shown["period_end"] > shown["period_start"]
    assert other.http.get(f"/billing/invoices/{listed['id']}").status_code == 404


def test_reminders_come_three_days_and_one_day_before(signed_in: Customer) -> None:
    def about_the_trial() -> list[str]:
        return [subject for subject in letters(signed_in) if subject.startswith("Your trial")]

    tick(signed_in)
    assert about_the_trial() == []
    signed_in.world.advance(days=4, hours=1)
    for _ in range(2):
        tick(signed_in)
    assert about_the_trial() == ["Your trial ends in 3 days"]
    signed_in.world.advance(days=2)
    tick(signed_in)
    assert about_the_trial() == ["Your trial ends in 1 day", "Your trial ends in 3 days"]
    signed_in.world.advance(days=1)
    tick(signed_in)
    assert about_the_trial()[0] == "Your trial ends in 1 day"
    assert "Your trial has ended" in about_the_trial()


# Hosted pages -----------------------------------------------------------------------------------


def test_checkout_subscribes_with_the_rest_of_the_trial(signed_in: Customer) -> None:
    session = signed_in.post(
        "/billing/checkout-session",
        key="co",
        plan="growth",
        success_url="https://shop.example/yes?session={CHECKOUT_SESSION_ID}",
        cancel_url="https://shop.example/no",
    )
    # Coming back from the page proves nothing.
    assert signed_in.get("/billing/subscription")["plan"] == "starter"
    httpx.post(session["url"], data={"card": "pm_card_visa"}, timeout=20)
    quiet(signed_in)
    data = signed_in.get("/billing/subscription")
    assert (data["plan"], data["status"]) == ("growth", "trialing")
    (card,) = signed_in.get("/billing/payment-methods")
    assert card["is_default"]
    later(signed_in, days=7, hours=3)
    assert charges(signed_in) == [29_700]
    again = signed_in.try_post(
        "/billing/checkout-session",
        plan="growth",
        success_url="https://shop.example/yes",
        cancel_url="https://shop.example/no",
    )
    assert again.status_code == 409


def test_a_subscription_that_began_while_the_page_was_open_is_ended(signed_in: Customer) -> None:
    session = signed_in.post(
        "/billing/checkout-session",
        plan="growth",
        success_url="https://shop.example/yes",
        cancel_url="https://shop.example/no",
    )
    signed_in.add_card()
    signed_in.world.advance(seconds=5)
    httpx.post(session["url"], data={"card": "pm_card_visa"}, timeout=20)
    quiet(signed_in)
    assert sorted(one["status"] for one in subscriptions(signed_in)) == ["canceled", "trialing"]
    assert signed_in.get("/billing/subscription")["plan"] == "growth"


@pytest.mark.parametrize(
    "url", ["http://shop.example/", "javascript:alert(1)", "https://user@shop.example/", "nowhere"]
)
def test_people_are_sent_back_to_safe_places_only(signed_in: Customer, url: str) -> None:
    answer = signed_in.try_post("/billing/portal-session", return_url=url)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "VALIDATION_ERROR")


def test_what_is_done_in_the_portal_arrives(starter: Customer) -> None:
    page = starter.post("/billing/portal-session", return_url="https://shop.example/")["url"]
    httpx.post(page, data={"action": "cancel"}, timeout=20).raise_for_status()
    quiet(starter)
    assert starter.get("/billing/subscription")["cancel_at_period_end"]
    httpx.post(page, data={"action": "keep"}, timeout=20).raise_for_status()
    httpx.post(
        page, data={"action": "card", "card": "pm_card_mastercard"}, timeout=20
    ).raise_for_status()
    quiet(starter)
    assert not starter.get("/billing/subscription")["cancel_at_period_end"]
    first = starter.get("/billing/payment-methods")[0]
    assert (first["card_brand"], first["is_default"]) == ("mastercard", True)


# Cards ------------------------------------------------------------------------------------------


def test_cards_are_added_chosen_and_removed(starter: Customer, other: Customer) -> None:
    (visa,) = starter.get("/billing/payment-methods")
    path = f"/billing/payment-methods/{visa['id']}"
    assert starter.http.delete(path).status_code == 409
    intent = starter.post("/billing/setup-intent")
    starter.confirm("setup_intent", intent, "pm_card_amex").raise_for_status()
    quiet(starter)
    amex, old = starter.get("/billing/payment-methods")
    assert (amex["card_brand"], amex["is_default"], old["id"]) == ("amex", True, visa["id"])
    # Another tenant's card is no card.
    assert other.http.delete(path).status_code == 404
    assert other.try_post(f"{path}/default").status_code == 404
    assert starter.post(f"{path}/default")["is_default"]
    assert subscriptions(starter)[0]["default_payment_method"] is not None
    assert starter.http.delete(f"/billing/payment-methods/{amex['id']}").is_success
    quiet(starter)
    (left,) = starter.get("/billing/payment-methods")
    assert (left["id"], left["is_default"]) == (visa["id"], True)


def test_a_card_that_is_detached_at_stripe_is_gone_here(starter: Customer) -> None:
    intent = starter.post("/billing/setup-intent")
    starter.confirm("setup_intent", intent, "pm_card_amex").raise_for_status()
    quiet(starter)
    visa = at_stripe(starter, "payment_methods", customer=customer_id(starter))["data"][-1]
    httpx.post(
        f"{starter.world.sandbox_url}/stripe/v1/payment_methods/{visa['id']}/detach",
        headers={"Authorization": "Bearer sk_test_sandbox"},
        timeout=10,
    ).raise_for_status()
    quiet(starter)
    (left,) = starter.get("/billing/payment-methods")
    assert (left["card_brand"], left["is_default"]) == ("amex", True)


def test_of_two_confirmed_cards_the_later_one_pays_whichever_is_told_first(
    signed_in: Customer, world: Running
) -> None:
    world.control("deliveries", part="stripe", shuffle=True)
    try:
        for card in ("pm_card_visa", "pm_card_amex"):
            intent = signed_in.post("/billing/setup-intent")
            signed_in.confirm("setup_intent", intent, card).raise_for_status()
            world.advance(seconds=2)
        quiet(signed_in)
    finally:
        world.control("deliveries", part="stripe", shuffle=False)
    first = signed_in.get("/billing/payment-methods")[0]
    assert (first["card_brand"], first["is_default"]) == ("amex", True)
    assert len(subscriptions(signed_in)) == 1
