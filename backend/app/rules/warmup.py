"""The volume ramp of a new inbox. Governed by days only; signals may hold it, never push it.

No engagement is faked and none is bought: the ramp limits what the owner may send.
"""

from __future__ import annotations

from datetime import timedelta

FIRST_DAY = 20
"""Messages on the first day."""

ONE_DAY = timedelta(days=1)

MAX_STEP = 0.20
"""At most a fifth more than the day before."""


def daily_limit(stage: int, cap: int) -> int:
    """Messages a day at `stage` (days that went well), never above `cap`.

    It rises by at most MAX_STEP a stage and never falls as the stage rises.
    """
    limit = min(FIRST_DAY, cap)
    for _ in range(max(0, stage)):
        if limit >= cap:
            return cap
        limit = min(cap, max(limit + 1, int(limit * (1 + MAX_STEP))))
    return limit


def monthly_limit(cap: int) -> int:
    """Messages in a calendar month: the plan's daily cap on every day of the longest month."""
    return cap * 31
