"""Checkout Sessions: the hosted page that takes a card and does the rest."""

from __future__ import annotations

from typing import Any

from sandbox.stripe import (
    cards,
    customers,
    payment_intents,
    payment_methods,
    setup_intents,
    subscriptions,
    values,
)
from sandbox.stripe.account import Account, Object, new_id
from sandbox.stripe.errors import invalid
from sandbox.stripe.listing import page

Params = dict[str, Any]
OPEN_SECONDS = 24 * 3600
MIN_TRIAL_SECONDS = 48 * 3600


def create(account: Account, params: Params) -> Object:
    mode = params.get("mode", "payment")
    if params.get("ui_mode", "hosted_page") != "hosted_page":
        raise invalid("The sandbox has the hosted page only.", "ui_mode")
    if "success_url" not in params:
        raise invalid("Missing required param: success_url.", "success_url", "parameter_missing")
    if "customer" in params:
        account.find("customer", params["customer"], "customer")
    rows = [
        _line(account, given, n, mode) for n, given in enumerate(params.get("line_items") or [])
    ]
    if not rows and mode != "setup":
        raise invalid("Missing required param: line_items.", "line_items", "parameter_missing")
    now, identifier = account.now(), new_id("cs_test")
    trial_end = (params.get("subscription_data") or {}).get("trial_end")
    if trial_end is not None and trial_end < now + MIN_TRIAL_SECONDS:
        raise invalid(
            "The `trial_end` date has to be at least 2 days in the future.",
            "subscription_data[trial_end]",
        )
    expires = params.get("expires_at", now + OPEN_SECONDS)
    if not now + 1800 <= expires <= now + OPEN_SECONDS:
        raise invalid("expires_at must be between 30 minutes and 24 hours from now.", "expires_at")
    total = sum(row["amount_total"] for row in rows)
    session = _session(account, identifier, params, mode, None if mode == "setup" else total)
    session["expires_at"] = expires
    account.note(
        identifier,
        line_items=rows,
        wanted={name: params.get(f"{name}_data") or {} for name in _DATA},
    )
    account.agenda.set("checkout_expires", identifier, expires)
    return account.save(session)


_DATA = ("subscription", "payment_intent", "setup_intent")


def _session(
    account: Account, identifier: str, params: Params, mode: str, total: int | None
) -> Object:
    email = params.get("customer_email")
    return {
        "id": identifier,
        "object": "checkout.session",
        "adaptive_pricing": None,
        "after_expiration": None,
        "allow_promotion_codes": None,
        "amount_subtotal": total,
        "amount_total": total,
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "billing_address_collection": None,
        "cancel_url": params.get("cancel_url"),
        "client_reference_id": params.get("client_reference_id"),
        "client_secret": None,
        "collected_information": None,
        "consent": None,
        "consent_collection": None,
        "created": account.now(),
        "currency": params.get("currency", "usd"),
        "currency_conversion": None,
        "custom_fields": [],
        "custom_text": {
            "after_submit": None,
            "shipping_address": None,
            "submit": None,
            "terms_of_service_acceptance": None,
        },
        "customer": params.get("customer"),
        "customer_account": None,
        "customer_creation": params.get("customer_creation", "always"),
        "customer_details": None,
        "customer_email": email,
        "discounts": [],
        "expires_at": 0,
        "invoice": None,
        "invoice_creation": None,
        "livemode": False,
        "locale": params.get("locale"),
        "metadata": values.metadata({}, params.get("metadata")),
        "mode": mode,
        "origin_context": None,
        "payment_intent": None,
        "payment_link": None,
        "payment_method_collection": params.get("payment_method_collection", "always"),
        "payment_method_configuration_details": None,
        "payment_method_options": {},
        "payment_method_types": ["card"],
        "payment_status": "no_payment_required" if mode == "setup" else "unpaid",
        "permissions": None,
        "phone_number_collection": {"enabled": False},
        "recovered_from": None,
        "saved_payment_method_options": None,
        "setup_intent": None,
        "shipping_address_collection": None,
        "shipping_cost": None,
        "shipping_options": [],
        "status": "open",
        "submit_type": None,
        "subscription": None,
        "success_url": params["success_url"],
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page",
        "url": account.url(f"/hosted/checkout/{identifier}"),
        "wallet_options": None,
    }


def _line(account: Account, given: Params, n: int, mode: str) -> Object:
    if "price" not in given:
        raise invalid(
            "The sandbox takes prices by id only.", f"line_items[{n}][price]", "parameter_missing"
        )
    price = account.find("price", given["price"], f"line_items[{n}][price]")
    if mode == "subscription" and price["recurring"] is None:
        raise invalid(
            "You must provide at least one recurring price in `subscription` mode.", "line_items"
        )
    quantity = given.get("quantity", 1)
    total = price["unit_amount"] * quantity
    return {
        "id": new_id("li"),
        "object": "item",
        "adjustable_quantity": None,
        "amount_discount": 0,
        "amount_subtotal": total,
        "amount_tax": 0,
        "amount_total": total,
        "currency": price["currency"],
        "description": account.find("product", price["product"])["name"],
        "metadata": {},
        "price": dict(price),
        "quantity": quantity,
    }


