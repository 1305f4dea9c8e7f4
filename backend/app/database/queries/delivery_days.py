"""The tables of delivery events, one for each day (UTC).

The product has no rights on them: it asks the owner by two functions (migration 0011).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

SLACK: Final = timedelta(days=1)
"""How far a node's clock may be ahead, and how much longer than it is kept a day is there.

Longer than any transaction: no batch that is just being stored can bring a dropped day back.
"""

AHEAD: Final = 3
"""Days that are there before they begin, so that midnight is like any other moment."""


def make(db: Session, days: Iterable[date]) -> int:
    """Make the tables that are missing; how many were."""
    made = db.scalar(text("SELECT make_delivery_days(:days)"), {"days": list(days)})
    return int(made or 0)


def drop_before(db: Session, day: date) -> int:
    """Drop the tables of the days before `day` with all that is in them; how many there were.

    Waits two seconds for whoever reads them, and raises then (sqlalchemy.exc.OperationalError).
    """
    return int(db.scalar(text("SELECT drop_delivery_days(:day)"), {"day": day}) or 0)


def turn(db: Session, today: date, keep: timedelta) -> tuple[int, int]:
    """Make the days ahead and drop those that are older than `keep`; how many of each."""
    made = make(db, (today + timedelta(days=ahead) for ahead in range(AHEAD + 1)))
    return made, drop_before(db, today - keep - SLACK)
