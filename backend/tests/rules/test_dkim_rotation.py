"""What stands in the DNS at each stage of replacing a key, and whose turn it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from app.rules import dkim_rotation
from app.rules.dkim_rotation import Key, Stage

OLD, NEW = Key("ig202601", "AAA"), Key("ig202607", "BBB")
MADE = datetime(2026, 1, 1, tzinfo=UTC)
YEAR = timedelta(days=365)


@pytest.mark.parametrize(
    ("stage", "beside"),
    [
        (Stage.PUBLISHING, (NEW,)),  # The old one signs, the new one is to be seen first.
        (Stage.KEEPING, (OLD,)),  # The new one signs; mail under way has the old one's signature.
        (Stage.REVOKED, (Key("ig202601", ""),)),  # On purpose, and not by accident.
        (Stage.DONE, ()),
        (Stage.UNDONE, ()),
    ],
)
def test_what_stands_beside_the_key_in_use(stage: Stage, beside: tuple[Key, ...]) -> None:
    assert tuple(dkim_rotation.beside(stage, OLD, NEW)) == beside


@pytest.mark.parametrize(
    ("number", "age", "every", "due"),
    [
        (0, timedelta(days=364), YEAR, False),
        (0, timedelta(days=365), YEAR, True),
        (29, timedelta(days=393), YEAR, False),  # The last of those made on one day…
        (29, timedelta(days=394), YEAR, True),  # … has its turn 29 days after the first.
        (30, timedelta(days=365), YEAR, True),
        (0, timedelta(days=9_999), timedelta(0), False),  # Only when somebody asks.
    ],
)
def test_whose_turn_it_is(number: int, age: timedelta, every: timedelta, *, due: bool) -> None:
    assert dkim_rotation.is_due(UUID(int=number), MADE, MADE + age, every) is due


def test_old_keys_outlive_queues() -> None:
    """RFC 5321 section 4.5.4.1: a sender gives up after four to five days at the earliest."""
    assert timedelta(days=5) < dkim_rotation.KEEP
