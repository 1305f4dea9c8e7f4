"""When a signing key is replaced, and what stands in the DNS meanwhile.

A rotation publishes a new key below a new selector, waits until receivers can see it, signs with
it, keeps the old key for as long as mail signed by it may still be under way, then revokes it (an
empty p=, RFC 6376 section 3.6.1) and at last takes it away. So at every moment each signature that
a receiver may meet has its key. M3AAWG's advice on key rotation has the same steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

KEEP: Final = timedelta(days=7)
"""The old key stays: longer than queues hold mail (RFC 5321 section 4.5.4.1: four to five days)."""

REVOKED_FOR: Final = timedelta(days=2)
"""An empty key stands for a while: it says that the key was ended on purpose."""

SPREAD_DAYS: Final = 30
"""Keys made on one day are not all replaced on one day."""


class Stage(StrEnum):
    PUBLISHING = "publishing"
    """The new key is in the DNS, or is to be put there by the owner, and is not seen everywhere."""
    KEEPING = "keeping"
    """Mail is signed by the new key; the old one still proves what is under way."""
    REVOKED = "revoked"
    """The old key stands there empty."""
    DONE = "done"
    UNDONE = "undone"
    """Given up before anything was signed by the new key."""


OVER: Final = frozenset({Stage.DONE, Stage.UNDONE})


@dataclass(frozen=True)
class Key:
    """One selector and what is published below it."""

    selector: str
    public_key: str
    """Empty: revoked."""


def beside(stage: Stage, old: Key, new: Key) -> Sequence[Key]:
    """What must be published besides the key that mail is signed with."""
    match stage:
        case Stage.PUBLISHING:
            return (new,)
        case Stage.KEEPING:
            return (old,)
        case Stage.REVOKED:
            return (Key(old.selector, ""),)
        case _:
            return ()


def is_due(domain_id: UUID, key_made_at: datetime, now: datetime, every: timedelta) -> bool:
    """Whether it is a name's turn; never when `every` is nothing.

    The same name has always the same delay of up to SPREAD_DAYS, so no day has everybody's turn.
    """
    if not every:
        return False
    return now >= key_made_at + every + timedelta(days=domain_id.int % SPREAD_DAYS)
