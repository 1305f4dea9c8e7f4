"""One attempt to pay a PaymentIntent with a card, whoever asked for it."""

from __future__ import annotations

from typing import Any

from sandbox.stripe import cards, charges
from sandbox.stripe.account import Account, Object, new_id

AUTHENTICATION = "authenticate"


def new_intent(account: Account, amount: int, currency: str, **known: Any) -> Object:
    """A PaymentIntent as Stripe shows it; not saved yet."""
    identifier = new_id("pi")
    return {
        "id": identifier,
        "object": "payment_intent",
        "allowed_payment_method_types": None,
        "amount": amount,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": None,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": "automatic",
        "client_secret": new_id(f"{identifier}_secret", 25),
        "confirmation_method": "automatic",
        "created": account.now(),
        "currency": currency,
        "customer": None,
        "customer_account": None,
        "description": None,
        "excluded_payment_method_types": None,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "metadata": {},
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_configuration_details": None,
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_method_types": ["card"],
        "processing": None,
        "receipt_email": None,
        "review": None,
        "setup_future_usage": None,
        "shipping": None,
        "source": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": "requires_payment_method",
        "transfer_data": None,
        "transfer_group": None,
        **known,
    }


def attempt(
    account: Account,
    intent: Object,
    method: Object,
    *,
    off_session: bool,
    authenticated: bool = False,
) -> cards.Decline | None:
    """Charge `method`; the intent says afterwards what came of it, events are told.

    Returns the decline, None when it worked or waits for the holder (`requires_action`).
    """
    outcome = cards.charge_outcome(account, method, off_session=off_session)
    if authenticated and outcome == cards.ALWAYS_AUTHENTICATE:
        outcome = cards.OK
    intent |= {"payment_method": method["id"], "next_action": None, "last_payment_error": None}
    if outcome == cards.ALWAYS_AUTHENTICATE:
        intent |= {"status": "requires_action", "next_action": next_action(account, intent)}
        account.save(intent)
        account.emit("payment_intent.requires_action", intent)
        return None
    decline = outcome if isinstance(outcome, cards.Decline) else None
    charge = charges.record(account, intent, method, decline)
    intent["latest_charge"] = charge["id"]
    if decline is not None:
        intent |= {
            "status": "requires_payment_method",
            "payment_method": None,
            "last_payment_error": decline.details(method, charge["id"]),
        }
        account.save(intent)
        account.emit("charge.failed", charge)
        account.emit("payment_intent.payment_failed", intent)
        return decline
    if intent["capture_method"] == "manual":
        intent |= {"status": "requires_capture", "amount_capturable": intent["amount"]}
        account.agenda.set("hold_expires", intent["id"], account.now() + charges.HOLD_SECONDS)
    else:
        intent |= {"status": "succeeded", "amount_received": intent["amount"]}
    account.save(intent)
    account.emit("charge.succeeded", charge)
    manual = intent["status"] == "requires_capture"
    account.emit(
        "payment_intent.amount_capturable_updated" if manual else "payment_intent.succeeded", intent
    )
    return None


def next_action(account: Account, intent: Object) -> Object:
    """What the browser must do: Stripe.js opens it, or the holder is sent there and back."""
    back = account.noted(intent["id"], "return_url")
    if back is None:
        return {
            "type": "use_stripe_sdk",
            "use_stripe_sdk": {
                "type": "three_d_secure_redirect",
                "stripe_js": page(account, intent),
            },
        }
    return {
        "type": "redirect_to_url",
        "redirect_to_url": {"return_url": back, "url": page(account, intent)},
    }


def page(account: Account, intent: Object) -> str:
    """Where the holder authenticates."""
    secret = intent["client_secret"]
    return account.url(f"/hosted/authenticate/{intent['id']}?client_secret={secret}")


def cancel(account: Account, intent: Object, reason: str | None) -> Object:
    """Cancel an intent that is not paid; a hold is given back."""
    if intent["status"] == "requires_capture":
        charges.release(account, intent, expired=reason == "automatic")
    account.agenda.clear("hold_expires", intent["id"])
    intent |= {
        "status": "canceled",
        "canceled_at": account.now(),
        "cancellation_reason": reason,
        "amount_capturable": 0,
        "next_action": None,
    }
    account.save(intent)
    account.emit("payment_intent.canceled", intent)
    return intent
