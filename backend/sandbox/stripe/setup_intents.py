"""SetupIntents: save a card for later, without charging it."""

from __future__ import annotations

from typing import Any

from sandbox.stripe import cards, payment_methods, payments, values
from sandbox.stripe.account import Account, Object, new_id
from sandbox.stripe.errors import invalid
from sandbox.stripe.listing import page

Params = dict[str, Any]
_CANCELLABLE = {"requires_payment_method", "requires_confirmation", "requires_action"}


def create(account: Account, params: Params) -> Object:
    customer = params.get("customer")
    if customer is not None:
        account.find("customer", customer, "customer")
    identifier = new_id("seti")
    intent: Object = {
        "id": identifier,
        "object": "setup_intent",
        "allowed_payment_method_types": params.get("allowed_payment_method_types"),
        "application": None,
        "automatic_payment_methods": params.get("automatic_payment_methods"),
        "cancellation_reason": None,
        "client_secret": new_id(f"{identifier}_secret", 25),
        "created": account.now(),
        "customer": customer,
        "customer_account": None,
        "description": params.get("description"),
        "excluded_payment_method_types": None,
        "flow_directions": None,
        "last_setup_error": None,
        "latest_attempt": None,
        "livemode": False,
        "mandate": None,
        "metadata": values.metadata({}, params.get("metadata")),
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_configuration_details": None,
        "payment_method_options": {
            "card": {
                "mandate_options": None,
                "network": None,
                "request_three_d_secure": "automatic",
            }
        },
        "payment_method_types": ["card"],
        "single_use_mandate": None,
        "status": "requires_payment_method",
        "usage": params.get("usage", "off_session"),
    }
    if "payment_method" in params:
        intent["payment_method"] = cards.resolve(account, params["payment_method"])["id"]
        intent["status"] = "requires_confirmation"
    account.created(intent)
    if params.get("confirm"):
        chosen = {name: params[name] for name in ("return_url",) if name in params}
        return confirm(account, chosen, identifier)
    return intent


def get(account: Account, _: Params, intent: str) -> Object:
    return account.find("setup_intent", intent)


def list_(account: Account, params: Params) -> Object:
    wanted = {key: params[key] for key in ("customer", "payment_method") if key in params}
    return page(account.all("setup_intent", **wanted), params, "/v1/setup_intents")


def update(account: Account, params: Params, intent: str) -> Object:
    found = account.find("setup_intent", intent)
    values.merge(found, params, "description")
    found["metadata"] = values.metadata(found["metadata"], params.get("metadata"))
    return account.save(found)


def confirm(account: Account, params: Params, intent: str) -> Object:
    """Raises StripeError 402 when the card is refused, 400 in a wrong state."""
    found = account.find("setup_intent", intent)
    if found["status"] not in _CANCELLABLE:
        raise _unexpected(found, "confirm")
    if "return_url" in params:
        account.note(intent, return_url=params["return_url"])
    method = _chosen(account, found, params)
    outcome = cards.setup_outcome(account, method)
    found |= {"payment_method": method["id"], "last_setup_error": None, "next_action": None}
    if isinstance(outcome, cards.Decline):
        raise _failed(account, found, method, outcome)
    if outcome == cards.ALWAYS_AUTHENTICATE:
        found |= {"status": "requires_action", "next_action": payments.next_action(account, found)}
        account.save(found)
        account.emit("setup_intent.requires_action", found)
        return found
    return _succeed(account, found, method)


def authenticate(account: Account, intent: str, *, succeed: bool) -> Object:
    """The holder answered the bank's question."""
    found = account.find("setup_intent", intent)
    if found["status"] != "requires_action":
        raise _unexpected(found, "authenticate")
    method = account.find("payment_method", found["payment_method"])
    if succeed:
        return _succeed(account, found, method)
    refusal = authentication_failure("setup_intent_authentication_failure")
    found |= {
        "status": "requires_payment_method",
        "payment_method": None,
        "next_action": None,
        "last_setup_error": refusal | {"payment_method": dict(method)},
    }
    account.save(found)
    account.emit("setup_intent.setup_failed", found)
    return found


def authentication_failure(code: str) -> Object:
    return {
        "code": code,
        "doc_url": f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}",
        "message": "We are unable to authenticate your payment method. Please choose a different"
        " payment method and try again.",
        "type": "invalid_request_error",
    }


def cancel(account: Account, params: Params, intent: str) -> Object:
    found = account.find("setup_intent", intent)
    if found["status"] not in _CANCELLABLE:
        raise _unexpected(found, "cancel")
    found |= {
        "status": "canceled",
        "cancellation_reason": params.get("cancellation_reason"),
        "next_action": None,
    }
    account.save(found)
    account.emit("setup_intent.canceled", found)
    return found


def _chosen(account: Account, intent: Object, params: Params) -> Object:
    if "payment_method_data" in params:
        return payment_methods.create(account, params["payment_method_data"])
    wanted = params.get("payment_method") or intent["payment_method"]
    if wanted is None:
        raise invalid(
            "You cannot confirm this SetupIntent because it's missing a payment method. You can"
            " either update the SetupIntent with a payment method and then confirm it again, or"
            " confirm it again directly with a payment method.",
            code="setup_intent_unexpected_state",
        )
    method = cards.resolve(account, wanted)
    if method["customer"] not in {None, intent["customer"]}:
        raise invalid(
            f"The PaymentMethod {method['id']} belongs to another customer.", "payment_method"
        )
    return method


def _succeed(account: Account, intent: Object, method: Object) -> Object:
    if intent["customer"] is not None:
        payment_methods.save_to(account, method, intent["customer"])
    account.note(method["id"], set_up=True)
    intent |= {"status": "succeeded", "payment_method": method["id"], "next_action": None}
    account.save(intent)
    account.emit("setup_intent.succeeded", intent)
    return intent


def _failed(account: Account, intent: Object, method: Object, decline: cards.Decline) -> Exception:
    intent |= {
        "status": "requires_payment_method",
        "payment_method": None,
        "last_setup_error": decline.details(method),
    }
    account.save(intent)
    account.emit("setup_intent.setup_failed", intent)
    return decline.error(setup_intent=dict(intent), payment_method=dict(method))


def _unexpected(intent: Object, what: str) -> Exception:
    return invalid(
        f"You cannot {what} this SetupIntent because it has a status of {intent['status']}.",
        code="setup_intent_unexpected_state",
    )
