"""Due work in the order of time, each piece at its own moment."""

from __future__ import annotations

from collections.abc import Callable

from sandbox.stripe import changes, checkout, collection, payment_intents, renewals
from sandbox.stripe.account import Account

WORK: dict[str, Callable[[Account, str], None]] = {
    "trial_will_end": renewals.remind,
    "upcoming": renewals.announce,
    "period_end": renewals.end_period,
    "cancel": renewals.cancel_due,
    "incomplete_expires": renewals.expire_incomplete,
    "pending_expires": changes.expire_pending,
    "finalize": collection.finalize_due,
    "retry": collection.retry_due,
    "hold_expires": payment_intents.expire_hold,
    "checkout_expires": checkout.expire_due,
}


def run(account: Account) -> None:
    """Do everything that is due now; work that falls due meanwhile takes its turn."""
    until = account.world.clock.timestamp()
    while (due := account.agenda.pop(until)) is not None:
        with account.at(due.at):
            WORK[due.kind](account, due.target)
