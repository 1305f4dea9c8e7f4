"""Whether a tenant may have more: verdicts, not errors."""

from __future__ import annotations

from dataclasses import dataclass

from app.rules.plans import TRIAL_DOMAINS, TRIAL_INBOXES, Plan


@dataclass(frozen=True)
class Limits:
    """How many of each a tenant may have at once."""

    inboxes: int
    domains: int


@dataclass(frozen=True)
class Allowed:
    left: int
    """How many more could follow."""


@dataclass(frozen=True)
class Denied:
    limit: int
    used: int
    requested: int


Verdict = Allowed | Denied


def limits_of(plan: Plan, *, on_trial: bool) -> Limits:
    """A trial is capped whatever plan it will become (5 inboxes, 1 domain)."""
    if on_trial:
        return Limits(min(plan.inboxes, TRIAL_INBOXES), min(plan.domains, TRIAL_DOMAINS))
    return Limits(plan.inboxes, plan.domains)


def check(limit: int, used: int, requested: int) -> Verdict:
    """Room for `requested` more. Exactly reaching the limit is allowed."""
    if requested < 1 or used + requested > limit:
        return Denied(limit, used, requested)
    return Allowed(limit - used - requested)


def check_inboxes(limits: Limits, used: int, requested: int) -> Verdict:
    return check(limits.inboxes, used, requested)


def check_domains(limits: Limits, used: int, requested: int) -> Verdict:
    return check(limits.domains, used, requested)
