"""PaymentIntents: one payment, at once or as a hold that is captured later."""

from __future__ import annotations

from typing import Any

from sandbox.stripe import cards, charges, collection, payment_methods, payments, values
from sandbox.stripe.account import Account, Object, snapshot
from sandbox.stripe.errors import StripeError, invalid
from sandbox.stripe.listing import page
from sandbox.stripe.setup_intents import authentication_failure

Params = dict[str, Any]
MINIMUM = {"usd": 50, "eur": 50, "gbp": 30}
"""Smallest amounts in cents (docs.stripe.com/currencies); 50 for a currency not listed."""
MAXIMUM = 99_999_999
_CONFIRMABLE = {"requires_payment_method", "requires_confirmation", "requires_action"}
_CANCELLABLE = _CONFIRMABLE | {"requires_capture", "processing"}
_TAKEN = (
    "allowed_payment_method_types",
    "automatic_payment_methods",
    "capture_method",
    "confirmation_method",
    "customer",
    "description",
    "receipt_email",
    "setup_future_usage",
    "statement_descriptor",
    "statement_descriptor_suffix",
)


def create(account: Account, params: Params) -> Object:
    currency = params["currency"].lower()
    _check_amount(params["amount"], currency)
    if "customer" in params:
        account.find("customer", params["customer"], "customer")
    intent = payments.new_intent(
        account,
        params["amount"],
        currency,
        **{name: params[name] for name in _TAKEN if name in params},
        metadata=values.metadata({}, params.get("metadata")),
    )
    if "payment_method" in params:
        intent["payment_method"] = _usable(account, intent, params["payment_method"])["id"]
        intent["status"] = "requires_confirmation"
    account.created(intent)
    if params.get("confirm"):
        chosen: Params = {
            name: params[name]
            for name in ("off_session", "return_url", "error_on_requires_action")
            if name in params
        }
        return confirm(account, chosen, intent["id"])
    return intent


def get(account: Account, _: Params, intent: str) -> Object:
    return account.find("payment_intent", intent)


def list_(account: Account, params: Params) -> Object:
    wanted = {"customer": params["customer"]} if "customer" in params else {}
    return page(account.all("payment_intent", **wanted), params, "/v1/payment_intents")


def update(account: Account, params: Params, intent: str) -> Object:
    found = account.find("payment_intent", intent)
    if "amount" in params:
        if found["status"] not in _CONFIRMABLE:
            raise _unexpected(found, "update the amount of")
        _check_amount(params["amount"], found["currency"])
        found["amount"] = params["amount"]
    values.merge(found, params, "description", "receipt_email", "setup_future_usage")
    found["metadata"] = values.metadata(found["metadata"], params.get("metadata"))
    return account.save(found)


def confirm(account: Account, params: Params, intent: str) -> Object:
    """Raises StripeError 402 when the card is refused, 400 in a wrong state."""
    found = account.find("payment_intent", intent)
    if found["status"] not in _CONFIRMABLE:
        raise _unexpected(found, "confirm")
    values.merge(found, params, "capture_method", "setup_future_usage", "receipt_email")
    if "return_url" in params:
        account.note(intent, return_url=params["return_url"])
    if "payment_method_data" in params:
        method = payment_methods.create(account, params["payment_method_data"])
    else:
        wanted = params.get("payment_method") or found["payment_method"]
        if wanted is None:
            raise invalid(
                "You cannot confirm this PaymentIntent because it's missing a payment method. You"
                " can either update the PaymentIntent with a payment method and then confirm it"
                " again, or confirm it again directly with a payment method or"
                " ConfirmationToken.",
                code="payment_intent_unexpected_state",
            )
        method = _usable(account, found, wanted)
    off_session = bool(params.get("off_session"))
    decline = payments.attempt(account, found, method, off_session=off_session)
    if decline is None and found["status"] == "requires_action":
        if params.get("error_on_requires_action"):
            found |= {"status": "requires_payment_method", "next_action": None}
            account.save(found)
            raise cards.Decline("authentication_required").error(payment_intent=dict(found))
        return found
    return _after(account, found, method, decline)


