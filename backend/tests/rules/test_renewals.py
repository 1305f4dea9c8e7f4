"""The calendar of renewals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.rules import renewals

END = datetime(2027, 6, 30, tzinfo=UTC)


def before(days: float) -> datetime:
    return END - timedelta(days=days)


@pytest.mark.parametrize(
    ("told", "charged"),
    [
        (30, 21),  # Told in time: three weeks before the end.
        (28, 21),  # Exactly a week between the two.
        (25, 18),  # Told late: a week later all the same.
        (9, 2),
        (8, 1),
        (5, 1),  # No week is left: the day before the end is the last that helps.
        (0.5, 1),  # Past already: at once.
    ],
)
def test_the_price_is_taken_a_week_after_it_was_told(told: float, charged: float) -> None:
    assert renewals.first_charge(before(told), END) == before(charged)


@pytest.mark.parametrize(
    ("told", "tried", "again"),
    [
        (30, None, 21),  # Not tried yet.
        (30, 21, 14),  # Right at a rung: the next one.
        (30, 20, 14),  # A day late: the rungs stay where they are.
        (30, 14, 7),
        (30, 6, 3),
        (30, 2, 1),
        (30, 1, None),  # The last one has failed.
        (25, None, 18),  # The first try follows the telling …
        (25, 18, 14),  # … and the others the ladder.
        (30, 25, 14),  # Asked for by hand before the calendar began: its first rung counts as used.
    ],
)
def test_tries_climb_down_a_ladder(told: float, tried: float | None, again: float | None) -> None:
    tried_at = None if tried is None else before(tried)
    expected = None if again is None else before(again)
    assert renewals.next_charge(before(told), tried_at, END) == expected


@pytest.mark.parametrize(
    ("tried", "now", "due"),
    [
        (None, 21.01, False),  # Not a moment too early.
        (None, 21, True),
        (None, 3, True),  # The calendar stood still for weeks.
        (21, 20, False),
        (21, 14, True),
        (13, 7.5, False),
        (1, 0.5, False),  # No rung is left.
        (None, 0, False),  # Over: from now on only the owner asks.
        (None, -1, False),
    ],
)
def test_when_to_try(tried: float | None, now: float, due: bool) -> None:
    tried_at = None if tried is None else before(tried)
    assert renewals.charge_due(before(30), tried_at, END, before(now)) is due
