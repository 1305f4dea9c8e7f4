"""Customer portal sessions: a short-lived address where a customer helps himself."""

from __future__ import annotations

from typing import Any

from sandbox.stripe import cards, changes, payment_methods, standing
from sandbox.stripe.account import Account, Object, new_id, snapshot
from sandbox.stripe.errors import invalid, missing

Params = dict[str, Any]
OPEN_SECONDS = 3600


def create(account: Account, params: Params) -> Object:
    if "customer" not in params:
        raise invalid("Missing required param: customer.", "customer", "parameter_missing")
    account.find("customer", params["customer"], "customer")
    identifier, secret = new_id("bps"), new_id("test", 32)
    session: Object = {
        "id": identifier,
        "object": "billing_portal.session",
        "after_expiration": None,
        "configuration": "bpc_sandbox",
        "created": account.now(),
        "customer": params["customer"],
        "customer_account": None,
        "flow": None,
        "livemode": False,
        "locale": params.get("locale"),
        "on_behalf_of": None,
        "return_url": params.get("return_url"),
        "url": account.url(f"/hosted/portal/{secret}"),
    }
    account.note(secret, portal=identifier)
    return account.save(session)


def open_session(account: Account, secret: str) -> Object:
    """Raises StripeError 404 for an address that is wrong or older than an hour."""
    identifier = account.noted(secret, "portal")
    found = account.objects("billing_portal.session").get(identifier or "")
    if found is None or account.now() - found["created"] > OPEN_SECONDS:
        raise missing("billing_portal.session", secret)
    return found


def living_subscriptions(account: Account, customer: str) -> list[Object]:
    return [
        one
        for one in account.all("subscription", customer=customer)
        if one["status"] not in standing.ENDED
    ]


def act(account: Account, session: Object, wanted: Params) -> None:
    """One button of the page: cancel, keep, or a new card. Raises StripeError 402."""
    customer = session["customer"]
    if wanted.get("action") == "card":
        _new_card(account, customer, str(wanted.get("card", "")))
        return
    keep = wanted.get("action") == "keep"
    for subscription in living_subscriptions(account, customer):
        changes.update(account, {"cancel_at_period_end": not keep}, subscription["id"])


def _new_card(account: Account, customer: str, card: str) -> None:
    """Replaces the default of the customer and of every subscription."""
    method = cards.resolve(account, card)
    outcome = cards.setup_outcome(account, method)
    if isinstance(outcome, cards.Decline):
        raise outcome.error()
    payment_methods.save_to(account, method, customer)
    account.note(method["id"], set_up=True)
    found = account.find("customer", customer)
    before = snapshot(found)
    found["invoice_settings"]["default_payment_method"] = method["id"]
    account.updated(found, before)
    for subscription in living_subscriptions(account, customer):
        changes.update(account, {"default_payment_method": method["id"]}, subscription["id"])
