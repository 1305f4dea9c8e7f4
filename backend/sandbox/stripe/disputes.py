"""Disputes: a card holder asks the bank for his money back."""

from __future__ import annotations

from typing import Any

from sandbox.stripe.account import Account, Object, new_id, snapshot
from sandbox.stripe.errors import invalid
from sandbox.stripe.listing import page

ANSWER_SECONDS = 7 * 86_400
"""Time to hand in evidence; banks give 7 to 21 days (docs.stripe.com/disputes/responding)."""
DECIDED = frozenset({"won", "lost"})


def open_(account: Account, charge: str, reason: str) -> Object:
    """Raises StripeError when the charge took no money or is disputed already."""
    found = account.find("charge", charge)
    if not found["captured"] or found["disputed"]:
        raise invalid("Only a captured charge can be disputed, and only once.", "charge")
    card = found["payment_method_details"]["card"]
    dispute: Object = {
        "id": new_id("du"),
        "object": "dispute",
        "amount": found["amount_captured"] - found["amount_refunded"],
        "balance_transactions": [],
        "charge": charge,
        "created": account.now(),
        "currency": found["currency"],
        "enhanced_eligibility_types": [],
        "evidence": dict.fromkeys(_EVIDENCE) | {"enhanced_evidence": {}},
        "evidence_details": {
            "due_by": account.now() + ANSWER_SECONDS,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
            "submission_method": "not_submitted",
        },
        "is_charge_refundable": False,
        "livemode": False,
        "metadata": {},
        "payment_intent": found["payment_intent"],
        "payment_method_details": {
            "card": {
                "brand": card["brand"],
                "case_type": "chargeback",
                "network": card["brand"],
                "network_reason_code": "10.4",
            },
            "type": "card",
        },
        "reason": reason,
        "status": "needs_response",
    }
    found["disputed"] = True
    account.save(found)
    return account.created(dispute, "charge.dispute.created")


def close(account: Account, identifier: str, status: str) -> Object:
    """The bank has decided: won or lost."""
    found = account.find("dispute", identifier)
    if status not in DECIDED or found["status"] in DECIDED:
        raise invalid("An open dispute is decided once: won or lost.", "status")
    before = snapshot(found)
    found["status"] = status
    return account.updated(found, before, "charge.dispute.closed")


def get(account: Account, _: dict[str, Any], dispute: str) -> Object:
    return account.find("dispute", dispute)


def list_(account: Account, params: dict[str, Any]) -> Object:
    wanted = {key: params[key] for key in ("charge", "payment_intent") if key in params}
    return page(account.all("dispute", **wanted), params, "/v1/disputes")


_EVIDENCE = (
    "access_activity_log",
    "billing_address",
    "cancellation_policy",
    "cancellation_policy_disclosure",
    "cancellation_rebuttal",
    "customer_communication",
    "customer_email_address",
    "customer_name",
    "customer_purchase_ip",
    "customer_signature",
    "duplicate_charge_documentation",
    "duplicate_charge_explanation",
    "duplicate_charge_id",
    "product_description",
    "receipt",
    "refund_policy",
    "refund_policy_disclosure",
    "refund_refusal_explanation",
    "service_date",
    "service_documentation",
    "shipping_address",
    "shipping_carrier",
    "shipping_date",
    "shipping_documentation",
    "shipping_tracking_number",
    "uncategorized_file",
    "uncategorized_text",
)
