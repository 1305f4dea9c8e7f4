"""Payment methods: cards on file."""

from __future__ import annotations

from typing import Any

from sandbox.stripe import cards, values
from sandbox.stripe.account import Account, Object, snapshot
from sandbox.stripe.errors import StripeError, invalid, missing
from sandbox.stripe.listing import page

Params = dict[str, Any]


def create(account: Account, params: Params) -> Object:
    """From a test token or, as the browser does it, from a test number."""
    if params.get("type", "card") != "card":
        raise invalid("The sandbox knows cards only.", "type")
    card = params.get("card") or {}
    if "token" in card:
        known = cards.BY_TOKEN.get(card["token"])
        if known is None:
            raise missing("token", card["token"], "card[token]")
    else:
        known = _by_number(account, str(card.get("number", "")))
    method = cards.create(account, known, params.get("billing_details"))
    method["metadata"] = values.metadata({}, params.get("metadata"))
    if "cvc" in card and not card["cvc"]:
        method["card"]["checks"]["cvc_check"] = None
    for name in ("exp_month", "exp_year"):
        if name in card:
            method["card"][name] = card[name]
    return account.save(method)


def _by_number(account: Account, number: str) -> cards.TestCard:
    if not account.publishable:
        raise StripeError(
            "Sending credit card numbers directly to the Stripe API is generally unsafe. To"
            " continue processing use Stripe.js, the Stripe mobile bindings, or Stripe Elements.",
            status=402,
        )
    known = cards.BY_NUMBER.get(number.replace(" ", "").replace("-", ""))
    if known is None:
        raise StripeError(
            "Your card number is incorrect.",
            status=402,
            kind="card_error",
            code="incorrect_number",
            param="number",
        )
    return known


def get(account: Account, _: Params, method: str) -> Object:
    return cards.resolve(account, method, "id")


def update(account: Account, params: Params, method: str) -> Object:
    found = account.find("payment_method", method)
    before = snapshot(found)
    found["metadata"] = values.metadata(found["metadata"], params.get("metadata"))
    values.merge(found["billing_details"], params.get("billing_details") or {}, "email", "name")
    values.merge(found["card"], params.get("card") or {}, "exp_month", "exp_year")
    return account.updated(found, before)


def renew(account: Account, method: str) -> Object:
    """The network tells that the bank has sent the holder a new card (card account updater)."""
    found = account.find("payment_method", method)
    before = snapshot(found)
    card = found["card"]
    number = (int(card["last4"]) + 1) % 10_000
    card |= {"exp_year": card["exp_year"] + 3, "last4": f"{number:04d}"}
    return account.updated(found, before, "payment_method.automatically_updated")


def attach(account: Account, params: Params, method: str) -> Object:
    found = cards.resolve(account, method, "id")
    account.find("customer", params["customer"], "customer")
    outcome = cards.setup_outcome(account, found)
    if isinstance(outcome, cards.Decline):
        raise outcome.error()
    return save_to(account, found, params["customer"])


def save_to(account: Account, method: Object, customer: str) -> Object:
    """Attach; repeating it for the same customer changes nothing. Raises StripeError 400."""
    if method["customer"] == customer:
        return method
    if method["customer"] is not None:
        raise invalid(
            "The payment method you provided has already been attached to a customer.",
            code="payment_method_unexpected_state",
        )
    if account.noted(method["id"], "detached"):
        raise invalid(
            "This PaymentMethod was previously used without being attached to a Customer or was"
            " detached from a Customer, and may not be used again."
        )
    method["customer"] = customer
    account.save(method)
    account.emit("payment_method.attached", method)
    return method


def detach(account: Account, _: Params, method: str) -> Object:
    found = account.find("payment_method", method)
    if found["customer"] is None:
        raise invalid("The payment method you provided is not attached to a customer.")
    before = snapshot(found)
    _forget(account, found)
    found["customer"] = None
    account.note(method, detached=True)
    return account.updated(found, before, "payment_method.detached")


def _forget(account: Account, method: Object) -> None:
    """A detached card is nobody's default any more."""
    customer = account.find("customer", method["customer"])
    if customer["invoice_settings"]["default_payment_method"] == method["id"]:
        before = snapshot(customer)
        customer["invoice_settings"]["default_payment_method"] = None
        account.updated(customer, before)
    for subscription in account.all("subscription", default_payment_method=method["id"]):
        before = snapshot(subscription)
        subscription["default_payment_method"] = None
        account.updated(subscription, before, "customer.subscription.updated")


def list_(account: Account, params: Params) -> Object:
    return _listed(account, params, params.get("customer"), "/v1/payment_methods")


def list_of_customer(account: Account, params: Params, customer: str) -> Object:
    account.find("customer", customer)
    return _listed(account, params, customer, f"/v1/customers/{customer}/payment_methods")


def get_of_customer(account: Account, _: Params, customer: str, method: str) -> Object:
    found = account.find("payment_method", method)
    if found["customer"] != customer:
        raise missing("payment_method", method)
    return found


def _listed(account: Account, params: Params, customer: str | None, url: str) -> Object:
    if customer is None or params.get("type", "card") != "card":
        return page([], params, url)
    return page(account.all("payment_method", customer=customer), params, url)


def of_customer(account: Account, wanted: str, customer: str, param: str) -> str | None:
    """`wanted` when it belongs to `customer`; "" becomes None. Raises StripeError 400."""
    if wanted == "":
        return None
    found = account.objects("payment_method").get(wanted)
    if found is None or found["customer"] != customer:
        raise invalid(
            f"The customer does not have a payment method with the ID {wanted}. The payment method"
            " must be attached to the customer.",
            param,
            "resource_missing",
        )
    return wanted
