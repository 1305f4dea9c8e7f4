"""When the next backup is due, and which old ones may go."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import pytest

from app.rules.backups import Dump, next_due, superfluous

NIGHT = datetime(2026, 11, 23, 2, 0, 5, tzinfo=UTC)
NOW = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("newest", "at", "due"),
    [
        (None, time(2), NOW),
        (NIGHT, time(2), datetime(2026, 11, 24, 2, tzinfo=UTC)),
        # By hand in the afternoon: the night's is taken all the same.
        (datetime(2026, 11, 23, 14, tzinfo=UTC), time(2), datetime(2026, 11, 24, 2, tzinfo=UTC)),
        (datetime(2026, 11, 23, 1, 59, tzinfo=UTC), time(2), datetime(2026, 11, 23, 2, tzinfo=UTC)),
        (NIGHT, time(23, 30), datetime(2026, 11, 23, 23, 30, tzinfo=UTC)),
        # The machine was off: it lies in the past, and is taken at once.
        (datetime(2026, 11, 20, 2, tzinfo=UTC), time(2), datetime(2026, 11, 21, 2, tzinfo=UTC)),
    ],
)
def test_one_is_due_every_day(newest: datetime | None, at: time, due: datetime) -> None:
    assert next_due(newest, at, NOW) == due


def nights(marks: str) -> list[Dump]:
    """One a day, oldest first: w is whole, u is not; named by their place."""
    return [
        Dump(str(place), NIGHT + timedelta(days=place), whole=mark == "w")
        for place, mark in enumerate(marks)
    ]


@pytest.mark.parametrize(
    ("marks", "keep", "gone"),
    [
        ("", 2, []),
        ("w", 1, []),
        ("www", 3, []),
        ("wwww", 2, ["0", "1"]),
        # What is not whole does not count as kept, and goes when it is older by more than a day.
        ("wuww", 2, ["0", "1"]),
        ("wwuw", 3, []),
        ("uwww", 3, ["0"]),
        # Newer than the newest whole one: somebody may still be at it.
        ("wwu", 1, ["0"]),
        ("wuuu", 1, []),
        # Without a whole one, nothing goes.
        ("uuu", 1, []),
        # No number takes the last one away.
        ("ww", 0, ["0"]),
    ],
)
def test_the_newest_whole_ones_stay(marks: str, keep: int, gone: list[str]) -> None:
    assert superfluous(nights(marks), keep) == gone
    assert superfluous(reversed(nights(marks)), keep) == gone, "the order of a directory is none"
