"""The plans, and what each allows. One table; the API, the docs and every check read it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """Prices in cents a month; limits of what may exist or happen at once or in a period."""

    name: str
    title: str
    price_cents: int
    inboxes: int
    domains: int
    inbox_daily_cap: int
    """Messages a day one inbox may reach when it is warm."""
    api_per_minute: int
    api_per_hour: int
    currency: str = "usd"

    @property
    def daily_sends(self) -> int:
        """Messages a day (UTC) over all inboxes: what they may send together, so that the limits
        which the relay holds for each of them hold this one too."""
        return self.inboxes * self.inbox_daily_cap


STARTER = Plan("starter", "Starter", 9_700, 100, 10, 50, 60, 1_000)
GROWTH = Plan("growth", "Growth", 29_700, 1_000, 50, 50, 180, 5_000)
ENTERPRISE = Plan("enterprise", "Enterprise", 99_700, 25_000, 500, 100, 600, 20_000)

PLANS: dict[str, Plan] = {plan.name: plan for plan in (STARTER, GROWTH, ENTERPRISE)}
"""Cheapest first."""

TRIAL_DAYS = 7
TRIAL_INBOXES = 5
TRIAL_DOMAINS = 1


def plan(name: str) -> Plan:
    """Raises KeyError for a name that is no plan."""
    return PLANS[name]


def is_upgrade(current: str, wanted: str) -> bool:
    return PLANS[wanted].price_cents > PLANS[current].price_cents
