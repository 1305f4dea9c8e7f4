"""The plan table and the verdicts that read it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rules import limits, plans, trial, warmup
from app.rules.limits import Allowed, Denied

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def test_prices_are_those_of_the_price_list() -> None:
    assert {name: plan.price_cents for name, plan in plans.PLANS.items()} == {
        "starter": 9_700,
        "growth": 29_700,
        "enterprise": 99_700,
    }


@pytest.mark.parametrize(
    ("limit", "used", "requested", "verdict"),
    [
        (5, 0, 5, Allowed(0)),  # Exactly full is allowed.
        (5, 0, 6, Denied(5, 0, 6)),  # One too many is not, and none is made.
        (5, 5, 1, Denied(5, 5, 1)),  # Full.
        (5, 7, 1, Denied(5, 7, 1)),  # Above the limit after a change of plan.
        (5, 0, 0, Denied(5, 0, 0)),  # Asking for none is no request.
        (5, 0, -1, Denied(5, 0, -1)),  # Nor is a negative number a way to make room.
    ],
)
def test_check(limit: int, used: int, requested: int, verdict: limits.Verdict) -> None:
    assert limits.check(limit, used, requested) == verdict


@pytest.mark.parametrize("plan", plans.PLANS.values())
def test_a_trial_is_capped_whatever_the_plan(plan: plans.Plan) -> None:
    assert limits.limits_of(plan, on_trial=True) == limits.Limits(inboxes=5, domains=1)
    assert limits.limits_of(plan, on_trial=False).inboxes == plan.inboxes


@pytest.mark.parametrize(
    ("after", "days", "over"),
    [
        (timedelta(0), 7, False),  # The first instant.
        (timedelta(seconds=1), 7, False),  # A begun day counts whole.
        (timedelta(days=6), 1, False),
        (timedelta(days=7, seconds=-1), 1, False),  # The last second.
        (timedelta(days=7), 0, True),  # The end itself is over.
        (timedelta(days=400), 0, True),
    ],
)
def test_trial(after: timedelta, days: int, over: bool) -> None:
    ends = trial.ends_at(START)
    assert trial.days_remaining(ends, START + after) == days
    assert trial.is_over(ends, START + after) is over


@given(st.integers(0, 400), st.integers(1, 500))
def test_the_ramp_never_falls_never_passes_the_cap_and_rises_by_a_fifth_at_most(
    stage: int, cap: int
) -> None:
    today, tomorrow = warmup.daily_limit(stage, cap), warmup.daily_limit(stage + 1, cap)
    assert 1 <= today <= tomorrow <= cap
    assert tomorrow <= max(today + 1, today * (1 + warmup.MAX_STEP))
