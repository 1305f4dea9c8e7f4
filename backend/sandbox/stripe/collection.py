"""Taking the money of an open invoice: attempts, retries, dunning."""

from __future__ import annotations

from sandbox.stripe import billing, cards, payments, standing
from sandbox.stripe.account import Account, Object, snapshot
from sandbox.stripe.cards import Decline

NO_METHOD = Decline("no_payment_method")
DAY = 86_400


def collect(
    account: Account, invoice: Object, *, automatic: bool, method: str | None = None
) -> Decline | None:
    """One attempt. Returns the decline, None when it is paid or waits for the holder.

    `automatic` attempts are those of the clock. After a hard decline they count, but nothing is
    tried until there is another payment method, so no charge appears (docs.stripe.com, smart
    retries).
    """
    intent = billing.intent_of(account, invoice)
    if intent is None:
        return None
    chosen = method or standing.default_method(account, standing.subscription_of(account, invoice))
    if chosen is None:
        _count(account, invoice, automatic=automatic)
        return NO_METHOD
    refused = account.noted(invoice["id"], "refused")
    if automatic and refused is not None and refused["method"] == chosen:
        _count(account, invoice, automatic=True)
        return Decline(refused["reason"])
    card = account.find("payment_method", chosen)
    decline = payments.attempt(account, intent, card, off_session=False)
    settle(account, invoice, intent, decline, automatic=automatic, method=chosen)
    return decline


def settle(
    account: Account,
    invoice: Object,
    intent: Object,
    decline: Decline | None,
    *,
    automatic: bool,
    method: str | None = None,
) -> None:
    """Write into the invoice and its subscription what came of an attempt on `intent`."""
    if intent["status"] == "succeeded":
        if invoice["status"] == "open":
            if invoice["attempt_count"] == 0:
                invoice["attempt_count"] = 1
            billing.mark_paid(account, invoice)
            standing.paid(account, invoice)
        return
    if intent["status"] == "requires_action":
        account.note(invoice["id"], refused={"method": method, "reason": "authentication_required"})
        account.emit("invoice.payment_action_required", invoice)
    elif decline is not None and decline.hard and method is not None:
        account.note(invoice["id"], refused={"method": method, "reason": decline.reason})
    _count(account, invoice, automatic=automatic)


def _count(account: Account, invoice: Object, *, automatic: bool) -> None:
    """A failed attempt. The first counts whoever made it, later ones only when automatic."""
    before = snapshot(invoice)
    invoice["attempted"] = True
    exhausted = False
    if invoice["attempt_count"] == 0 or automatic:
        invoice["attempt_count"] += 1
        days = account.settings["retry_days"]
        done = invoice["attempt_count"] - 1
        if _retried(account, invoice) and done < len(days):
            at = account.now() + int(days[done] * DAY)
            invoice["next_payment_attempt"] = at
            account.agenda.set("retry", invoice["id"], at)
        else:
            invoice |= {"next_payment_attempt": None, "auto_advance": False}
            exhausted = _retried(account, invoice)
    account.updated(invoice, before)
    account.emit("invoice.payment_failed", invoice)
    standing.failed(account, invoice, exhausted=exhausted)


def _retried(account: Account, invoice: Object) -> bool:
    """First payments and pending updates have 23 hours instead of a retry schedule."""
    if invoice["billing_reason"] == "subscription_create":
        return False
    subscription = standing.subscription_of(account, invoice)
    pending = account.noted(subscription["id"], "pending")
    return not (pending is not None and pending["invoice"] == invoice["id"])


def finalize_due(account: Account, identifier: str) -> None:
    """The hour of a draft is over: number it and try to collect."""
    invoice = account.find("invoice", identifier)
    if invoice["status"] != "draft" or not invoice["auto_advance"]:
        return
    if _held(account, invoice):
        account.agenda.set("finalize", identifier, account.now() + 60)
        return
    objection = account.noted(invoice["customer"], "finalization")
    if objection is not None:
        billing.refuse_to_finalize(account, invoice, objection)
        return
    billing.finalize(account, invoice)
    if invoice["status"] == "open":
        collect(account, invoice, automatic=True)
    else:
        standing.paid(account, invoice)


def _held(account: Account, invoice: Object) -> bool:
    """Finalisation waits up to 72 hours for the endpoint to acknowledge invoice.created."""
    if not account.settings["hold_invoices_until_acknowledged"]:
        return False
    if account.now() - invoice["created"] > 72 * 3600:
        return False
    events = account.objects("event")
    return any(
        events[delivery["event"]]["type"] == "invoice.created"
        and events[delivery["event"]]["data"]["object"]["id"] == invoice["id"]
        for delivery in account.objects("deliveries").values()
    )


def retry_due(account: Account, identifier: str) -> None:
    invoice = account.find("invoice", identifier)
    if invoice["status"] == "open" and invoice["auto_advance"]:
        collect(account, invoice, automatic=True)


def payable(account: Account, invoice: Object, method: str | None) -> Decline | None:
    """What a charge would say now, without making it; None when it would go through."""
    subscription = standing.subscription_of(account, invoice)
    chosen = method or standing.default_method(account, subscription)
    if chosen is None:
        return NO_METHOD
    outcome = cards.charge_outcome(
        account, account.find("payment_method", chosen), off_session=True
    )
    return outcome if isinstance(outcome, Decline) else None
