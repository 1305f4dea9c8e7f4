"""Recorded lives told again in random orders: late, doubled, dropped; the ledger is the recorded.

`python -m benchmarks.billing_replay` tells them ten thousand times.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from app import clock
from app.config import get_settings
from app.database import models  # noqa: F401  # `clean` empties the tables that are known.
from benchmarks.billing import lives
from benchmarks.billing.lives import LIVES, Life
from benchmarks.billing_replay import Replay, order, prepare

ORDERS = 2
RECORDED = {life["name"]: life for life in lives.read()}


@pytest.fixture
def clock_file(clean: None, tmp_path: Path) -> Iterator[Path]:
    yield prepare(tmp_path)
    clock.follow(get_settings().clock_offset_file)


def test_the_recording_is_of_the_lives_that_are_written_down() -> None:
    assert list(RECORDED) == list(LIVES)
    assert all(life["movements"] for life in RECORDED.values())


@pytest.mark.parametrize("name", RECORDED)
def test_any_order_ends_in_the_recorded_ledger(name: str, clock_file: Path) -> None:
    replay = Replay(RECORDED[name], clock_file)
    wrong = [found for seed in range(ORDERS) if (found := replay.run(seed)) is not None]
    assert wrong == []


def test_a_cent_more_is_noticed(clock_file: Path) -> None:
    life: Life = copy.deepcopy(RECORDED["steady"])
    charge = next(one for one in life["events"] if one["type"] == "charge.succeeded")
    charge["data"]["object"]["amount_captured"] += 1
    assert "another ledger" in str(Replay(life, clock_file).run(0))


def test_an_event_that_is_never_delivered_is_noticed(clock_file: Path) -> None:
    life: Life = copy.deepcopy(RECORDED["dunned"])
    refused = next(one for one in life["events"] if one["type"] == "charge.failed")
    refused["type"] = "charge.never_heard_of"
    assert "another ledger" in str(Replay(life, clock_file).run(0))


@pytest.mark.parametrize("seed", range(20))
def test_an_order_tells_everything_and_nothing_before_it_happened(seed: int) -> None:
    happened: set[int] = set()
    delivered: Counter[int] = Counter()
    for step in order(40, seed):
        if step.delivered:
            assert step.event in happened
            delivered[step.event] += 1
        else:
            happened.add(step.event)
    assert set(delivered) == happened == set(range(40))


def test_orders_differ_and_some_have_copies_and_late_comers() -> None:
    told = [[one.event for one in order(40, seed) if one.delivered] for seed in range(50)]
    assert len({tuple(one) for one in told}) == 50
    assert any(len(one) > 60 for one in told)
    assert any(one != sorted(one) for one in told)
