"""How fast a day's mail may go: per hour, and to one recipient domain.

Mailbox providers slow down or block who sends a day's mail in minutes or all of it to them; these
two limits spread it. Both follow from the daily limit, so a warm-up step moves all of them at once.
The shares are the product's own choice; no provider publishes one.
"""

from __future__ import annotations

HOURLY_SHARE = 0.5
"""Of a day's messages, within one hour."""

MIN_HOURLY = 10

DOMAIN_SHARE = 0.6
"""Of a day's messages, to recipients of one domain."""

MIN_DOMAIN = 20


def hourly_limit(daily_limit: int) -> int:
    """Messages in one calendar hour (UTC); never above the day's."""
    return min(daily_limit, max(MIN_HOURLY, int(daily_limit * HOURLY_SHARE)))


def recipient_domain_limit(daily_limit: int) -> int:
    """Messages a day (UTC) to recipients of one domain; never above the day's."""
    return min(daily_limit, max(MIN_DOMAIN, int(daily_limit * DOMAIN_SHARE)))
