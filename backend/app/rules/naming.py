"""Names for inboxes: distinct, valid local parts by convention.

Randomness is passed in, so that the same draw gives the same names.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from random import Random

CONVENTIONS = ("firstname", "firstname.lastname", "f.lastname", "role", "custom")

ROLES = (
    "hello", "team", "contact", "info", "office", "sales", "partners", "growth", "outreach",
    "success", "marketing", "business", "connect", "welcome", "enquiries", "relations",
    "accounts", "network", "community", "events", "media", "press", "projects", "services",
)  # fmt: skip

RESERVED = frozenset(
    {"postmaster", "abuse", "hostmaster", "webmaster", "mailer-daemon", "noc", "security",
     "root", "admin", "administrator", "bounce", "fbl", "noreply", "no-reply"}
)  # fmt: skip
"""RFC 2142 mailboxes and the ones the platform itself needs: never given to a sender."""

# RFC 5321 allows more; these survive every form, CSV and sequencer. At most 64 octets.
_LOCAL_PART = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")


@dataclass(frozen=True)
class Name:
    local_part: str
    first: str | None = None
    last: str | None = None


class NotEnoughNames(ValueError):
    """The list of names given is shorter than the number of inboxes asked for."""


class BadName(ValueError):
    """A given name cannot be the local part of an address."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name!r}: {why}")
        self.name = name
        self.why = why


def check_local_part(text: str) -> str:
    """The local part in lower case. Raises BadName with what is wrong."""
    name = text.strip().lower()
    if not _LOCAL_PART.fullmatch(name) or ".." in name:
        raise BadName(text, "use letters, digits, dots, hyphens and underscores, 64 at most")
    if name in RESERVED:
        raise BadName(text, "this mailbox is reserved (RFC 2142)")
    return name


def custom(names: Sequence[str], wanted: int, taken: Collection[str]) -> list[Name]:
    """The names as given. Raises BadName or NotEnoughNames; nothing is made up."""
    seen: set[str] = set()
    result = []
    for text in names:
        name = check_local_part(text)
        if name in seen or name in taken:
            raise BadName(text, "given twice" if name in seen else "this inbox exists already")
        seen.add(name)
        result.append(Name(name))
    if len(result) != wanted:
        raise NotEnoughNames(f"{wanted} inboxes were asked for and {len(result)} names given.")
    return result


def generate(
    convention: str,
    wanted: int,
    taken: Collection[str],
    *,
    first_names: Sequence[str],
    last_names: Sequence[str],
    rng: Random,
) -> list[Name]:
    """`wanted` distinct names that are not in `taken`; numbers are added when names run out."""
    used = set(taken) | RESERVED
    result: list[Name] = []
    for name in _candidates(convention, first_names, last_names, rng):
        if name.local_part not in used:
            used.add(name.local_part)
            result.append(name)
        if len(result) == wanted:
            return result
    raise NotEnoughNames("The convention has no more names.")  # pragma: no cover - endless source


def _candidates(
    convention: str, first_names: Sequence[str], last_names: Sequence[str], rng: Random
) -> Iterator[Name]:
    firsts, lasts, roles = (
        # As good a shuffle as shuffle's, and several times quicker on lists of a thousand.
        sorted(names, key=lambda _: rng.random())
        for names in (first_names, last_names, ROLES)
    )
    for round_ in count():
        # Walking both lists with a shift gives every pair of names before any number is needed.
        suffix = "" if round_ == 0 else str(round_ + 1)
        if convention == "role":
            yield from (Name(f"{role}{suffix}") for role in roles)
            continue
        if convention == "firstname":
            pairs = [(first, lasts[i % len(lasts)]) for i, first in enumerate(firsts)]
        else:
            shift = round_ % len(lasts)
            pairs = [(f, lasts[(i + shift) % len(lasts)]) for i, f in enumerate(firsts)]
            suffix = "" if round_ < len(lasts) else str(round_ // len(lasts) + 1)
        for first, last in pairs:
            yield Name(f"{_local(convention, first, last)}{suffix}", first, last)


def _local(convention: str, first: str, last: str) -> str:
    f, l = _ascii(first), _ascii(last)  # noqa: E741  # First and last.
    if convention == "firstname":
        return f
    return f"{f}.{l}" if convention == "firstname.lastname" else f"{f[:1]}.{l}"


@lru_cache(maxsize=4096)
def _ascii(text: str) -> str:
    return re.sub(r"[^a-z]", "", text.lower())
