"""The trial: seven times 24 hours from the instant the account was made."""

from __future__ import annotations

from datetime import datetime, timedelta
from math import ceil

from app.rules.plans import TRIAL_DAYS


def ends_at(started_at: datetime) -> datetime:
    return started_at + timedelta(days=TRIAL_DAYS)


def days_remaining(ends: datetime, now: datetime) -> int:
    """Whole days that are left, a begun one counted; 0 when it is over."""
    return max(0, ceil((ends - now) / timedelta(days=1)))


def is_over(ends: datetime, now: datetime) -> bool:
    """At the very instant of the end the trial is over."""
    return now >= ends
