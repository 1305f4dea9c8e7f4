"""Attempts at the doors that guessers try, counted in PostgreSQL: they count with Redis away, too.

Each call is a short transaction of its own, because a request that fails must keep its count.
rules/throttles.py has the figures.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app import clock, errors
from app.database.models import Throttle, new_id
from app.database.session import transaction
from app.rules.throttles import DAY, LIMITS, Limit, block_of, key, room, wait
from app.utils import monitoring

_NOBODY = "nobody"
"""Scope: no tenant's rows are visible."""

Counted = list[tuple[bytes, Limit]]


def spend(name: str, **subjects: str) -> None:
    """Count one attempt at the door `name` against each of its limits, or against none.

    `subjects` are `account` (an address or an id) and `address` (an IP address), as the door needs.
    Raises RateLimited with `retry_after` when a limit is reached, KeyError for an unknown door or a
    missing subject. Exact under concurrency. Call it before the first statement of a transaction of
    your own: who holds one connection while waiting for another can wait for ever.
    """
    limits = _limits(name, subjects)
    now = clock.now()
    try:
        with transaction(tenant=_NOBODY) as db:
            for id_, limit in limits:
                _count(db, id_, limit, now)
    except errors.RateLimited:
        monitoring.THROTTLED.labels(door=name, result="refused").inc()
        monitoring.log.warning("too many attempts", door=name)
        raise
    monitoring.THROTTLED.labels(door=name, result="passed").inc()


def refund(name: str, **subjects: str) -> None:
    """Take one attempt back, because it succeeded: only failures are counted then."""
    now = clock.now()
    with transaction(tenant=_NOBODY) as db:
        for id_, limit in _limits(name, subjects):
            _uncount(db, id_, limit, now)
    monitoring.THROTTLED.labels(door=name, result="refunded").inc()


def forget(db: Session) -> int:
    """Delete what no window reaches any more; how many rows."""
    result = db.execute(
        delete(Throttle).where(Throttle.window_start < clock.now() - timedelta(seconds=2 * DAY)),
        execution_options={"synchronize_session": False},
    )
    return int(getattr(result, "rowcount", 0))


def _limits(name: str, subjects: dict[str, str]) -> Counted:
    known = {
        subject: block_of(value) if subject == "address" else value.strip().lower()
        for subject, value in subjects.items()
    }
    # Sorted, so that two who take the same rows take them in the same order.
    return sorted(
        ((key(name, limit, known), limit) for limit in LIMITS[name]), key=lambda pair: pair[0]
    )


def _windows(limit: Limit, now: datetime) -> tuple[datetime, datetime, float]:
    """When the present window and the one before began, and the seconds since the former."""
    elapsed = now.timestamp() % limit.seconds
    start = datetime.fromtimestamp(round(now.timestamp() - elapsed), UTC)
    return start, start - timedelta(seconds=limit.seconds), elapsed


def _count(db: Session, id_: bytes, limit: Limit, now: datetime) -> None:
    start, before, elapsed = _windows(limit, now)
    previous = _read(db, id_, before)
    most = room(limit.number, limit.seconds, previous, elapsed)
    counted = None
    if most > 0:
        # The condition is checked under the row's lock, so that two at once cannot both be the last
        # one. The window before does not grow any more.
        counted = db.scalar(
            insert(Throttle)
            .values(id=new_id(), created_at=now, key=id_, window_start=start, count=1)
            .on_conflict_do_update(
                index_elements=[Throttle.key, Throttle.window_start],
                set_={"count": Throttle.count + 1},
                where=Throttle.count < most,
            )
            .returning(Throttle.count)
        )
    if counted is None:
        current = _read(db, id_, start)
        left = wait(limit.number, limit.seconds, previous, current, elapsed)
        raise errors.RateLimited(retry_after=max(1, left))


def _uncount(db: Session, id_: bytes, limit: Limit, now: datetime) -> None:
    start, before, _ = _windows(limit, now)
    newest = (
        select(Throttle.window_start)
        .where(Throttle.key == id_, Throttle.window_start.in_([start, before]), Throttle.count > 0)
        .order_by(Throttle.window_start.desc())
        .limit(1)
        .scalar_subquery()
    )
    db.execute(
        update(Throttle)
        .where(
            tuple_(Throttle.key, Throttle.window_start) == tuple_(id_, newest), Throttle.count > 0
        )
        .values(count=Throttle.count - 1),
        execution_options={"synchronize_session": False},
    )


def _read(db: Session, id_: bytes, start: datetime) -> int:
    query = select(Throttle.count).where(Throttle.key == id_, Throttle.window_start == start)
    return db.scalar(query) or 0
