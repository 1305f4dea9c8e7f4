"""The calendar of a name that ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.rules.domain_life import NOTICE_DAYS, Stage, days_left, notice_due, stage

END = datetime(2027, 3, 1, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("days", "wanted"),
    [
        (-400, Stage.LIVING),
        (-30.001, Stage.LIVING),
        (-30, Stage.ENDING),
        (-0.001, Stage.ENDING),
        (0, Stage.GRACE),
        (29.999, Stage.GRACE),
        (30, Stage.REDEMPTION),
        (64.999, Stage.REDEMPTION),
        (65, Stage.GONE),
        (4000, Stage.GONE),
    ],
)
def test_stages(days: float, wanted: Stage) -> None:
    assert stage(END, END + timedelta(days=days)) is wanted


def test_stages_follow_one_another() -> None:
    seen = [stage(END, END + timedelta(days=day)) for day in range(-100, 100)]
    assert list(dict.fromkeys(seen)) == list(Stage)
    assert seen == sorted(seen, key=list(Stage).index)


@pytest.mark.parametrize(
    ("left", "days"),
    [(31, None), (30, 30), (29, 30), (14, 14), (13, 14), (7, 7), (1, 1), (0.5, 1), (0, None)],
)
def test_the_nearest_notice_is_due(left: float, days: int | None) -> None:
    assert notice_due(END, END - timedelta(days=left)) == days


def test_everybody_who_is_looked_at_daily_hears_every_notice() -> None:
    for hour in range(24):
        first = END - timedelta(days=60, hours=hour)
        told = {notice_due(END, first + timedelta(days=day)) for day in range(61)}
        assert told == {None, *NOTICE_DAYS}


def test_a_begun_day_counts() -> None:
    assert days_left(END, END - MOMENT) == 1
    assert days_left(END, END - timedelta(days=2)) == 2
    assert days_left(END, END + timedelta(days=2)) == 0
