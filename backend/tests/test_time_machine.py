"""`inboxgrove sandbox advance`: each day's events and jobs are done before the next day begins."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.fixtures.customer import Customer
from tests.fixtures.money import audit, charges, letters, set_bank
from tests.fixtures.world import Running, free_port


@pytest.fixture
def working(signed_in: Customer) -> Iterator[None]:
    """Relay and worker, at work beside the command."""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            signed_in.drain()
            stop.wait(0.02)

    thread = threading.Thread(target=work, name="worker", daemon=True)
    thread.start()
    yield
    stop.set()
    thread.join(20)


def advance(world: Running, *words: str) -> tuple[int, dict[str, Any]]:
    from app.ops_billing import sandbox_app

    result = CliRunner().invoke(
        sandbox_app, [*words, "--url", world.sandbox_url, "--json"], catch_exceptions=False
    )
    return result.exit_code, json.loads(result.stdout) if result.exit_code == 0 else {}


@pytest.mark.slow
def test_weeks_pass_as_they_would(signed_in: Customer, world: Running, working: None) -> None:
    signed_in.add_card()
    code, told = advance(world, "--days", "9")
    assert code == 0
    assert told["seconds"] < 30
    signed_in.sign_in_again()
    assert charges(signed_in) == [9_700]
    assert signed_in.get("/billing/subscription")["status"] == "active"
    set_bank(signed_in, "generic_decline")
    # Jumped over: nothing happens within a paid month but the notice of its end.
    world.advance(days=27)
    assert advance(world, "--days", "13")[0] == 0
    signed_in.sign_in_again()
    data = signed_in.get("/billing/subscription")
    assert (data["is_suspended"], data["suspension_reason"]) == (True, "payment_failed")
    told_of = letters(signed_in)
    assert told_of.count("Your payment did not go through") == 3
    assert told_of.count("Your receipt: 97.00 USD") == 1
    assert {"Your trial ends in 3 days", "Your trial ends in 1 day"} <= set(told_of)
    assert audit(signed_in).balances


def test_without_days_nothing_moves(world: Running) -> None:
    assert advance(world)[0] == 2


def test_a_sandbox_that_is_away_is_told_of(world: Running) -> None:
    from app.ops_billing import sandbox_app

    nobody = f"http://127.0.0.1:{free_port()}"
    result = CliRunner().invoke(sandbox_app, ["--days", "1", "--url", nobody])
    assert result.exit_code == 1
    assert "does not answer" in result.stderr
