"""The volume ramp of an inbox: tomorrow's limit as a pure function of recorded signals.

A day that went well raises the limit by at most a fifth, a bad one takes two such steps back, and
a day about which too little is known moves nothing. No engagement is faked and none is bought: the
ramp limits what the owner may send. The thresholds are the product's own choice, set well inside
what providers demand (Gmail's sender guidelines: complaints below 0.3 %).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

FIRST_DAY = 20
"""Messages on the first day."""

MAX_STEP = 0.20
"""At most a fifth more than the day before."""

STEP_BACK = 2
"""Steps lost by a bad day: about 30 % of the volume, but never below the first day's."""

HOLD_BOUNCES = 0.04
STEP_BACK_BOUNCES = 0.08
"""Shares of the day's accepted messages."""

STEP_BACK_SAMPLE = 10
"""Fewer accepted messages than this say too little to take volume away; they still hold it."""

HOLD_DEFERRALS = 0.25
"""Deferrals per accepted message: receivers are slowing the sender down."""

USED_SHARE = 0.5
"""Of the day's limit: who sends less has not shown that receivers would take more."""


class Listing(StrEnum):
    """What blocklists say of the sending domain."""

    LISTED = "listed"
    CLEAR = "clear"
    UNKNOWN = "unknown"
    """Asked, but no list gave an answer that can be believed."""
    UNCHECKED = "unchecked"
    """This installation asks no list."""


class Rule(StrEnum):
    FIRST_DAY = "first_day"
    LISTED = "listed"
    COMPLAINED = "complained"
    BOUNCED = "bounced"
    PAUSED = "paused"
    NO_DATA = "no_data"
    NOT_ALIGNED = "not_aligned"
    LISTING_UNKNOWN = "listing_unknown"
    BOUNCES = "bounces"
    DEFERRED = "deferred"
    UNUSED = "unused"
    AT_CAP = "at_cap"
    STEPPED_UP = "stepped_up"


MEANING: Mapping[Rule, str] = {
    Rule.FIRST_DAY: "The first day starts at the foot of the ramp.",
    Rule.LISTED: "The domain is on a blocklist: two steps back.",
    Rule.COMPLAINED: "A recipient reported the mail of the day before as spam: two steps back.",
    Rule.BOUNCED: "At least 8 % of the day's mail bounced: two steps back.",
    Rule.PAUSED: "The ramp is paused: the limit stays.",
    Rule.NO_DATA: "Nothing is recorded about the day before: the limit stays.",
    Rule.NOT_ALIGNED: "SPF, DKIM and DMARC of the domain are not verified: the limit stays.",
    Rule.LISTING_UNKNOWN: "No blocklist gave an answer that can be believed: the limit stays.",
    Rule.BOUNCES: "At least 4 % of the day's mail bounced: the limit stays.",
    Rule.DEFERRED: "Receivers deferred much of the day's mail: the limit stays.",
    Rule.UNUSED: "Less than half of the day's limit was used: the limit stays.",
    Rule.AT_CAP: "The inbox is warm: the limit is the plan's cap.",
    Rule.STEPPED_UP: "The day went well: a fifth more, at most up to the cap.",
}
"""By rule, for people."""

BAD = frozenset({Rule.LISTED, Rule.COMPLAINED, Rule.BOUNCED})


@dataclass(frozen=True)
class Inputs:
    """All that the limit of one day depends on; counts are of the day before (UTC)."""

    age_days: int
    """Whole days since the ramp began; the first day is 0."""
    limit: int
    """Messages a day, when it was decided on the new one."""
    cap: int
    """Messages a day that the plan allows one inbox."""
    paused: bool
    accepted: int | None
    """None when nothing was recorded, which is not the same as no mail."""
    deferred: int | None
    bounced: int | None
    complaints: int
    """Verified ones that arrived on the day before."""
    listing: Listing
    aligned: bool | None
    """Whether the domain's SPF, DKIM and DMARC were found as they must be; None: not known."""

    def document(self) -> dict[str, Any]:
        """As stored with the day; `Inputs.read` is its inverse."""
        return asdict(self)

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Inputs:
        return cls(**{**document, "listing": Listing(document["listing"])})


@dataclass(frozen=True)
class Step:
    stage: int
    """Steps from the foot of the ramp, to look at."""
    limit: int
    """Messages a day."""
    rule: Rule


def daily_limit(stage: int, cap: int) -> int:
    """Messages a day at `stage` (days that went well), never above `cap`.

    It rises by at most MAX_STEP a stage and never falls as the stage rises.
    """
    limit = min(FIRST_DAY, cap)
    for _ in range(max(0, stage)):
        if limit >= cap:
            return cap
        limit = _up(limit, cap)
    return limit


def stage(limit: int, cap: int) -> int:
    """How many steps of a ramp towards `cap` it takes to reach `limit`."""
    steps, reached = 0, daily_limit(0, cap)
    while reached < min(limit, cap):
        steps, reached = steps + 1, _up(reached, cap)
    return steps


def _up(limit: int, cap: int) -> int:
    return min(cap, max(limit + 1, int(limit * (1 + MAX_STEP))))


def _down(limit: int, cap: int) -> int:
    return min(limit, max(min(FIRST_DAY, cap), int(limit / (1 + MAX_STEP))))


def monthly_limit(cap: int) -> int:
    """Messages in a calendar month: the plan's daily cap on every day of the longest month."""
    return cap * 31


def _2026_11(inputs: Inputs) -> Step:
    rule = _rule(inputs)
    limit = min(inputs.limit, inputs.cap)
    if rule in BAD:
        for _ in range(STEP_BACK):
            limit = _down(limit, inputs.cap)
    elif rule == Rule.STEPPED_UP:
        limit = _up(limit, inputs.cap)
    return Step(stage(limit, inputs.cap), limit, rule)


def _rule(inputs: Inputs) -> Rule:
    """The first that applies: what takes volume away, then what holds it."""
    if inputs.age_days <= 0:
        return Rule.FIRST_DAY
    if inputs.listing == Listing.LISTED:
        return Rule.LISTED
    if inputs.complaints > 0:
        return Rule.COMPLAINED
    accepted, bounced = inputs.accepted or 0, inputs.bounced or 0
    if accepted >= STEP_BACK_SAMPLE and bounced >= accepted * STEP_BACK_BOUNCES:
        return Rule.BOUNCED
    if inputs.paused:
        return Rule.PAUSED
    if None in (inputs.accepted, inputs.deferred, inputs.bounced, inputs.aligned):
        return Rule.NO_DATA
    if not inputs.aligned:
        return Rule.NOT_ALIGNED
    if inputs.listing == Listing.UNKNOWN:
        return Rule.LISTING_UNKNOWN
    if bounced and bounced >= accepted * HOLD_BOUNCES:
        return Rule.BOUNCES
    if inputs.deferred and inputs.deferred >= accepted * HOLD_DEFERRALS:
        return Rule.DEFERRED
    if inputs.limit >= inputs.cap:
        return Rule.AT_CAP
    if accepted < inputs.limit * USED_SHARE:
        return Rule.UNUSED
    return Rule.STEPPED_UP


VERSION = "2026-11"
_VERSIONS: Mapping[str, Callable[[Inputs], Step]] = {"2026-11": _2026_11}
"""A version is never changed after its first day in use, so that past days can be recomputed."""


def step(inputs: Inputs, version: str = VERSION) -> Step:
    """The stage and limit that follow from `inputs`. Raises KeyError for an unknown version."""
    return _VERSIONS[version](inputs)
