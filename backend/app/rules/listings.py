"""What an answer of a DNS blocklist means: listed, not listed, or that nobody can know.

Sources: RFC 5782 (addresses in 127.0.0.0/8, 127.0.0.1 never listed, the test points of section 5);
Spamhaus' and SURBL's usage pages for the codes that are refusals and not listings.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from ipaddress import AddressValueError, IPv4Address, IPv4Network

TEST_POINT = "test"
"""A name that every list of domains holds (RFC 5782, 5): it shows that the list answers us."""

_CODES = IPv4Network("127.0.0.0/8")
_REFUSALS = IPv4Network("127.255.255.0/24")
"""Spamhaus: a typing error (.252), a public resolver (.254), too many questions (.255)."""

_NO_LISTING = frozenset({IPv4Address("127.0.0.1"), IPv4Address("127.0.1.255")})
"""SURBL's blocked access; Spamhaus DBL's answer to a question about an address."""


class Verdict(StrEnum):
    LISTED = "listed"
    NOT_LISTED = "not_listed"
    UNKNOWN = "unknown"
    """The list is away, refuses us, or does not know its own test point."""


def read(answers: Sequence[str]) -> Verdict:
    """The verdict of one list's A records; none at all is NOT_LISTED."""
    if not answers:
        return Verdict.NOT_LISTED
    try:
        codes = [IPv4Address(text) for text in answers]
    except AddressValueError:
        return Verdict.UNKNOWN
    if any(code not in _CODES or code in _REFUSALS or code in _NO_LISTING for code in codes):
        # A resolver that rewrites answers, or a list that refuses us: nothing was said of the name.
        return Verdict.UNKNOWN
    return Verdict.LISTED


def believed(answer: Verdict, test_point: Verdict) -> Verdict:
    """A list that does not list its own test point is dead: its silence means nothing."""
    if answer is Verdict.NOT_LISTED and test_point is not Verdict.LISTED:
        return Verdict.UNKNOWN
    return answer


def together(verdicts: Iterable[Verdict]) -> Verdict:
    """One list that names it is enough; otherwise one that cannot be heard leaves it open."""
    heard = set(verdicts)
    if Verdict.LISTED in heard:
        return Verdict.LISTED
    return Verdict.NOT_LISTED if heard == {Verdict.NOT_LISTED} else Verdict.UNKNOWN
