"""How plans and limits are told."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from typing import Any

from app.rules.limits import Limits, limits_of
from app.rules.plans import Plan


def limits_out(plan: Plan, limits: Limits) -> dict[str, Any]:
    """`limits` are those in force, which during a trial are lower than the plan's."""
    told = {**asdict(plan), "daily_sends": plan.daily_sends}
    return {**told, "inboxes": limits.inboxes, "domains": limits.domains}


@cache
def plan_out(plan: Plan) -> dict[str, Any]:
    """A plan and what it allows; there are but a few, and they never change."""
    return {**asdict(plan), "limits": limits_out(plan, limits_of(plan, on_trial=False))}
