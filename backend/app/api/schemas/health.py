"""The ramp of an inbox, and complaints about its mail."""

from __future__ import annotations

from datetime import date
from uuid import UUID

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