def get(account: Account, _: Params, session: str) -> Object:
    return account.find("checkout.session", session)


def list_(account: Account, params: Params) -> Object:
    names = ("customer", "payment_intent", "status", "subscription")
    wanted = {key: params[key] for key in names if key in params}
    return page(account.all("checkout.session", **wanted), params, "/v1/checkout/sessions")


def expire(account: Account, _: Params, session: str) -> Object:
    found = account.find("checkout.session", session)
    if found["status"] != "open":
        raise invalid('Only Checkout Sessions with a status in ["open"] can be expired.')
    account.agenda.clear("checkout_expires", session)
    found |= {"status": "expired", "url": None}
    account.save(found)
    account.emit("checkout.session.expired", found)
    return found


def expire_due(account: Account, session: str) -> None:
    if account.find("checkout.session", session)["status"] == "open":
        expire(account, {}, session)


def complete(account: Account, session: str, card: str) -> Object:
    """The customer paid with `card` (a test id). Raises StripeError 402 when it is refused."""
    found = account.find("checkout.session", session)
    if found["status"] != "open":
        raise invalid("This Checkout Session is no longer open.")
    customer = found["customer"] or customers.create(account, _email(found))["id"]
    found["customer"] = customer
    wanted = account.noted(session, "wanted")
    if found["mode"] == "setup":
        _setup(account, found, customer, card, wanted["setup_intent"])
    elif found["mode"] == "payment":
        _pay(account, found, customer, card, wanted["payment_intent"])
    else:
        _subscribe(account, found, customer, card, wanted["subscription"])
    known = account.find("customer", customer)
    account.agenda.clear("checkout_expires", session)
    found |= {
        "status": "complete",
        "url": None,
        "customer_details": {
            "address": known["address"],
            "email": known["email"],
            "name": known["name"],
            "phone": known["phone"],
            "tax_exempt": "none",
            "tax_ids": [],
        },
    }
    account.save(found)
    account.emit("checkout.session.completed", found)
    return found


def _email(session: Object) -> Params:
    return {"email": session["customer_email"]} if session["customer_email"] else {}


def _setup(account: Account, session: Object, customer: str, card: str, wanted: Params) -> None:
    intent = setup_intents.create(account, {"customer": customer, **_carried(wanted)})
    session["setup_intent"] = intent["id"]
    _must_finish(setup_intents.confirm(account, {"payment_method": card}, intent["id"]))


def _pay(account: Account, session: Object, customer: str, card: str, wanted: Params) -> None:
    chosen: Params = {
        name: wanted[name]
        for name in ("capture_method", "description", "setup_future_usage")
        if name in wanted
    }
    intent = payment_intents.create(
        account,
        {
            "amount": session["amount_total"],
            "currency": session["currency"],
            "customer": customer,
            **chosen,
            **_carried(wanted),
        },
    )
    session["payment_intent"] = intent["id"]
    _must_finish(payment_intents.confirm(account, {"payment_method": card}, intent["id"]))
    session["payment_status"] = "paid" if intent["status"] == "succeeded" else "unpaid"


def _subscribe(account: Account, session: Object, customer: str, card: str, wanted: Params) -> None:
    method = cards.resolve(account, card)
    outcome = cards.setup_outcome(account, method)
    if isinstance(outcome, cards.Decline):
        raise outcome.error()
    payment_methods.save_to(account, method, customer)
    account.note(method["id"], set_up=True)
    rows = account.noted(session["id"], "line_items")
    subscription = subscriptions.create(
        account,
        {
            "customer": customer,
            "items": [{"price": one["price"]["id"], "quantity": one["quantity"]} for one in rows],
            "default_payment_method": method["id"],
            "payment_behavior": "error_if_incomplete",
            **{key: value for key, value in wanted.items() if key in _SUBSCRIPTION_DATA},
        },
    )
    paid = subscription["status"] != "trialing"
    if not paid:
        session |= {"amount_subtotal": 0, "amount_total": 0}
    session |= {
        "subscription": subscription["id"],
        "invoice": subscription["latest_invoice"],
        "payment_status": "paid" if paid else "no_payment_required",
    }


_SUBSCRIPTION_DATA = frozenset(
    {"billing_mode", "description", "metadata", "trial_end", "trial_period_days", "trial_settings"}
)


def _carried(wanted: Params) -> Params:
    return {"metadata": wanted["metadata"]} if "metadata" in wanted else {}


def _must_finish(intent: Object) -> None:
    """The page is where the holder authenticates, so it is done on the spot."""
    if intent["status"] == "requires_action":
        raise cards.Decline("authentication_required").error()
