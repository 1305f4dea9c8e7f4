"""How well an inbox, a domain or a tenant stands: 100 less what speaks against it, each explained.

Every signal takes points away in proportion, from nothing up to its whole weight at the figure at
which the rules on abuse would stop a sender (or, where they know none, at one of our own choice).
It is made to be argued with: the score is the sum of the deductions, and of nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from app.rules import abuse
from app.rules.warmup import Listing

VERSION: Final = "2026-11"
DAYS: Final = abuse.RATE_DAYS
"""Today (UTC) among them."""

LEAST_SAMPLE: Final = abuse.MIN_SENT
"""Shares are of at least so many messages: one bounce out of two says little."""

BLOCKED_SHARE, DEFERRED_SHARE = 0.10, 0.50


class Rule(StrEnum):
    COMPLAINTS = "complaints"
    DEAD_ADDRESSES = "dead_addresses"
    BLOCKED = "blocked"
    DEFERRED = "deferred"
    LISTED = "listed"
    NOT_ALIGNED = "not_aligned"


WEIGHTS: Final[dict[Rule, int]] = {
    Rule.COMPLAINTS: 40,
    Rule.DEAD_ADDRESSES: 30,
    Rule.BLOCKED: 20,
    Rule.DEFERRED: 10,
    Rule.LISTED: 40,
    Rule.NOT_ALIGNED: 20,
}
"""Points that each can take away."""


@dataclass(frozen=True)
class Inputs:
    """Counts of DAYS."""

    accepted: int = 0
    delivered: int = 0
    deferred: int = 0
    hard_bounced: int = 0
    unknown_users: int = 0
    soft_bounced: int = 0
    blocked: int = 0
    complaints: int = 0
    """Different recipients with a verified complaint."""
    listing: Listing = Listing.UNCHECKED
    aligned: bool | None = None
    """Whether SPF, DKIM and DMARC were found as they must be; None: not known yet."""

    def document(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Deduction:
    rule: Rule
    points: int
    figure: float
    """A share, or 1 for what is or is not."""
    full_at: float
    """The figure that costs the rule's whole weight."""
    meaning: str


@dataclass(frozen=True)
class Health:
    score: int
    """0 to 100."""
    deductions: Sequence[Deduction]
    """What is missing from 100, the gravest first; their sum may exceed 100."""
    inputs: Inputs

    @property
    def rule_version(self) -> str:
        return VERSION

    @property
    def days(self) -> int:
        return DAYS


def score(inputs: Inputs) -> Health:
    """The score that follows from the signals."""
    found = [made for measure in _MEASURES if (made := measure(inputs)) is not None]
    found.sort(key=lambda each: (-each.points, each.rule))
    return Health(max(0, 100 - sum(each.points for each in found)), found, inputs)


def _share(part: int, inputs: Inputs) -> float:
    return part / max(inputs.accepted, LEAST_SAMPLE)


def _proportional(rule: Rule, figure: float, full_at: float, meaning: str) -> Deduction | None:
    points = round(WEIGHTS[rule] * min(1.0, figure / full_at))
    return Deduction(rule, points, round(figure, 5), full_at, meaning) if points else None


def _complaints(inputs: Inputs) -> Deduction | None:
    figure = _share(inputs.complaints, inputs)
    meaning = (
        f"{inputs.complaints} recipients of {inputs.accepted} messages reported spam"
        f" within {DAYS} days."
    )
    return _proportional(Rule.COMPLAINTS, figure, abuse.STOP_COMPLAINTS, meaning)


def _dead_addresses(inputs: Inputs) -> Deduction | None:
    dead = inputs.hard_bounced + inputs.unknown_users
    meaning = (
        f"{dead} of {inputs.accepted} messages went to addresses that do not exist"
        f" within {DAYS} days."
    )
    figure = _share(dead, inputs)
    return _proportional(Rule.DEAD_ADDRESSES, figure, abuse.STOP_BOUNCES, meaning)


def _blocked(inputs: Inputs) -> Deduction | None:
    meaning = (
        f"Receivers refused {inputs.blocked} of {inputs.accepted} messages for their reputation or"
        f" policy within {DAYS} days."
    )
    return _proportional(Rule.BLOCKED, _share(inputs.blocked, inputs), BLOCKED_SHARE, meaning)


def _deferred(inputs: Inputs) -> Deduction | None:
    meaning = (
        f"Receivers put off {inputs.accepted} messages {inputs.deferred} times within {DAYS} days."
    )
    return _proportional(Rule.DEFERRED, _share(inputs.deferred, inputs), DEFERRED_SHARE, meaning)


def _listed(inputs: Inputs) -> Deduction | None:
    if inputs.listing != Listing.LISTED:
        return None
    return _proportional(Rule.LISTED, 1.0, 1.0, "A blocklist holds the domain, confirmed twice.")


def _not_aligned(inputs: Inputs) -> Deduction | None:
    if inputs.aligned is not False:
        return None
    meaning = "SPF, DKIM and DMARC of the domain are not as they must be."
    return _proportional(Rule.NOT_ALIGNED, 1.0, 1.0, meaning)


_MEASURES: Final[tuple[Callable[[Inputs], Deduction | None], ...]] = (
    _complaints,
    _dead_addresses,
    _blocked,
    _deferred,
    _listed,
    _not_aligned,
)
