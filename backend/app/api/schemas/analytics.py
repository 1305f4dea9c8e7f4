"""Figures."""

from __future__ import annotations

from datetime import date
from uuid import UUID

from app.api.schemas.auth import LimitsOut
from app.api.schemas.base import Out
from app.api.schemas.infrastructure import InboxOut


class CountsOut(Out):
    accepted: int
    delivered: int
    deferred: int
    bounced: int
    rejected: int
    complained: int
    soft_bounced: int
    """Of those bounced: full, slow, broken or expired; another mail may arrive."""
    hard_bounced: int
    """Of those bounced: mailbox or domain that takes no more mail."""
    unknown_users: int
    """Of those bounced: mailbox that does not exist."""
    blocked: int
    """Of those bounced: we were refused, not the address."""
    delivery_rate: float | None
    """Delivered out of delivered and bounced; null when there was neither."""
    bounce_rate: float | None
    complaint_rate: float | None
    """Complaints out of delivered."""


class OverviewOut(Out):
    domains: dict[str, int]
    """By status."""
    inboxes: dict[str, int]
    health_score: int
    """0 to 100; /analytics/health explains it."""
    today: CountsOut
    last_7_days: CountsOut
    last_30_days: CountsOut


class UsageReportOut(Out):
    inboxes: int
    domains: int
    sends_today: int
    sends_this_month: int
    limits: LimitsOut


class GroupOut(CountsOut):
    key: str
    """The day, the domain's name, the inbox's address, or the receiver's family: google, microsoft,
    yahoo, apple, other."""
    id: UUID | None
    """Of the domain or inbox."""


class DeliverabilityOut(Out):
    from_day: date
    to_day: date
    group_by: str
    totals: CountsOut
    groups: list[GroupOut]


class InboxReportOut(Out):
    inbox: InboxOut
    totals: CountsOut
    days: list[GroupOut]
