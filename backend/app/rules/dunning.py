"""When money that is missing stops a tenant, and when it does not.

Source: Stripe's retry documentation and the field `attempt_count`: the first attempt counts whoever
made it, later ones only when Stripe's schedule made them. So impatient clicks on "pay now" are no
strikes, a hard decline counts on although no charge is made any more, and a declined domain
purchase has no invoice at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

STRIKES = 3
"""Failed attempts of one invoice that suspend a tenant."""

OWED = frozenset({"open", "uncollectible"})
"""States of an invoice in which its money is still missing; a void one is forgiven."""

DISPUTED = frozenset({"needs_response", "under_review", "lost"})
"""States of a dispute in which the bank holds the money: the tenant stays frozen."""

UNDECIDED = frozenset(
    {"needs_response", "under_review", "warning_needs_response", "warning_under_review"}
)
"""States of a dispute or inquiry in which evidence may still be asked for."""


class Verdict(StrEnum):
    CLEAR = "clear"
    OWING = "owing"
    """A payment failed and is tried again; service goes on."""
    SUSPEND = "suspend"
    FREEZE = "freeze"
    """A payment is disputed at the bank."""


@dataclass(frozen=True)
class Debt:
    """An invoice, as far as dunning looks at it."""

    status: str
    attempt_count: int
    billing_reason: str | None

    @property
    def is_overdue(self) -> bool:
        """At least one attempt failed. An open change of plan is an offer and not a debt."""
        return (
            self.status in OWED
            and self.attempt_count > 0
            and self.billing_reason != "subscription_update"
        )


def verdict(
    subscription_status: str | None, debts: Iterable[Debt], disputes: Iterable[str] = ()
) -> Verdict:
    """What follows from all invoices and disputes of a tenant and its subscription.

    It looks at the present state alone, so that it comes out the same whichever event asked.
    """
    if any(status in DISPUTED for status in disputes):
        return Verdict.FREEZE
    overdue = [debt for debt in debts if debt.is_overdue]
    struck_out = any(debt.attempt_count >= STRIKES for debt in overdue)
    # Stripe gave up, by whatever schedule the account has.
    given_up = bool(overdue) and subscription_status in {"unpaid", "canceled"}
    if struck_out or given_up or subscription_status == "unpaid":
        return Verdict.SUSPEND
    return Verdict.OWING if overdue else Verdict.CLEAR
