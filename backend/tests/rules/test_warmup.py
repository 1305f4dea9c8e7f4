"""The ramp's rule: what must hold whatever the signals say."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rules import warmup
from app.rules.warmup import Inputs, Listing, Rule

counts = st.integers(0, 300)
inputs = st.builds(
    Inputs,
    age_days=st.integers(0, 60),
    limit=st.integers(1, 250),
    cap=st.integers(1, 200),
    paused=st.booleans(),
    accepted=st.none() | counts,
    deferred=st.none() | counts,
    bounced=st.none() | counts,
    complaints=st.integers(0, 3),
    listing=st.sampled_from(Listing),
    aligned=st.none() | st.booleans(),
)

GOOD = Inputs(
    age_days=3,
    limit=28,
    cap=50,
    paused=False,
    accepted=28,
    deferred=0,
    bounced=0,
    complaints=0,
    listing=Listing.UNCHECKED,
    aligned=True,
)


@given(inputs)
def test_never_above_the_cap_and_a_fifth_more_at_most(given_: Inputs) -> None:
    after = warmup.step(given_)
    assert 1 <= after.limit <= given_.cap
    # Below five messages a fifth is no whole message.
    assert after.limit <= max(given_.limit * (1 + warmup.MAX_STEP), 5)


@given(inputs)
def test_never_up_after_a_bad_signal_nor_on_missing_data(given_: Inputs) -> None:
    after = warmup.step(given_)
    bad = given_.complaints or given_.listing == Listing.LISTED or given_.aligned is False
    missing = None in (given_.accepted, given_.deferred, given_.bounced, given_.aligned)
    bounced, accepted = given_.bounced or 0, given_.accepted or 0
    if bad or missing or given_.paused or bounced > accepted * warmup.HOLD_BOUNCES:
        assert after.limit <= given_.limit
    if after.limit > given_.limit:
        assert after.rule == Rule.STEPPED_UP


@given(inputs, st.sampled_from(["deferred", "bounced", "complaints"]), st.integers(1, 50))
def test_worse_signals_never_give_more(given_: Inputs, name: str, more: int) -> None:
    value = getattr(given_, name)
    worse = replace(given_, **{name: (0 if value is None else value) + more})
    if value is not None:
        assert warmup.step(worse).limit <= warmup.step(given_).limit


@given(inputs, st.integers(1, 50))
def test_a_greater_plan_never_gives_less(given_: Inputs, more: int) -> None:
    greater = replace(given_, cap=given_.cap + more)
    # What counts as used, and as warm, depends on the cap; what lowers the limit does not.
    if warmup.step(given_).rule == warmup.step(greater).rule:
        assert warmup.step(greater).limit >= warmup.step(given_).limit


@given(inputs)
def test_what_is_stored_gives_the_same_number_again(given_: Inputs) -> None:
    stored = json.loads(json.dumps(given_.document()))
    assert Inputs.read(stored) == given_
    assert warmup.step(Inputs.read(stored), warmup.VERSION) == warmup.step(given_)


@pytest.mark.parametrize(
    ("change", "rule", "limit"),
    [
        ({}, Rule.STEPPED_UP, 33),
        ({"age_days": 0}, Rule.FIRST_DAY, 28),
        ({"listing": Listing.LISTED}, Rule.LISTED, 20),
        ({"complaints": 1}, Rule.COMPLAINED, 20),
        ({"bounced": 3}, Rule.BOUNCED, 20),
        ({"accepted": 9, "bounced": 9}, Rule.BOUNCES, 28),
        ({"paused": True}, Rule.PAUSED, 28),
        ({"paused": True, "complaints": 1}, Rule.COMPLAINED, 20),
        ({"accepted": None, "deferred": None, "bounced": None}, Rule.NO_DATA, 28),
        ({"aligned": None}, Rule.NO_DATA, 28),
        ({"aligned": False}, Rule.NOT_ALIGNED, 28),
        ({"listing": Listing.UNKNOWN}, Rule.LISTING_UNKNOWN, 28),
        ({"bounced": 2}, Rule.BOUNCES, 28),
        ({"bounced": 1}, Rule.STEPPED_UP, 33),
        ({"deferred": 7}, Rule.DEFERRED, 28),
        ({"accepted": 13}, Rule.UNUSED, 28),
        ({"limit": 50, "accepted": 50}, Rule.AT_CAP, 50),
        ({"limit": 86, "accepted": 86}, Rule.AT_CAP, 50),
        ({"limit": 50, "accepted": 50, "complaints": 1}, Rule.COMPLAINED, 34),
    ],
)
def test_each_rule(change: dict[str, Any], rule: Rule, limit: int) -> None:
    step = warmup.step(replace(GOOD, **change))
    assert (step.rule, step.limit) == (rule, limit)
    assert rule in warmup.MEANING


@given(st.integers(0, 30), st.integers(1, 200))
def test_the_stage_is_where_the_limit_stands_on_the_ramp(stage: int, cap: int) -> None:
    limit = warmup.daily_limit(stage, cap)
    assert warmup.stage(limit, cap) <= stage
    assert warmup.daily_limit(warmup.stage(limit, cap), cap) == limit


def test_an_unknown_version_is_an_error() -> None:
    with pytest.raises(KeyError):
        warmup.step(GOOD, "1999-01")
