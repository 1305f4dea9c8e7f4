"""What time and paid or unpaid invoices do to a subscription."""

from __future__ import annotations

from sandbox.stripe import billing, lines
from sandbox.stripe.account import Account, Object, snapshot

ENDED = frozenset({"canceled", "incomplete_expired"})
REMINDER_SECONDS = 3 * 86_400
"""`trial_will_end` comes three days before the end, or at once in a shorter trial."""
UPCOMING_SECONDS = 7 * 86_400
"""`invoice.upcoming` comes this long before a renewal (a setting of the real account)."""
PENDING_SECONDS = 23 * 3600
"""First payments and pending updates wait 23 hours (docs.stripe.com/billing/subscriptions)."""
_KINDS = ("trial_will_end", "period_end", "cancel", "upcoming")


def subscription_of(account: Account, invoice: Object) -> Object:
    found = invoice["parent"]["subscription_details"]["subscription"]
    return account.find("subscription", found)


def tell(account: Account, subscription: Object, before: Object) -> Object:
    """Save, and emit customer.subscription.updated when something changed."""
    return account.updated(subscription, before, "customer.subscription.updated")


def default_method(account: Account, subscription: Object) -> str | None:
    """The subscription's own default before the customer's (docs.stripe.com, A3 ordering)."""
    own: str | None = subscription["default_payment_method"]
    customer = account.find("customer", subscription["customer"])
    # Of a deleted customer only the id is left, while his open invoices are still there.
    settings = customer.get("invoice_settings") or {}
    fallback: str | None = settings.get("default_payment_method")
    return own or fallback


def plan_ahead(account: Account, subscription: Object) -> None:
    """Put the next things that happen by themselves on the agenda, and take the others off."""
    identifier, agenda, now = subscription["id"], account.agenda, account.now()
    for kind in _KINDS:
        agenda.clear(kind, identifier)
    if subscription["status"] in ENDED | {"paused", "incomplete"}:
        return
    _, end = lines.period(subscription)
    agenda.set("period_end", identifier, end)
    if subscription["cancel_at"] is not None and subscription["cancel_at"] < end:
        agenda.set("cancel", identifier, subscription["cancel_at"])
    if end - UPCOMING_SECONDS > now:
        agenda.set("upcoming", identifier, end - UPCOMING_SECONDS)
    trial_end = subscription["trial_end"]
    # One reminder for one end of a trial, also when something else about it changes later.
    if subscription["status"] == "trialing" and trial_end != account.noted(identifier, "reminded"):
        agenda.set("trial_will_end", identifier, max(now, trial_end - REMINDER_SECONDS))


def paid(account: Account, invoice: Object) -> None:
    """The money for `invoice` came: open what waited for it."""
    subscription = subscription_of(account, invoice)
    before = snapshot(subscription)
    pending = account.noted(subscription["id"], "pending")
    waited = False
    if pending is not None and pending["invoice"] == invoice["id"]:
        waited = subscription["pending_update"] is not None
        subscription |= pending["fields"] | {"pending_update": None}
        account.note(subscription["id"], pending=None)
        account.agenda.clear("pending_expires", subscription["id"])
    status = subscription["status"]
    resumed = status == "paused" and account.noted(subscription["id"], "resumes") == invoice["id"]
    if (
        status == "incomplete"
        or resumed
        or (status in {"past_due", "unpaid"} and not _owes(account, subscription["id"]))
    ):
        subscription |= {"status": "active", "status_details": None}
    account.agenda.clear("incomplete_expires", subscription["id"])
    _keep_method(account, subscription, invoice)
    plan_ahead(account, subscription)
    if waited:
        account.emit("customer.subscription.pending_update_applied", subscription)
    if resumed:
        account.emit("customer.subscription.resumed", subscription)
    tell(account, subscription, before)


def _keep_method(account: Account, subscription: Object, invoice: Object) -> None:
    intent = billing.intent_of(account, invoice)
    settings = subscription["payment_settings"]
    if (
        intent is not None
        and settings["save_default_payment_method"] == "on_subscription"
        and subscription["default_payment_method"] is None
    ):
        subscription["default_payment_method"] = intent["payment_method"]


def _owes(account: Account, subscription: str) -> bool:
    return any(
        one["status"] == "open" and one["attempt_count"] > 0
        for one in billing.of_subscription(account, subscription)
    )


def failed(account: Account, invoice: Object, *, exhausted: bool) -> None:
    """An attempt on `invoice` failed; `exhausted` when no further one will be made."""
    subscription = subscription_of(account, invoice)
    pending = account.noted(subscription["id"], "pending")
    if pending is not None and pending["invoice"] == invoice["id"]:
        return
    if subscription["status"] not in {"active", "past_due", "unpaid"}:
        return
    before = snapshot(subscription)
    subscription["status"] = "past_due" if subscription["status"] == "active" else before["status"]
    after = account.settings["after_retries"]
    if exhausted and after == "cancel":
        cancel(account, subscription, "payment_failed")
        return
    if exhausted and after == "mark_unpaid":
        subscription["status"] = "unpaid"
    tell(account, subscription, before)


def cancel(
    account: Account, subscription: Object, reason: str | None, status: str = "canceled"
) -> Object:
    """End it now; its drafts and open invoices are no longer collected."""
    now = account.now()
    subscription |= {
        "status": status,
        "canceled_at": subscription["canceled_at"] or now,
        "ended_at": now,
        "pending_update": None,
    }
    if reason is not None:
        subscription["cancellation_details"]["reason"] = reason
    plan_ahead(account, subscription)
    for kind in ("incomplete_expires", "pending_expires"):
        account.agenda.clear(kind, subscription["id"])
    for invoice in billing.of_subscription(account, subscription["id"]):
        if invoice["status"] in {"draft", "open"}:
            billing.stop_collecting(account, invoice)
    account.save(subscription)
    account.emit("customer.subscription.deleted", subscription)
    return subscription


def pause(account: Account, subscription: Object) -> None:
    """The trial ended and there was no card."""
    before = snapshot(subscription)
    subscription |= {
        "status": "paused",
        "status_details": {
            "paused": {
                "subscription": {"type": "trial_end_without_payment_method"},
                "transitioned_at": account.now(),
                "type": "subscription",
            }
        },
    }
    plan_ahead(account, subscription)
    tell(account, subscription, before)
    account.emit("customer.subscription.paused", subscription)