def authenticate(account: Account, intent: str, *, succeed: bool) -> Object:
    """The holder answered the bank's question."""
    found = account.find("payment_intent", intent)
    if found["status"] != "requires_action":
        raise _unexpected(found, "authenticate")
    method = account.find("payment_method", found["payment_method"])
    if not succeed:
        refusal = authentication_failure("payment_intent_authentication_failure")
        found |= {
            "status": "requires_payment_method",
            "payment_method": None,
            "next_action": None,
            "last_payment_error": refusal | {"payment_method": dict(method)},
        }
        account.save(found)
        account.emit("payment_intent.payment_failed", found)
        return found
    decline = payments.attempt(account, found, method, off_session=False, authenticated=True)
    try:
        return _after(account, found, method, decline)
    except StripeError:
        # The holder is shown the refusal in the intent; nobody waits for an exception here.
        return found


def capture(account: Account, params: Params, intent: str) -> Object:
    found = account.find("payment_intent", intent)
    if found["status"] != "requires_capture":
        raise _unexpected(found, "capture")
    held: int = found["amount_capturable"]
    amount: int = params.get("amount_to_capture", held)
    if not 0 < amount <= found["amount_capturable"]:
        raise invalid(
            f"The amount_to_capture ({amount}) must be between 1 and the amount that is held"
            f" ({found['amount_capturable']}).",
            "amount_to_capture",
            "amount_too_large",
        )
    account.agenda.clear("hold_expires", intent)
    charges.capture(account, found, amount)
    found |= {"status": "succeeded", "amount_received": amount, "amount_capturable": 0}
    found["metadata"] = values.metadata(found["metadata"], params.get("metadata"))
    account.save(found)
    account.emit("payment_intent.succeeded", found)
    return found


def cancel(account: Account, params: Params, intent: str) -> Object:
    found = account.find("payment_intent", intent)
    if found["status"] not in _CANCELLABLE:
        raise _unexpected(found, "cancel")
    if account.noted(intent, "invoice") is not None:
        raise invalid("You cannot cancel a PaymentIntent of an invoice; void the invoice instead.")
    return payments.cancel(account, found, params.get("cancellation_reason"))


def expire_hold(account: Account, intent: str) -> None:
    """Seven days are over and nobody captured."""
    found = account.find("payment_intent", intent)
    if found["status"] == "requires_capture":
        payments.cancel(account, found, "automatic")


def _after(
    account: Account, intent: Object, method: Object, decline: cards.Decline | None
) -> Object:
    """Save the card if that was asked for; tell the invoice this intent belongs to."""
    if decline is None and intent["setup_future_usage"] and intent["customer"]:
        payment_methods.save_to(account, method, intent["customer"])
        account.note(method["id"], set_up=True)
    invoice = account.noted(intent["id"], "invoice")
    if invoice is not None:
        collection.settle(
            account, account.find("invoice", invoice), intent, decline, automatic=False
        )
    if decline is not None:
        raise decline.error(
            payment_intent=snapshot(intent),
            payment_method=dict(method),
            charge=intent["latest_charge"],
        )
    return intent


def _usable(account: Account, intent: Object, wanted: str) -> Object:
    method = cards.resolve(account, wanted)
    if method["customer"] is not None and method["customer"] != intent["customer"]:
        raise invalid(
            f"The provided PaymentMethod {method['id']} belongs to a Customer; include that"
            " customer in the PaymentIntent to use it.",
            "payment_method",
        )
    if account.noted(method["id"], "detached"):
        raise invalid(
            "The provided PaymentMethod was previously detached from a Customer, and may not be"
            " used again.",
            "payment_method",
        )
    return method


def _check_amount(amount: int, currency: str) -> None:
    if amount < MINIMUM.get(currency, 50):
        raise invalid(
            f"Amount must be at least {MINIMUM.get(currency, 50)} {currency} cents.",
            "amount",
            "amount_too_small",
        )
    if amount > MAXIMUM:
        raise invalid("Amount must be no more than $999,999.99.", "amount", "amount_too_large")


def _unexpected(intent: Object, what: str) -> StripeError:
    error = invalid(
        f"You cannot {what} this PaymentIntent because it has a status of {intent['status']}.",
        code="payment_intent_unexpected_state",
    )
    error.body["payment_intent"] = snapshot(intent)
    return error
