"""Refunds: money on its way back, which may take its time and may not arrive."""

from __future__ import annotations

from typing import Any

from sandbox.stripe import values
from sandbox.stripe.account import Account, Object, new_id, snapshot
from sandbox.stripe.errors import invalid
from sandbox.stripe.listing import page

Params = dict[str, Any]
FINAL = frozenset({"succeeded", "failed", "canceled"})
OPEN = frozenset({"pending", "requires_action"})
FAILURES = frozenset(
    {
        "charge_for_pending_refund_disputed",
        "declined",
        "expired_or_canceled_card",
        "insufficient_funds",
        "lost_or_stolen_card",
        "merchant_request",
        "unknown",
    }
)
"""`failure_reason` (docs.stripe.com/api/refunds/object)."""


def create(account: Account, params: Params) -> Object:
    """Give back a captured payment, wholly or in part. Raises StripeError 400."""
    charge = _charge(account, params)
    if not charge["captured"]:
        raise invalid(
            f"Charge {charge['id']} has not been captured: cancel its PaymentIntent instead.",
            code="charge_not_refundable",
        )
    left = charge["amount_captured"] - charge["amount_refunded"]
    amount = params.get("amount", left)
    if left <= 0:
        raise invalid(
            f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded"
        )
    if not 0 < amount <= left:
        raise invalid(f"Refund amount ({amount}) is greater than what is left ({left}).", "amount")
    before = snapshot(charge)
    metadata = values.metadata({}, params.get("metadata"))
    status = account.settings["refunds"]
    made = record(account, charge, amount, params.get("reason"), metadata, status=status)
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] >= charge["amount_captured"]
    account.save(charge)
    account.emit("refund.created", made)
    account.emit("charge.refunded", charge, before)
    return made


def _charge(account: Account, params: Params) -> Object:
    if "payment_intent" in params:
        intent = account.find("payment_intent", params["payment_intent"], "payment_intent")
        if intent["latest_charge"] is None:
            raise invalid("This PaymentIntent does not have a successful charge to refund.")
        return account.find("charge", intent["latest_charge"])
    if "charge" in params:
        return account.find("charge", params["charge"], "charge")
    raise invalid("One of the following params should be provided: payment_intent or charge.")


def record(
    account: Account,
    charge: Object,
    amount: int,
    reason: str | None,
    metadata: dict[str, str],
    *,
    status: str,
) -> Object:
    """Save a refund of `charge`; nothing is told of it."""
    made: Object = {
        "id": new_id("re"),
        "object": "refund",
        "amount": amount,
        "balance_transaction": None,
        "charge": charge["id"],
        "created": account.now(),
        "currency": charge["currency"],
        "destination_details": {
            "card": {
                "reference_status": "pending",
                "reference_type": "acquirer_reference_number",
                "type": "refund" if charge["captured"] else "reversal",
            },
            "type": "card",
        },
        "metadata": metadata,
        "payment_intent": charge["payment_intent"],
        "reason": reason,
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": status,
        "transfer_reversal": None,
    }
    if status == "pending":
        made["pending_reason"] = "insufficient_funds"
    return account.save(made)


def settle(account: Account, refund: str, status: str, reason: str | None) -> Object:
    """What becomes of a refund later: it arrives, or the bank sends it back.

    Also one that succeeded may fail yet (docs.stripe.com/refunds, "Failed refunds"): the money is
    on the account's balance again, and the charge counts as not refunded.
    """
    found = account.find("refund", refund)
    if status not in FINAL or found["status"] in FINAL - {"succeeded"} or found["status"] == status:
        raise invalid(f"A refund that is {found['status']} does not become {status}.", "status")
    if status == "failed" and (reason or "unknown") not in FAILURES:
        raise invalid(f"reason must be one of {', '.join(sorted(FAILURES))}.", "reason")
    before = snapshot(found)
    found["status"] = status
    found.pop("pending_reason", None)
    if status != "succeeded":
        charge = account.find("charge", found["charge"])
        charge |= {"amount_refunded": charge["amount_refunded"] - found["amount"]}
        charge["refunded"] = False
        account.save(charge)
    if status == "failed":
        found["failure_reason"] = reason or "unknown"
        account.save(found)
        account.emit("refund.failed", found)
    return account.updated(found, before)


def get(account: Account, _: Params, refund: str) -> Object:
    return account.find("refund", refund)


def list_(account: Account, params: Params) -> Object:
    wanted = {key: params[key] for key in ("charge", "payment_intent") if key in params}
    return page(account.all("refund", **wanted), params, "/v1/refunds")
