"""Sums of inbox_days by week, so that a report over a quarter reads few rows of each inbox.

A week is summed once it has been over for `SETTLES`, all inboxes of a tenant at once, or none: the
rows are there, or the days count. Records that come later still take the week's sums away again, in
the transaction that counts them. Those and the summing keep out of each other's way by one lock,
which what happened lately never needs.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    CompoundSelect,
    Date,
    any_,
    cast,
    exists,
    func,
    literal_column,
    select,
    text,
)
from sqlalchemy.orm import Session

from app import clock
from app.database.models import InboxDay, InboxWeek
from app.rules.records import KINDS

SETTLES: Final = timedelta(days=3)
"""After a week; nodes deliver their records within seconds, or when they are back."""

_MARGIN: Final = timedelta(days=1)
"""How much earlier a record counts as late: clocks differ, and a batch may span midnight."""

_WEEK: Final = timedelta(days=7)

LOCK: Final = "SELECT pg_advisory_xact_lock(7264002)"
"""Any fixed number of its own. Taken before all other locks of its transaction."""

FORGET: Final = """
DELETE FROM inbox_weeks w USING (
    SELECT DISTINCT tenant_id, date_trunc('week', day)::date AS week FROM fresh
) AS f WHERE w.tenant_id = f.tenant_id AND w.week = f.week
"""
"""What ingest does for a batch that holds late records."""

_OPEN = text("""
SELECT tenant_id, date_trunc('week', day)::date AS week FROM tenant_days t
WHERE day < :over AND NOT EXISTS (
    SELECT FROM inbox_weeks w
    WHERE w.tenant_id = t.tenant_id AND w.week = date_trunc('week', t.day)::date
)
GROUP BY 1, 2 ORDER BY 2 DESC, 1 LIMIT :at_most
""")

_SUM = f"""
INSERT INTO inbox_weeks (id, created_at, tenant_id, inbox_id, week, {", ".join(KINDS)})
SELECT gen_random_uuid(), :now, tenant_id, inbox_id, :week, {", ".join(f"sum({k})" for k in KINDS)}
FROM inbox_days WHERE tenant_id = :tenant_id AND day BETWEEN :week AND :last
GROUP BY tenant_id, inbox_id
"""  # noqa: S608  # Our own names.


def first_day(day: date) -> date:
    """The Monday of its week."""
    return day - timedelta(days=day.weekday())


def unsettled(today: date) -> date:
    """The Monday from which on weeks are not summed yet."""
    return first_day(today - SETTLES)


def are_late(days: Iterable[date], today: date) -> bool:
    """Whether the week of any of them may have been summed."""
    return min(days) < first_day(today - SETTLES + _MARGIN)


def sum_up(db: Session, today: date, *, at_most: int) -> int:
    """Sum weeks of tenants that are over, the latest first; how many, `at_most` if more are left.

    Expects a session that sees all tenants, and to be alone in its transaction.
    """
    db.execute(text(LOCK))
    weeks = db.execute(_OPEN, {"over": unsettled(today), "at_most": at_most}).all()
    for tenant_id, week in weeks:
        about = {"tenant_id": tenant_id, "week": week, "last": week + _WEEK - timedelta(days=1)}
        db.execute(text(_SUM), {**about, "now": clock.now()})
    return len(weeks)


def counts(since: date, until: date) -> CompoundSelect[*tuple[Any, ...]]:
    """Rows of `inbox_id` and counts that together are the days from `since` to `until`.

    In one statement, so that no week is summed or taken apart between its two halves.
    """
    first = since if since == first_day(since) else first_day(since) + _WEEK
    last = first_day(until + timedelta(days=1)) - _WEEK
    day = func.generate_series(
        cast(since, Date), cast(until, Date), literal_column("interval '1 day'")
    ).column_valued("day")
    week = cast(func.date_trunc("week", day), Date)
    summed = exists().where(InboxWeek.week == week, week.between(first, last))
    alone = func.array(select(cast(day, Date)).where(~summed).scalar_subquery(), type_=ARRAY(Date))
    days = select(InboxDay.inbox_id, *(getattr(InboxDay, kind) for kind in KINDS)).where(
        InboxDay.day == any_(alone)
    )
    weeks = select(InboxWeek.inbox_id, *(getattr(InboxWeek, kind) for kind in KINDS)).where(
        InboxWeek.week.between(first, last)
    )
    return weeks.union_all(days)
