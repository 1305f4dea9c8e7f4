"""The invoice endpoints."""

from __future__ import annotations

from typing import Any

from sandbox.stripe import billing, changes, collection, drafts, lines, payment_methods, renewals
from sandbox.stripe.account import Account, Object, snapshot
from sandbox.stripe.cards import BY_ID, resolve
from sandbox.stripe.errors import invalid
from sandbox.stripe.listing import page

Params = dict[str, Any]


def get(account: Account, _: Params, invoice: str) -> Object:
    return account.find("invoice", invoice)


def list_(account: Account, params: Params) -> Object:
    wanted = {
        key: params[key] for key in ("customer", "status", "collection_method") if key in params
    }
    found = account.all("invoice", **wanted)
    if "subscription" in params:
        mine = {one["id"] for one in billing.of_subscription(account, params["subscription"])}
        found = [one for one in found if one["id"] in mine]
    return page(found, params, "/v1/invoices")


def finalize(account: Account, _: Params, invoice: str) -> Object:
    """Ahead of its hour; the first attempt follows at once, as with auto_advance."""
    found = account.find("invoice", invoice)
    if found["status"] != "draft":
        return billing.finalize(account, found)
    found["auto_advance"] = True
    collection.finalize_due(account, invoice)
    return found


def pay(account: Account, params: Params, invoice: str) -> Object:
    """Raises StripeError 402 when the card is refused, 400 in a wrong state."""
    found = account.find("invoice", invoice)
    if found["status"] == "draft":
        billing.finalize(account, found)
    if found["status"] == "paid":
        if found["amount_due"] == 0:
            return found
        raise invalid("Invoice is already paid", code="invoice_already_paid")
    if found["status"] not in {"open", "uncollectible"}:
        raise invalid(f"Invoice is {found['status']} and can no longer be paid.")
    method = _method(account, found, params.get("payment_method"))
    decline = collection.collect(account, found, automatic=False, method=method)
    if decline is collection.NO_METHOD:
        raise invalid(
            "There is no default payment method set on this Customer. Please provide a payment"
            " method.",
            code="resource_missing",
        )
    intent = billing.intent_of(account, found)
    if decline is not None and intent is not None:
        raise decline.error(payment_intent=snapshot(intent), charge=intent["latest_charge"])
    if intent is not None and intent["status"] == "requires_action":
        raise invalid(
            "This payment requires additional user action before it can be completed successfully.",
            code="invoice_payment_intent_requires_action",
        )
    return found


def _method(account: Account, invoice: Object, wanted: str | None) -> str | None:
    if wanted is None:
        return None
    if wanted in BY_ID:
        method = resolve(account, wanted)
        return str(payment_methods.save_to(account, method, invoice["customer"])["id"])
    return payment_methods.of_customer(account, wanted, invoice["customer"], "payment_method")


def void(account: Account, _: Params, invoice: str) -> Object:
    return billing.void(account, account.find("invoice", invoice))


def mark_uncollectible(account: Account, _: Params, invoice: str) -> Object:
    return billing.mark_uncollectible(account, account.find("invoice", invoice))


def create_preview(account: Account, params: Params) -> Object:
    """What a change would cost, or without one the next renewal; nothing is saved."""
    if "subscription" not in params:
        raise invalid(
            "The sandbox previews existing subscriptions only.", "subscription", "parameter_missing"
        )
    found = account.find("subscription", params["subscription"], "subscription")
    if params.get("customer", found["customer"]) != found["customer"]:
        raise invalid("The subscription belongs to another customer.", "customer")
    wanted = params.get("subscription_details") or {}
    if found["status"] in {"canceled", "incomplete_expired"}:
        raise invalid(
            "No upcoming invoices for a canceled subscription.", code="invoice_upcoming_none"
        )
    change = changes.plan(account, found, wanted)
    now = account.now()
    if change.invoice_now:
        kept = drafts.copy_lines(account.noted(found["id"], "kept_lines") or [])
        invoice = drafts.draft(
            account,
            change.proposed,
            kept + change.rows,
            "upcoming",
            (now, now),
            wanted.get("proration_date", now),
        )
    else:
        invoice = renewals.preview(account, change.proposed)
        start = invoice["lines"]["data"]
        invoice["lines"]["data"] = change.rows + start
        _total(invoice)
    invoice["id"] = f"upcoming_{invoice['id'].removeprefix('upcoming_')}"
    return invoice


def _total(invoice: Object) -> None:
    total = sum(row["amount"] for row in invoice["lines"]["data"])
    for name in ("subtotal", "subtotal_excluding_tax", "total", "total_excluding_tax"):
        invoice[name] = total
    credit = -min(0, invoice["starting_balance"])
    due = max(0, total - min(credit, max(0, total)))
    invoice |= {"amount_due": due, "amount_remaining": due}


def get_payment(account: Account, _: Params, payment: str) -> Object:
    return account.find("invoice_payment", payment)


def list_payments(account: Account, params: Params) -> Object:
    """By invoice, status, or the PaymentIntent that paid."""
    wanted = {key: params[key] for key in ("invoice", "status") if key in params}
    found = account.all("invoice_payment", **wanted)
    asked = params.get("payment") or {}
    if "payment_intent" in asked:
        found = [
            one for one in found if one["payment"]["payment_intent"] == asked["payment_intent"]
        ]
    return page(found, params, "/v1/invoice_payments")


def list_lines(account: Account, params: Params, invoice: str) -> Object:
    found = account.find("invoice", invoice)
    return page(found["lines"]["data"][::-1], params, f"/v1/invoices/{invoice}/lines")


def list_items(account: Account, params: Params) -> Object:
    """The items of one subscription."""
    found = account.find("subscription", params["subscription"], "subscription")
    return page(lines.items(found)[::-1], params, "/v1/subscription_items")
