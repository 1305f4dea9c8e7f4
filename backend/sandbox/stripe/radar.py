"""Radar: an issuer's early word that a charge may be fraud, before anybody disputes it."""

from __future__ import annotations

from typing import Any

from sandbox.stripe.account import Account, Object, new_id
from sandbox.stripe.errors import invalid
from sandbox.stripe.listing import page

FRAUD_TYPES = frozenset(
    {
        "card_never_received",
        "fraudulent_card_application",
        "made_with_counterfeit_card",
        "made_with_lost_card",
        "made_with_stolen_card",
        "misc",
        "unauthorized_use_of_card",
    }
)
"""`fraud_type` (docs.stripe.com/api/radar/early_fraud_warnings/object)."""


def warn(account: Account, charge: str, fraud_type: str) -> Object:
    """Raises StripeError when the charge took no money or has a warning already."""
    found = account.find("charge", charge)
    if not found["captured"] or account.all("radar.early_fraud_warning", charge=charge):
        raise invalid("Only a captured charge gets a warning, and only one.", "charge")
    if fraud_type not in FRAUD_TYPES:
        raise invalid(f"fraud_type must be one of {', '.join(sorted(FRAUD_TYPES))}.", "fraud_type")
    warning: Object = {
        "id": new_id("issfr"),
        "object": "radar.early_fraud_warning",
        # Nothing is left to be done about a charge that is refunded or disputed.
        "actionable": not found["refunded"] and not found["disputed"],
        "charge": charge,
        "created": account.now(),
        "fraud_type": fraud_type,
        "livemode": False,
        "payment_intent": found["payment_intent"],
    }
    return account.created(warning)


def get(account: Account, _: dict[str, Any], warning: str) -> Object:
    return account.find("radar.early_fraud_warning", warning)


def list_(account: Account, params: dict[str, Any]) -> Object:
    wanted = {key: params[key] for key in ("charge", "payment_intent") if key in params}
    found = account.all("radar.early_fraud_warning", **wanted)
    return page(found, params, "/v1/radar/early_fraud_warnings")
