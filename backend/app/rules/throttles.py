"""How often somebody may try a door that guessers try: the figures, and the arithmetic of windows.

Doors are counted against who knocks (an account, an address, or both together). The account alone
is counted only where its owner has been recognised or mail would go out to it, so that a stranger
cannot lock anybody out (OWASP ASVS 5.0, 6.1.1).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

MINUTE, HOUR, DAY = 60, 3_600, 86_400


@dataclass(frozen=True)
class Limit:
    """At most `number` in `seconds`, counted for each combination of the subjects in `by`."""

    by: tuple[str, ...]
    number: int
    seconds: int


_ACCOUNT, _ADDRESS, _PAIR = ("account",), ("address",), ("account", "address")
_SECOND_FACTOR = (
    Limit(_ACCOUNT, 5, 5 * MINUTE),
    Limit(_ACCOUNT, 20, HOUR),
    Limit(_ACCOUNT, 50, DAY),
)
"""PyPI Warehouse's figures for codes of six digits: a guesser needs years."""

_GUESSES = Limit(_ADDRESS, 10, 5 * MINUTE)
"""PyPI Warehouse's figure for failed sign-ins of one address."""

_MAILS = (Limit(_ACCOUNT, 3, HOUR), Limit(_ACCOUNT, 10, DAY), Limit(_ADDRESS, 20, HOUR))
"""Nobody's mailbox is flooded by us, whoever asks."""

LIMITS: Mapping[str, tuple[Limit, ...]] = {
    "login": (
        Limit(_PAIR, 10, 5 * MINUTE),
        Limit(_PAIR, 20, HOUR),
        Limit(_PAIR, 50, DAY),
        _GUESSES,
    ),
    "register": (Limit(_ADDRESS, 20, HOUR), Limit(_ADDRESS, 50, DAY)),
    "verify_mail": _MAILS,
    "reset_mail": _MAILS,
    "reset_password": (_GUESSES,),
    "totp": _SECOND_FACTOR,
    "reauthenticate": _SECOND_FACTOR,
    "change_password": _SECOND_FACTOR,
    "invite": (Limit(_ACCOUNT, 50, HOUR), Limit(_ACCOUNT, 200, DAY)),
    "accept_invite": (_GUESSES,),
    "operator_login": (*_SECOND_FACTOR, _GUESSES),
}
"""By door. `account` is an address in lower case or an id, `address` the caller's IP address."""


def block_of(address: str) -> str:
    """What one caller holds: an IPv4 address, or the /64 that an IPv6 customer is given at least.

    Something that is no IP address stands for itself.
    """
    try:
        ip = ip_address(address)
    except ValueError:
        return address
    if not isinstance(ip, IPv6Address):
        return str(ip)
    return str(ip.ipv4_mapped) if ip.ipv4_mapped else f"{IPv6Address(int(ip) >> 64 << 64)}/64"


def key(door: str, limit: Limit, subjects: Mapping[str, str]) -> bytes:
    """32 bytes that stand for this limit and these subjects; raises KeyError for a missing one."""
    who = [subjects[name] for name in limit.by]
    return hashlib.sha256(json.dumps([door, limit.by, limit.seconds, who]).encode()).digest()


# A sliding window, from two fixed ones: the window before counts by the part of it that the last
# `seconds` still reach into. Two figures for each caller, and no burst at the boundary.


def room(number: int, seconds: int, previous: int, elapsed: float) -> int:
    """How many the present fixed window may hold, `elapsed` seconds after it began."""
    return math.floor(number - previous * (1 - elapsed / seconds))


def wait(number: int, seconds: int, previous: int, current: int, elapsed: float) -> int:
    """Whole seconds until one more is allowed, if nobody else comes; 0 when it is now."""
    if current < room(number, seconds, previous, elapsed):
        return 0
    if current < number:
        # Room comes in this window, when enough of the one before is behind us.
        return _ceil(seconds * (1 - (number - current - 1) / previous) - elapsed)
    # In the next one, where the present one is the one before.
    return _ceil(seconds - elapsed + seconds * (1 - (number - 1) / current))


def _ceil(seconds: float) -> int:
    # A billionth less: the arithmetic may be that much above a whole second.
    return max(1, math.ceil(seconds - 1e-9))
