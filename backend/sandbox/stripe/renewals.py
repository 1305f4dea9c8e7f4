"""What happens to subscriptions by themselves: reminders, ends of trials and periods."""

from __future__ import annotations

from sandbox.stripe import billing, drafts, lines, standing
from sandbox.stripe.account import Account, Object, snapshot


def remind(account: Account, identifier: str) -> None:
    found = account.find("subscription", identifier)
    if found["status"] == "trialing":
        account.note(identifier, reminded=found["trial_end"])
        account.emit("customer.subscription.trial_will_end", found)


def announce(account: Account, identifier: str) -> None:
    """invoice.upcoming: a preview of the next invoice, which has no lasting id yet."""
    found = account.find("subscription", identifier)
    if found["status"] in {"active", "trialing", "past_due"} and found["cancel_at"] is None:
        account.emit("invoice.upcoming", preview(account, found))


def preview(account: Account, subscription: Object) -> Object:
    """The invoice of the next renewal, not saved."""
    start, end = lines.period(subscription)
    ahead = snapshot(subscription)
    lines.set_period(ahead, end, lines.next_end(ahead, end))
    rows = drafts.copy_lines(account.noted(subscription["id"], "kept_lines") or [])
    invoice = drafts.draft(
        account, ahead, rows + lines.full_period(account, ahead), "upcoming", (start, end)
    )
    invoice |= {"id": f"upcoming_{invoice['id']}", "next_payment_attempt": end + 3600}
    return invoice


def end_period(account: Account, identifier: str) -> None:
    """The current period is over: renew, cancel, or pause for want of a card."""
    found = account.find("subscription", identifier)
    if found["status"] in standing.ENDED | {"paused"}:
        return
    if found["cancel_at"] is not None and found["cancel_at"] <= account.now():
        standing.cancel(account, found, None)
        return
    if found["status"] == "trialing" and standing.default_method(account, found) is None:
        behaviour = found["trial_settings"]["end_behavior"]["missing_payment_method"]
        if behaviour == "cancel":
            standing.cancel(account, found, None)
            return
        if behaviour == "pause":
            standing.pause(account, found)
            return
    _renew(account, found)


def _renew(account: Account, found: Object) -> None:
    before = snapshot(found)
    last = lines.period(found)
    if found["status"] == "trialing":
        found["status"] = "active"
    lines.set_period(found, last[1], lines.next_end(found, last[1]))
    kept = account.noted(found["id"], "kept_lines") or []
    account.note(found["id"], kept_lines=[])
    rows = kept + lines.full_period(account, found)
    invoice = drafts.draft(account, found, rows, "subscription_cycle", last)
    found["latest_invoice"] = invoice["id"]
    if found["status"] == "unpaid":
        # Somebody who does not pay gets drafts only (docs.stripe.com, subscription statuses).
        invoice["auto_advance"] = False
    else:
        drafts.wait_as_draft(account, invoice)
    account.save(invoice)
    standing.plan_ahead(account, found)
    standing.tell(account, found, before)
    account.emit("invoice.created", invoice)


def cancel_due(account: Account, identifier: str) -> None:
    """A `cancel_at` inside the period."""
    found = account.find("subscription", identifier)
    if found["status"] not in standing.ENDED:
        standing.cancel(account, found, None)


def expire_incomplete(account: Account, identifier: str) -> None:
    """The first payment did not come within 23 hours."""
    found = account.find("subscription", identifier)
    if found["status"] != "incomplete":
        return
    before = snapshot(found)
    for invoice in billing.of_subscription(account, identifier):
        if invoice["status"] == "open":
            billing.void(account, invoice)
    found |= {"status": "incomplete_expired", "ended_at": account.now()}
    standing.plan_ahead(account, found)
    standing.tell(account, found, before)
