"""Four hundred days of one customer, in seconds: the clock goes from one due moment to the next."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest

from app import clock
from tests.fixtures.customer import Customer
from tests.fixtures.money import (
    at_stripe,
    audit,
    charges,
    customer_id,
    kinds,
    letters,
    quiet,
    set_bank,
    stripe_control,
    tenant_of,
    tick,
)

STARTER, GROWTH = 9_700, 29_700
DAYS = 400


class Calendar:
    """Days of a life, counted from its first."""

    def __init__(self, customer: Customer) -> None:
        self._customer = customer
        self.began = clock.now()
        self.stops = 0

    @property
    def day(self) -> float:
        return (clock.now() - self.began) / timedelta(days=1)

    def until(self, day: float, *, night: bool = False) -> None:
        """Stop wherever Stripe does something by itself: events arrive, jobs run.

        With `night` the calendar comes round on that day, with all it brings: reconciliation,
        reminders, housekeeping.
        """
        end = self.began + timedelta(days=day)
        while clock.now() < end:
            known = stripe_control(self._customer, "agenda")
            due = (
                end
                if known["next"] is None
                else clock.now() + timedelta(seconds=max(1, known["next"] + 1 - known["now"]))
            )
            left = (min(due, end) - clock.now()).total_seconds()
            self._customer.world.advance(seconds=max(left, 0.001))
            quiet(self._customer)
            self.stops += 1
        if night:
            tick(self._customer)
        self._customer.sign_in_again()


def new_card(customer: Customer) -> None:
    intent = customer.post("/billing/setup-intent")
    customer.confirm("setup_intent", intent, "pm_card_mastercard").raise_for_status()
    quiet(customer)


def standing(customer: Customer) -> tuple[str, bool]:
    data = customer.get("/billing/subscription")
    return data["status"], data["is_suspended"]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_four_hundred_days(
    signed_in: Customer,
    invariants: Callable[[], None],
) -> None:
    customer, began, worked = signed_in, time.perf_counter(), time.process_time()
    life = Calendar(customer)
    customer.add_card()
    life.until(8)
    assert (standing(customer), charges(customer)) == (("active", False), [STARTER])

    life.until(45, night=True)
    assert charges(customer) == [STARTER] * 2

    customer.upgrade("growth")
    life.until(69)
    # A month and some days on Growth; then the bank refuses for a week and a half.
    set_bank(customer, "generic_decline")
    life.until(110)
    assert standing(customer) == ("unpaid", True)
    set_bank(customer, "ok")
    new_card(customer)
    assert standing(customer) == ("active", False)

    life.until(200, night=True)
    customer.upgrade("starter")
    assert customer.get("/billing/subscription")["plan"] == "growth"
    life.until(235)
    assert customer.get("/billing/subscription")["plan"] == "starter"

    newest = at_stripe(customer, "charges", customer=customer_id(customer), limit="1")["data"][0]
    dispute = customer.world.control("stripe/disputes", charge=newest["id"])
    quiet(customer)
    assert standing(customer) == ("active", True)
    life.until(240)
    customer.world.control("stripe/disputes", dispute=dispute["id"], status="won")
    quiet(customer)
    assert standing(customer) == ("active", False)

    life.until(300)
    customer.post("/billing/cancel", comment="a pause")
    life.until(340)
    assert standing(customer)[0] == "canceled"
    customer.post("/billing/resume", key="back")
    life.until(DAYS, night=True)
    seconds, work = time.perf_counter() - began, time.process_time() - worked

    assert standing(customer) == ("active", False)
    assert tenant_of(customer).is_suspended is False
    books = audit(customer)
    assert books.balances, books
    paid = Counter(charges(customer))
    assert paid[GROWTH] >= 4
    assert paid[STARTER] >= 6
    assert kinds(customer)["failure"] == 3
    assert "Your account is suspended" in letters(customer)
    invariants()
    # For `pytest -rP`; a noisy machine must not fail a test, so it is no assertion.
    print(f"{life.day:.0f} days, {life.stops} stops: {seconds:.1f} s, {work:.1f} s of work")  # noqa: T201
