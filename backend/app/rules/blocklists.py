"""What the answer of a DNS blocklist says: listed, clear, or nothing that can be believed.

The protocol is RFC 5782: a subject is looked up below the list's zone; an address in 127.0.0.0/8
means that it is listed, no such name that it is not. Lists also answer errors that look like
listings (spamhaus.org/news/article/788: 127.255.255.0/24; uribl.com/refused.shtml: 127.0.0.1), and
a list that has died may list the whole world. So a code counts only if its list is known to mean a
listing by it, and every list is asked first for two entries whose answers RFC 5782 section 5 fixes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Final

CONFIRM_AFTER: Final = timedelta(minutes=10)
"""Between the two looks that confirm a listing."""

FRESH_FOR: Final = timedelta(days=1)
"""How long an answer stands when later tries fail."""

WIDE_SAMPLE, WIDE_SHARE = 10, 0.5
"""A list with more than this share of at least so many subjects in one round is not believed."""

_MOST_CODES = 8
_ERRORS = ip_network("127.255.255.0/24")
_PLAUSIBLE = ip_network("127.0.0.0/8")


class State(StrEnum):
    LISTED = "listed"
    CLEAR = "clear"
    UNKNOWN = "unknown"
    """It cannot be known now."""


class Kind(StrEnum):
    ADDRESS = "address"
    DOMAIN = "domain"


@dataclass(frozen=True)
class Blocklist:
    """One list, as it is asked."""

    zone: str
    """Where it is asked; may begin with an account's key, so it is never shown."""
    kind: Kind
    name: str
    """For people and for our records."""
    codes: frozenset[str] | None = None
    """Answers that mean a listing; None: 127.0.0.2 and above in 127.0.0.0/24."""
    bits: int | None = None
    """Instead of `codes`: the bits of the last octet that mean a listing."""
    test_point: str | None = None
    """What the list always holds, where it is not that of RFC 5782."""

    @property
    def must_hold(self) -> str:
        """The name of an entry that is always listed."""
        point = self.test_point or ("127.0.0.2" if self.kind == Kind.ADDRESS else "test")
        return self.question(point)

    @property
    def must_not_hold(self) -> str:
        return self.question("127.0.0.1" if self.kind == Kind.ADDRESS else "invalid")

    def question(self, subject: str) -> str:
        """The name to look up for an address (its octets or nibbles backwards) or a domain."""
        if self.kind == Kind.DOMAIN:
            return f"{subject}.{self.zone}"
        pointer = ip_address(subject).reverse_pointer
        return f"{pointer.removesuffix('.in-addr.arpa').removesuffix('.ip6.arpa')}.{self.zone}"


def _codes(text: str) -> frozenset[str]:
    return frozenset(f"127.0.{end}" for end in text.split())


# docs.spamhaus.com, "Available Zones". Entries of the PBL (policy, 127.0.0.10 and .11) and of
# abused legitimate domains (127.0.1.102 to .106) say nothing about the sender's conduct.
_SPAMHAUS_IP = _codes("0.2 0.3 0.4 0.9 0.30")
_SPAMHAUS_DOMAIN = _codes("1.2 1.4 1.5 1.6")
_KNOWN: Final[dict[str, dict[str, object]]] = {
    "zen.spamhaus.org": {"codes": _SPAMHAUS_IP},
    "sbl.spamhaus.org": {"codes": _SPAMHAUS_IP},
    "zen.dq.spamhaus.net": {"codes": _SPAMHAUS_IP},
    "sbl.dq.spamhaus.net": {"codes": _SPAMHAUS_IP},
    "dbl.spamhaus.org": {"codes": _SPAMHAUS_DOMAIN, "test_point": "dbltest.com"},
    "dbl.dq.spamhaus.net": {"codes": _SPAMHAUS_DOMAIN, "test_point": "dbltest.com"},
    # surbl.org/lists: phishing, malware, abuse, cracked; the other bits are reserved.
    "multi.surbl.org": {"bits": 8 | 16 | 64 | 128, "test_point": "test.surbl.org"},
    # uribl.com: black; grey and red are not conduct of the domain's owner.
    "multi.uribl.com": {"bits": 2, "test_point": "test.uribl.com"},
}


def blocklist(zone: str, kind: Kind) -> Blocklist:
    """The list at `zone`, with what is known of it."""
    zone = zone.strip().lower().rstrip(".")
    for name, facts in _KNOWN.items():
        if zone == name or zone.endswith(f".{name}"):
            return Blocklist(zone, kind, name, **facts)  # type: ignore[arg-type]  # As declared.
    return Blocklist(zone, kind, zone)


@dataclass(frozen=True)
class Answer:
    state: State
    codes: str = ""
    """What the list said, for people."""
    trouble: str | None = None
    """Why it cannot be known."""


CLEAR: Final = Answer(State.CLEAR)


def unknown(trouble: str, codes: str = "") -> Answer:
    return Answer(State.UNKNOWN, codes, trouble[:200])


def read(found: Sequence[str], of: Blocklist) -> Answer:
    """What the A records of one look-up mean; an empty sequence is "no such name"."""
    if not found:
        return CLEAR
    said = " ".join(sorted(found))[:200]
    if len(found) > _MOST_CODES:
        return unknown("more answers than any list gives", said)
    try:
        addresses = [IPv4Address(text) for text in found]
    except ValueError:
        return unknown("an answer that is no address", said)
    if any(address not in _PLAUSIBLE for address in addresses):
        return unknown("an answer from outside 127.0.0.0/8: the resolver changes answers", said)
    if any(address in _ERRORS for address in addresses):
        return unknown("the list refused the query", said)
    if any(_means_listed(address, of) for address in addresses):
        return Answer(State.LISTED, said)
    if any(address == IPv4Address("127.0.0.1") or of.codes is None for address in addresses):
        return unknown("a code of no known meaning", said)
    # A code that the list documents as something else, such as a policy entry, is no listing.
    return Answer(State.CLEAR, said)


def _means_listed(address: IPv4Address, of: Blocklist) -> bool:
    if of.codes is not None:
        return str(address) in of.codes
    if address not in ip_network("127.0.0.0/24"):
        return False
    last = int(address) & 0xFF
    if of.bits is not None:
        return bool(last & of.bits) and not last & 1
    return last >= 2


def is_sound(held: Sequence[str], free: Sequence[str], of: Blocklist) -> str | None:
    """Why the list is not to be believed, from what it says of its two fixed entries.

    None when it may be.
    """
    refusal = read(held, of).trouble or read(free, of).trouble
    if refusal is not None and held:
        return refusal
    if not held:
        return "it does not hold its own test entry"
    if free:
        return "it lists what no list may list"
    return None


def is_wide(listed: int, asked: int) -> bool:
    """Whether a list holds so many of those asked for that it must be broken."""
    return asked >= WIDE_SAMPLE and listed > asked * WIDE_SHARE


def together(states: Iterable[State]) -> State:
    """One list that names it is enough; otherwise one that cannot be heard leaves it open."""
    heard = set(states)
    if State.LISTED in heard:
        return State.LISTED
    return State.CLEAR if heard == {State.CLEAR} else State.UNKNOWN
