"""When the price of another year is taken, and how often that is tried.

The owner is told the price a week before it is taken (app/rules/domain_life.py writes at 30 days).
A declined card is tried again while there is time: three weeks leave room for a new card, and a
registrar may need a day.
"""

from __future__ import annotations

from datetime import datetime, timedelta

CHARGE_DAYS = (21, 14, 7, 3, 1)
"""Days before the end at which the price is taken; the later ones when the earlier have failed."""

NOTICE = timedelta(days=7)
"""Between telling the price and taking it."""

_LAST = timedelta(days=CHARGE_DAYS[-1])


def first_charge(announced_at: datetime, ends_at: datetime) -> datetime:
    """When the price is taken that was told at `announced_at`; never later than a day before."""
    planned = ends_at - timedelta(days=CHARGE_DAYS[0])
    return min(max(planned, announced_at + NOTICE), ends_at - _LAST)


def next_charge(
    announced_at: datetime, tried_at: datetime | None, ends_at: datetime
) -> datetime | None:
    """The next try after the last one; None when there is none left before the end."""
    first = first_charge(announced_at, ends_at)
    if tried_at is None:
        return first
    rungs = (ends_at - timedelta(days=days) for days in CHARGE_DAYS)
    return min((rung for rung in rungs if rung > max(tried_at, first)), default=None)


def charge_due(
    announced_at: datetime, tried_at: datetime | None, ends_at: datetime, now: datetime
) -> bool:
    """Whether to try now. After the end only the owner asks for it."""
    due = next_charge(announced_at, tried_at, ends_at)
    return due is not None and due <= now < ends_at
