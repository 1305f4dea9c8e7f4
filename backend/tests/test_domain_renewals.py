"""Another year over the API, Stripe and the registrar at the wire."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import httpx
import pytest

from tests.fixtures.customer import Customer
from tests.fixtures.money import alerts, audit, kinds, letters, quiet, set_bank

Invariants = Callable[[], None]


@pytest.fixture
def named(starter: Customer) -> dict[str, Any]:
    """An active domain of a tenant that pays."""
    domain = starter.buy_domain()
    quiet(starter)
    return domain


def renewal(customer: Customer, domain: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = customer.get(f"/domains/{domain['id']}/renewal")
    return found


def ask(customer: Customer, domain: dict[str, Any], **more: Any) -> httpx.Response:
    price = renewal(customer, domain)["price_cents"]
    return customer.try_post(f"/domains/{domain['id']}/renew", **{"price_cents": price, **more})


def has_another_year(customer: Customer, domain: dict[str, Any]) -> bool:
    now = customer.get(f"/domains/{domain['id']}")
    days = (
        datetime.fromisoformat(now["expiry_date"]) - datetime.fromisoformat(domain["expiry_date"])
    ).days
    assert days in (0, 365, 366)
    return now["status"] == "active" and days > 0


def test_a_year_is_ordered_and_paid_once(
    starter: Customer, named: dict[str, Any], invariants: Invariants
) -> None:
    shown = renewal(starter, named)
    assert (shown["stage"], shown["restores"], shown["order"]) == ("living", False, None)
    wrong = ask(starter, named, price_cents=shown["price_cents"] - 1)
    assert (wrong.status_code, wrong.json()["error_code"]) == (409, "PRICE_CHANGED")
    assert wrong.json()["details"]["price_cents"] == shown["price_cents"]
    for _ in range(2):
        answer = ask(starter, named)
        assert answer.status_code == 202, answer.text
        assert answer.json()["data"]["order"]["state"] == "quoted"
    starter.settle(lambda: has_another_year(starter, named), why="the name has another year")
    quiet(starter)
    assert kinds(starter)["capture"] == 2
    assert kinds(starter)["authorisation"] == 2
    assert renewal(starter, named)["order"] is None
    assert [s for s in letters(starter) if "eceipt" in s]
    assert audit(starter).balances
    invariants()


def test_a_declined_card_is_told_and_another_way_found(
    starter: Customer, named: dict[str, Any], invariants: Invariants
) -> None:
    set_bank(starter, "authentication_required")
    assert ask(starter, named).status_code == 202
    starter.settle(lambda: renewal(starter, named)["order"]["failure"], why="the refusal is told")
    order = renewal(starter, named)["order"]
    assert (order["state"], order["attempts"]) == ("quoted", 1)
    assert "authentication" in order["failure"]
    starter.drain()
    assert f"{named['domain_name']} could not be renewed" in letters(starter)
    assert not starter.get("/auth/me")["tenant"]["is_suspended"]
    # The holder is there now, with a card of their choice.
    answer = ask(starter, named, pay_with="browser").json()["data"]
    assert starter.confirm("payment_intent", answer).is_success
    starter.settle(lambda: has_another_year(starter, named), why="the name has another year")
    quiet(starter)
    assert kinds(starter)["capture"] == 2
    assert audit(starter).balances
    assert alerts() == []
    invariants()


def test_a_registrar_that_says_no_gives_the_money_back(
    starter: Customer, named: dict[str, Any], invariants: Invariants
) -> None:
    starter.world.control("namecheap/settings", balance="1.00")
    try:
        assert ask(starter, named).status_code == 202
        starter.settle(
            lambda: renewal(starter, named)["order"]["state"] == "voided",
            why="the order is let go",
        )
    finally:
        starter.world.control("namecheap/settings", balance="100000.00")
    quiet(starter)
    assert (kinds(starter)["release"], kinds(starter)["capture"]) == (1, 1)
    assert "renewal_failed" in alerts()
    assert audit(starter).balances
    invariants()
