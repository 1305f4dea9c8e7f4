"""When the next backup is due, and which of the old ones may go."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, time, timedelta

UNFINISHED = timedelta(days=1)
"""So much older than the newest whole dump, what is not whole is nobody's work any more."""


@dataclass(frozen=True)
class Dump:
    name: str
    taken_at: datetime
    whole: bool
    """It has its manifest and the size that stands there."""


def next_due(newest: datetime | None, at: time, now: datetime) -> datetime:
    """The first `at` (UTC) after the newest backup; `now` when there is none.

    It lies in the past when a night was missed, and then one is taken at once.
    """
    if newest is None:
        return now
    due = newest.replace(hour=at.hour, minute=at.minute, second=0, microsecond=0)
    return due if due > newest else due + timedelta(days=1)


def superfluous(dumps: Iterable[Dump], keep: int) -> list[str]:
    """Names of those that may be deleted, oldest first: `keep` (at least 1) whole ones stay.

    The newest whole one always stays, and without one nothing goes. What is not whole does not
    count; it goes a day later, because it may be one that somebody is still taking.
    """
    ordered = sorted(dumps, key=lambda dump: (dump.taken_at, dump.name))
    whole = [dump for dump in ordered if dump.whole]
    if not whole:
        return []
    staying = {dump.name for dump in whole[-max(keep, 1) :]}
    too_old = whole[-1].taken_at - UNFINISHED
    return [
        dump.name
        for dump in ordered
        if dump.name not in staying and (dump.whole or dump.taken_at < too_old)
    ]
