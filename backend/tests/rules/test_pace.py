from __future__ import annotations

import pytest

from app.rules import pace


@pytest.mark.parametrize(
    ("daily", "hourly", "domain"),
    [(0, 0, 0), (5, 5, 5), (20, 10, 20), (50, 25, 30), (100, 50, 60)],
)
def test_hour_and_domain_follow_from_the_day(daily: int, hourly: int, domain: int) -> None:
    assert pace.hourly_limit(daily) == hourly
    assert pace.recipient_domain_limit(daily) == domain


def test_neither_falls_when_the_day_rises_nor_exceeds_it() -> None:
    for limit in (pace.hourly_limit, pace.recipient_domain_limit):
        values = [limit(daily) for daily in range(300)]
        assert values == sorted(values)
        assert all(value <= daily for daily, value in enumerate(values))
