"""The score and its explanation."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.rules import health
from app.rules.health import Inputs, Rule
from app.rules.warmup import Listing

COUNTS = st.integers(min_value=0, max_value=5_000)
# How long a figure takes on a busy machine says nothing about it.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
INPUTS = st.builds(
    Inputs,
    accepted=COUNTS,
    delivered=COUNTS,
    deferred=COUNTS,
    hard_bounced=COUNTS,
    unknown_users=COUNTS,
    soft_bounced=COUNTS,
    blocked=COUNTS,
    complaints=COUNTS,
    listing=st.sampled_from(Listing),
    aligned=st.sampled_from([True, False, None]),
)


@pytest.mark.parametrize(
    ("inputs", "score", "rules"),
    [
        (Inputs(), 100, []),
        (Inputs(accepted=1000, delivered=990, soft_bounced=10, aligned=True), 100, []),
        (Inputs(accepted=1000, unknown_users=40), 85, [(Rule.DEAD_ADDRESSES, 15)]),
        (Inputs(accepted=1000, hard_bounced=40, unknown_users=40), 70, [(Rule.DEAD_ADDRESSES, 30)]),
        (Inputs(accepted=1000, complaints=3), 60, [(Rule.COMPLAINTS, 40)]),
        (Inputs(accepted=10_000, complaints=8), 89, [(Rule.COMPLAINTS, 11)]),
        # One of two: as if it were one of a hundred.
        (Inputs(accepted=2, unknown_users=1), 96, [(Rule.DEAD_ADDRESSES, 4)]),
        (Inputs(accepted=200, blocked=10), 90, [(Rule.BLOCKED, 10)]),
        (Inputs(accepted=200, deferred=50), 95, [(Rule.DEFERRED, 5)]),
        (Inputs(listing=Listing.LISTED), 60, [(Rule.LISTED, 40)]),
        (Inputs(listing=Listing.UNKNOWN), 100, []),
        (Inputs(aligned=False), 80, [(Rule.NOT_ALIGNED, 20)]),
        (
            Inputs(accepted=100, complaints=9, unknown_users=50, aligned=False),
            10,
            [(Rule.COMPLAINTS, 40), (Rule.DEAD_ADDRESSES, 30), (Rule.NOT_ALIGNED, 20)],
        ),
    ],
)
def test_scores(inputs: Inputs, score: int, rules: list[tuple[Rule, int]]) -> None:
    found = health.score(inputs)
    assert found.score == score
    assert [(each.rule, each.points) for each in found.deductions] == rules
    assert all(each.meaning for each in found.deductions)


@patient
@given(INPUTS)
def test_the_deductions_are_what_is_missing(inputs: Inputs) -> None:
    found = health.score(inputs)
    assert found.score == max(0, 100 - sum(each.points for each in found.deductions))
    assert all(0 < each.points <= health.WEIGHTS[each.rule] for each in found.deductions)


@patient
@given(
    INPUTS,
    st.sampled_from(["deferred", "hard_bounced", "unknown_users", "blocked", "complaints"]),
    COUNTS,
)
def test_nothing_bad_raises_it(inputs: Inputs, name: str, more: int) -> None:
    worse = replace(inputs, **{name: getattr(inputs, name) + more})
    assert health.score(worse).score <= health.score(inputs).score
