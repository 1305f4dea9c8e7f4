"""Workers that die by SIGKILL in the middle of purchases, while providers fail as well.

`python -m benchmarks.billing_crash` does a thousand of these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from app.database import models  # noqa: F401  # `clean` empties the tables that are known.
from benchmarks import billing_crash
from benchmarks.billing_crash import Outcome, Plan
from tests.fixtures.world import Running

SEEDS = range(8)


@pytest.fixture(scope="module")
def hire(_running: Running) -> Iterator[Callable[..., dict[str, Any]]]:
    """Workers are forked by a process of their own, which has the world's addresses."""
    with billing_crash.workshop() as workshop:
        yield workshop


@pytest.mark.parametrize("seed", SEEDS)
def test_one_charge_one_name_or_neither(
    world: Running, hire: Any, invariants: Callable[[], None], seed: int
) -> None:
    outcome = billing_crash.run(world, hire, billing_crash.plan(seed))
    assert outcome.complaints == []
    assert outcome.ended in {"bought", "let go"}
    invariants()


@pytest.mark.parametrize("kill_at", [8, 21, 34, 55, 89])
def test_a_worker_is_killed_where_it_was_told(world: Running, hire: Any, kill_at: int) -> None:
    wanted = Plan(kill_at, gone=False, browser=True, kills=[kill_at], faults=[])
    outcome = billing_crash.run(world, hire, wanted)
    assert len(outcome.died) == 1
    assert (outcome.ended, outcome.complaints) == ("bought", [])


def test_what_was_charged_at_once_is_given_back_once(world: Running, hire: Any) -> None:
    faults = [("stripe", "POST .*/refunds", "fail_after"), ("stripe", "POST .*/refunds", "reset")]
    wanted = Plan(2_000, gone=True, browser=True, kills=[60, 90], faults=faults, automatic=True)
    outcome = billing_crash.run(world, hire, wanted)
    assert (outcome.ended, outcome.complaints) == ("let go", [])


def test_the_judge_sees_a_second_charge(world: Running, hire: Any) -> None:
    wanted = Plan(1_000, gone=False, browser=True, kills=[], faults=[])
    tenant_id, purchase = billing_crash.place_order(world, wanted)
    headers = {"Authorization": "Bearer sk_test_sandbox"}
    stripe = f"{world.sandbox_url}/stripe/v1"
    (intent,) = httpx.get(f"{stripe}/payment_intents", headers=headers, timeout=10).json()["data"][
        :1
    ]
    for _ in range(2):
        form = {
            "amount": str(intent["amount"]),
            "currency": "usd",
            "customer": intent["customer"],
            "payment_method": "pm_card_visa",
            "confirm": "true",
        }
        httpx.post(
            f"{stripe}/payment_intents", data=form, headers=headers, timeout=10
        ).raise_for_status()
    outcome = Outcome(0, "stuck")
    billing_crash.judge(world, tenant_id, purchase, outcome)
    assert any("double charge" in why for why in outcome.complaints)
    # The hold stands and nobody works on it: that is seen too.
    assert any("stuck" in why for why in outcome.complaints)
