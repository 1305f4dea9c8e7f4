"""The ramp of an inbox, and complaints about its mail."""

from __future__ import annotations

from datetime import date
from uuid import UUID

from pydantic import Field

from app.api.schemas.base import Instant, Out


class WarmupInputsOut(Out):
    """Counts are of the day before."""

    age_days: int
    limit: int
    """Messages a day, when it was decided on the new one."""
    cap: int
    paused: bool
    accepted: int | None
    """Null when nothing was recorded."""
    deferred: int | None
    bounced: int | None
    complaints: int
    """Verified ones."""
    listing: str
    """listed, clear, unknown, or unchecked."""
    aligned: bool | None
    """Whether SPF, DKIM and DMARC of the domain were found as they must be."""


class WarmupDayOut(Out):
    day: date
    stage: int
    daily_limit: int
    rule: str
    rule_version: str
    inputs: WarmupInputsOut


class WarmupOut(Out):
    inbox_id: UUID
    day: date
    """Of the last decision."""
    stage: int
    daily_limit: int
    """Messages today; a change of plan since the decision has already been followed."""
    cap: int
    """Messages a day that the plan allows one inbox."""
    paused_at: Instant | None
    rule: str
    rule_version: str
    meaning: str
    """The rule in words."""
    inputs: WarmupInputsOut
    past: list[WarmupDayOut]
    """Up to 30 earlier days, the newest first."""


class ComplaintOut(Out):
    id: UUID
    inbox_id: UUID
    domain_id: UUID
    recipient: str
    """Whom we sent the message to; empty when we know of no such message."""
    feedback_type: str
    """abuse, fraud, not-spam …, as the report says."""
    reporter: str | None
    """The enrolled domain that proved to have sent the report."""
    verified: bool
    """Whether it counts."""
    why_not: str | None
    received_at: Instant


class StandingOut(Out):
    blocklist: str = Field(validation_alias="zone")
    state: str = Field(validation_alias="present")
    """listed, clear, or unknown: what it says cannot be known now."""
    last_known: str | None
    """listed or clear, by the last answer that could be believed; null when there was none."""
    codes: str
    """What the list answered."""
    since: Instant
    """Of the last known state."""
    looked_at: Instant | None
    """When the list gave an answer that can be believed."""
    trouble: str | None
    """Why the state cannot be known."""
    confirmed_at: Instant | None
    """When a second look bore the listing out; before that nothing follows from it but caution."""
    ended_at: Instant | None


class DomainStandingOut(StandingOut):
    domain_id: UUID


class AddressStandingOut(StandingOut):
    address: str


class BlacklistsOut(Out):
    lists: list[str]
    """Those that this installation asks."""
    domains: list[DomainStandingOut]
    """What each list says of each domain now."""
    addresses: list[AddressStandingOut]
    """What each list says of the addresses that the mail of all tenants leaves from."""
    past: list[DomainStandingOut]
    """Up to 100 listings of domains that have ended, the latest first."""


class DeductionOut(Out):
    rule: str
    points: int
    figure: float
    """A share of the messages, or 1 for what is or is not."""
    full_at: float
    """The figure at which the rule takes all the points that it can."""
    meaning: str


class HealthInputsOut(Out):
    """Counts of the last `days` days."""

    accepted: int
    delivered: int
    deferred: int
    hard_bounced: int
    unknown_users: int
    soft_bounced: int
    blocked: int
    complaints: int
    """Different recipients with a verified complaint."""
    listing: str
    """listed, clear, unknown, or unchecked."""
    aligned: bool | None
    """Whether SPF, DKIM and DMARC were found as they must be; null: not known yet."""


class HealthOut(Out):
    score: int
    """100 less the points of the deductions, at least 0."""
    deductions: list[DeductionOut]
    """The gravest first."""
    inputs: HealthInputsOut
    days: int
    rule_version: str
