"""A purchase with each provider failing before and after its effect: one name, one capture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.fixtures.customer import Customer
from tests.fixtures.world import Running

FAULTS = [
    # Stripe takes the hold's capture and its answer is lost, or it is down.
    ("stripe", "POST .*/capture", "fail_before"),
    ("stripe", "POST .*/capture", "fail_after"),
    ("stripe", "POST .*/capture", "reset"),
    # Namecheap registers and its answer is lost: we must ask, never buy twice.
    ("namecheap", "Command=namecheap.domains.create", "fail_before"),
    ("namecheap", "Command=namecheap.domains.create", "fail_after"),
    ("namecheap", "Command=namecheap.domains.create", "garbage"),
    ("namecheap", "Command=namecheap.domains.create", "reset"),
    ("namecheap", "Command=namecheap.domains.create", "rate_limit"),
    ("namecheap", "Command=namecheap.domains.getInfo", "fail_before"),
    ("namecheap", "Command=namecheap.domains.dns.setCustom", "fail_after"),
    # Cloudflare makes the zone or writes the records and its answer is lost.
    ("cloudflare", "POST .*/zones\n", "fail_before"),
    ("cloudflare", "POST .*/zones\n", "fail_after"),
    ("cloudflare", "POST .*/batch", "fail_before"),
    ("cloudflare", "POST .*/batch", "fail_after"),
    ("cloudflare", "POST .*/batch", "garbage"),
    # A node of the relay does not take the order.
    ("kumomta", "bump-config-epoch", "fail_before"),
    ("kumomta", "bump-config-epoch", "fail_after"),
]


@pytest.mark.parametrize(("part", "match", "mode"), FAULTS)
def test_one_name_one_capture(
    customer: Customer,
    world: Running,
    invariants: Callable[[], None],
    part: str,
    match: str,
    mode: str,
) -> None:
    customer.sign_up().add_card()
    offer = customer.offer()
    assert customer.confirm("payment_intent", offer).is_success
    world.fault(part, match, mode)
    bought = customer.post("/domains/purchase", purchase_id=offer["purchase_id"])

    def settled() -> Any:
        domain = customer.get(f"/domains/{bought['domain']['id']}")
        if domain["status"] in {"active", "failed"}:
            return domain
        # An unknown outcome is looked into over hours; nobody waits for them here.
        if used_up(world):
            world.advance(hours=0.2)
        customer.sign_in_again()
        return None

    domain = customer.settle(settled, within=40, why=f"{part} {mode} is overcome")
    customer.settle(lambda: not waiting(), why="no job is left")
    assert domain["status"] == "active", domain
    assert used_up(world), "The fault was never met: the pattern is wrong."
    assert count(world, "namecheap", "orders", domain["domain_name"]) == 1
    assert captures(customer) == 1
    invariants()


def test_a_name_that_is_gone_costs_nothing(
    customer: Customer, invariants: Callable[[], None]
) -> None:
    """Free when it was quoted, taken when we bought: the hold is released."""
    customer.sign_up().add_card()
    offer = customer.offer(f"gone-{customer.tag}.com")
    assert customer.confirm("payment_intent", offer).is_success
    bought = customer.post("/domains/purchase", purchase_id=offer["purchase_id"])
    customer.settle(
        lambda: customer.get(f"/domains/{bought['domain']['id']}")["status"] == "failed",
        within=40,
        why="the purchase has failed",
    )
    kinds = customer.settle(
        lambda: (k := ledger(customer)) and "release" in k and k, why="the hold is released"
    )
    assert "capture" not in kinds
    assert customer.get("/auth/me")["usage"]["domains"] == 0
    invariants()


def test_a_purchase_goes_on_without_the_browser(customer: Customer) -> None:
    """The card was confirmed and the page closed: the event alone buys the name."""
    customer.sign_up().add_card()
    assert customer.confirm("payment_intent", customer.offer()).is_success
    customer.settle(
        lambda: [d for d in customer.get("/domains") if d["status"] == "active"],
        within=40,
        why="the domain is active",
    )


@pytest.mark.parametrize("deliveries", [{"duplicate": 3}, {"shuffle": True}, {"drop": 0.5}])
def test_events_doubled_shuffled_or_dropped(
    customer: Customer, world: Running, invariants: Callable[[], None], deliveries: dict[str, Any]
) -> None:
    world.control("deliveries", part="stripe", **deliveries)
    customer.hurries = "drop" in deliveries
    customer.sign_up().add_card()
    customer.buy_domain()
    customer.settle(lambda: captures(customer) == 1, why="captured")
    customer.upgrade()
    customer.settle(
        lambda: customer.get("/auth/me")["tenant"]["trial_converted"], within=40, why="converted"
    )
    customer.settle(
        lambda: sorted(ledger(customer)) == ["authorisation", "capture", "charge"],
        within=60,
        why="each movement stands in the ledger once",
    )
    invariants()


def waiting() -> bool:
    from sqlalchemy import select

    from app.database.models import Job, JobState
    from app.database.session import ALL_TENANTS, transaction

    with transaction(tenant=ALL_TENANTS) as db:
        open_ = select(Job).where(Job.state.in_([JobState.WAITING, JobState.SENT]))
        return db.scalars(open_).first() is not None


def used_up(world: Running) -> bool:
    answer = httpx.get(f"{world.sandbox_url}/control/faults", timeout=10).json()
    return not answer["faults"]


def count(world: Running, part: str, what: str, name: str) -> int:
    answer = httpx.get(f"{world.sandbox_url}/control/{part}/{what}", timeout=10).json()
    return str(answer[what]).count(f"'{name}'")


def ledger(customer: Customer) -> list[str]:
    return [row["transaction_type"] for row in customer.get("/billing/transactions")]


def captures(customer: Customer) -> int:
    return ledger(customer).count("capture")
