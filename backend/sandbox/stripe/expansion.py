"""`expand[]`: ids replaced by the objects they name, and members that are left out otherwise."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from sandbox.stripe.account import Account, Object
from sandbox.stripe.errors import StripeError
from sandbox.stripe.listing import envelope

KINDS = {
    "ch": "charge",
    "cs": "checkout.session",
    "cus": "customer",
    "in": "invoice",
    "du": "dispute",
    "inpay": "invoice_payment",
    "pi": "payment_intent",
    "pm": "payment_method",
    "price": "price",
    "prod": "product",
    "re": "refund",
    "seti": "setup_intent",
    "sub": "subscription",
}
MAX_DEPTH = 4
_PLAIN = {("charge", "payment_method")}
"""Ids that Stripe never expands although they look like the others (SDK annotations)."""


def expand(account: Account, item: Object, wanted: list[str]) -> Object:
    """A copy of `item` with every path of `wanted` expanded. Raises StripeError 400."""
    result = copy.deepcopy(item)
    for path in wanted:
        parts = path.split(".")
        if len(parts) > MAX_DEPTH:
            raise _refusal(f"You cannot expand more than {MAX_DEPTH} levels of a property: {path}")
        _walk(account, result, parts, path)
    return result


def _walk(account: Account, place: Any, parts: list[str], path: str) -> None:
    if isinstance(place, list):
        for element in place:
            _walk(account, element, parts, path)
        return
    if not parts or place is None:
        return
    name = parts[0]
    place[name] = _value(account, place, name, path)
    _walk(account, place[name], parts[1:], path)


def _value(account: Account, place: Object, name: str, path: str) -> Any:
    extra = EXTRAS.get((str(place.get("object")), name))
    if extra is not None:
        return extra(account, place)
    if name not in place:
        raise _refusal(f"This property cannot be expanded ({path}).")
    value = place[name]
    if not isinstance(value, str):
        return value
    kind = KINDS.get(value.partition("_")[0])
    if kind is None or name == "id" or (place.get("object"), name) in _PLAIN:
        raise _refusal(f"This property cannot be expanded ({path}).")
    return copy.deepcopy(account.find(kind, value))


def _payments(account: Account, invoice: Object) -> Object:
    found = account.all("invoice_payment", invoice=invoice["id"])
    return envelope(copy.deepcopy(found[::-1]), "/v1/invoice_payments")


def _confirmation_secret(account: Account, invoice: Object) -> Object | None:
    for payment in account.all("invoice_payment", invoice=invoice["id"], status="open"):
        intent = account.find("payment_intent", payment["payment"]["payment_intent"])
        return {"type": "payment_intent", "client_secret": intent["client_secret"]}
    return None


def _refunds(account: Account, charge: Object) -> Object:
    found = account.all("refund", charge=charge["id"])
    return envelope(copy.deepcopy(found[::-1]), f"/v1/charges/{charge['id']}/refunds")


def _subscriptions(account: Account, customer: Object) -> Object:
    found = [
        one
        for one in account.all("subscription", customer=customer["id"])
        if one["status"] != "canceled"
    ]
    url = f"/v1/customers/{customer['id']}/subscriptions"
    return envelope(copy.deepcopy(found[::-1]), url)


def _line_items(account: Account, session: Object) -> Object:
    found = account.noted(session["id"], "line_items") or []
    return envelope(copy.deepcopy(found), f"/v1/checkout/sessions/{session['id']}/line_items")


EXTRAS: dict[tuple[str, str], Callable[[Account, Object], Any]] = {
    ("invoice", "payments"): _payments,
    ("invoice", "confirmation_secret"): _confirmation_secret,
    ("charge", "refunds"): _refunds,
    ("customer", "subscriptions"): _subscriptions,
    ("checkout.session", "line_items"): _line_items,
}


def _refusal(message: str) -> StripeError:
    return StripeError(message, param="expand")
