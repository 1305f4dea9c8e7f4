"""Charges: the record of each attempt to take money, and of holds that are given back."""

from __future__ import annotations

from typing import Any

from sandbox.stripe import refunds
from sandbox.stripe.account import Account, Object, new_id, snapshot
from sandbox.stripe.cards import Decline
from sandbox.stripe.listing import page

Params = dict[str, Any]
HOLD_SECONDS = 7 * 86_400
"""How long an online card authorisation lasts (docs.stripe.com, "Place a hold")."""


def record(account: Account, intent: Object, method: Object, decline: Decline | None) -> Object:
    """Save a charge for `intent`: held when it is captured later, failed when declined."""
    held = intent["capture_method"] == "manual"
    paid = decline is None
    descriptor = intent["statement_descriptor_suffix"]
    charge: Object = {
        "id": new_id("ch"),
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": intent["amount"] if paid and not held else 0,
        "amount_refunded": 0,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": None,
        "billing_details": dict(method["billing_details"]),
        "calculated_statement_descriptor": "SANDBOX" + (f"* {descriptor}" if descriptor else ""),
        "captured": paid and not held,
        "created": account.now(),
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": decline.code if decline else None,
        "failure_message": decline.message if decline else None,
        "fraud_details": {},
        "livemode": False,
        "metadata": dict(intent["metadata"]),
        "on_behalf_of": None,
        "outcome": _outcome(decline),
        "paid": paid,
        "payment_intent": intent["id"],
        "payment_method": method["id"],
        "payment_method_details": _details(account, intent, method, held and paid),
        "radar_options": {},
        "receipt_email": intent["receipt_email"],
        "receipt_number": None,
        "receipt_url": None,
        "refunded": False,
        "review": None,
        "shipping": None,
        "source": None,
        "source_transfer": None,
        "statement_descriptor": intent["statement_descriptor"],
        "statement_descriptor_suffix": descriptor,
        "status": "succeeded" if paid else "failed",
        "transfer_data": None,
        "transfer_group": None,
    }
    if paid:
        charge["receipt_url"] = account.url(f"/hosted/receipts/{charge['id']}")
    return account.save(charge)


def _outcome(decline: Decline | None) -> Object:
    return {
        "advice_code": None
        if decline is None
        else ("do_not_try_again" if decline.hard else "try_again_later"),
        "network_advice_code": None,
        "network_decline_code": None,
        "network_status": "approved_by_network" if decline is None else "declined_by_network",
        "reason": None if decline is None else decline.reason,
        "risk_level": "normal",
        "risk_score": 20,
        "seller_message": "Payment complete."
        if decline is None
        else "The bank returned the decline code `" + decline.reason + "`.",
        "type": "authorized" if decline is None else "issuer_declined",
    }


def _details(account: Account, intent: Object, method: Object, held: bool) -> Object:
    card = method["card"]
    shown = {
        name: card[name]
        for name in ("brand", "checks", "country", "exp_month", "exp_year", "fingerprint")
    }
    shown |= {
        "amount_authorized": intent["amount"],
        "authorization_code": None,
        "extended_authorization": {"status": "disabled"},
        "funding": card["funding"],
        "incremental_authorization": {"status": "unavailable"},
        "installments": None,
        "last4": card["last4"],
        "mandate": None,
        "multicapture": {"status": "unavailable"},
        "network": card["brand"],
        "network_token": {"used": False},
        "network_transaction_id": None,
        "overcapture": {"maximum_amount_capturable": intent["amount"], "status": "unavailable"},
        "regulated_status": card["regulated_status"],
        "three_d_secure": None,
        "wallet": None,
    }
    if held:
        shown["capture_before"] = account.now() + HOLD_SECONDS
    return {"type": "card", "card": shown}


def of_intent(account: Account, intent: Object) -> Object:
    return account.find("charge", intent["latest_charge"])


def capture(account: Account, intent: Object, amount: int) -> Object:
    charge = of_intent(account, intent)
    charge |= {"captured": True, "amount_captured": amount}
    if amount < charge["amount"]:
        # What was held beyond the captured part goes back to the holder.
        charge["amount_refunded"] = charge["amount"] - amount
    account.save(charge)
    account.emit("charge.captured", charge)
    return charge


def release(account: Account, intent: Object, *, expired: bool) -> None:
    """Give a hold back, because it was cancelled or ran out."""
    charge = of_intent(account, intent)
    before = snapshot(charge)
    charge |= {"amount_refunded": charge["amount"], "refunded": True}
    reason = "expired_uncaptured_charge" if expired else None
    # No bank is asked for money back that was never taken, so this one cannot be waiting or fail.
    refunds.record(account, charge, charge["amount"], reason, {}, status="succeeded")
    account.save(charge)
    account.emit("charge.expired" if expired else "charge.refunded", charge, before)


def get(account: Account, _: Params, charge: str) -> Object:
    return account.find("charge", charge)


def list_(account: Account, params: Params) -> Object:
    wanted = {key: params[key] for key in ("customer", "payment_intent") if key in params}
    return page(account.all("charge", **wanted), params, "/v1/charges")
