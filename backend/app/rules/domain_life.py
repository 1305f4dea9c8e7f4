"""The stages of a registered name after its first year, and when its owner is written to.

Sources: ICANN's Expired Registration Recovery Policy (notices about a month and a week before, a
redemption grace period of 30 days) and its life cycle of a gTLD; the registrar's own grace of 30
days. Country endings may be shorter: what the registrar says of a name overrides this calendar.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from math import ceil

NOTICE_DAYS = (30, 14, 7, 1)
"""Days before the end at which the owner is written to."""

RENEWAL_DAYS = 14
"""Days before the end from which a person of the platform is called to see to a renewal."""

GRACE = timedelta(days=30)
"""After the end: renewed at the ordinary price, but DNS and mail have stopped."""

REDEMPTION = timedelta(days=30)
"""After the grace: given back for a redemption fee."""

PENDING_DELETE = timedelta(days=5)
"""After the redemption: nobody can do anything, then anybody can register it."""


class Stage(StrEnum):
    LIVING = "living"
    ENDING = "ending"
    GRACE = "grace"
    REDEMPTION = "redemption"
    GONE = "gone"


def stage(ends_at: datetime, now: datetime) -> Stage:
    """At the very instant of its end a name is over."""
    if now < ends_at - timedelta(days=NOTICE_DAYS[0]):
        return Stage.LIVING
    if now < ends_at:
        return Stage.ENDING
    if now < ends_at + GRACE:
        return Stage.GRACE
    if now < ends_at + GRACE + REDEMPTION + PENDING_DELETE:
        return Stage.REDEMPTION
    return Stage.GONE


def days_left(ends_at: datetime, now: datetime) -> int:
    """Whole days, a begun one counted; 0 when it is over."""
    return max(0, ceil((ends_at - now) / timedelta(days=1)))


def notice_due(ends_at: datetime, now: datetime) -> int | None:
    """The nearest of NOTICE_DAYS that has come; None before the first and after the end."""
    if now >= ends_at:
        return None
    left = days_left(ends_at, now)
    return min((days for days in NOTICE_DAYS if left <= days), default=None)
