"""Stripe's test cards and how they behave (docs.stripe.com/testing)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from sandbox.stripe.account import Account, Object, new_id
from sandbox.stripe.errors import StripeError, missing

OK = "ok"
ALWAYS_AUTHENTICATE = "authenticate"
AUTHENTICATE_UNLESS_SET_UP = "authenticate_unless_set_up"

HARD_DECLINES = frozenset(
    {
        "incorrect_number",
        "lost_card",
        "pickup_card",
        "stolen_card",
        "revocation_of_authorization",
        "revocation_of_all_authorizations",
        "authentication_required",
        "highest_risk_level",
        "transaction_not_allowed",
    }
)
"""Declines after which Stripe's retries do nothing until there is another payment method."""

_OWN_CODES = frozenset(
    {"expired_card", "incorrect_cvc", "processing_error", "authentication_required"}
)
"""Declines whose error code is their own; the others are all `card_declined`."""

_MESSAGES = {
    "insufficient_funds": "Your card has insufficient funds.",
    "expired_card": "Your card has expired.",
    "incorrect_cvc": "Your card's security code is incorrect.",
    "processing_error": "An error occurred while processing your card. Try again in a little bit.",
    "authentication_required": "Your card was declined. This transaction requires authentication.",
}


@dataclass(frozen=True)
class TestCard:
    """`setup` is what happens when the card is saved, `charge` when it pays."""

    __test__ = False
    number: str
    brand: str = "visa"
    setup: str = OK
    charge: str = OK


def _declining(number: str, decline: str) -> TestCard:
    return TestCard(number, setup=decline, charge=decline)


_BY_NAME = {
    "visa": TestCard("4242424242424242"),
    "visa_debit": TestCard("4000056655665556"),
    "mastercard": TestCard("5555555555554444", "mastercard"),
    "amex": TestCard("378282246310005", "amex"),
    "chargeDeclined": _declining("4000000000000002", "generic_decline"),
    "chargeDeclinedInsufficientFunds": _declining("4000000000009995", "insufficient_funds"),
    "chargeDeclinedLostCard": _declining("4000000000009987", "lost_card"),
    "chargeDeclinedStolenCard": _declining("4000000000009979", "stolen_card"),
    "chargeDeclinedExpiredCard": _declining("4000000000000069", "expired_card"),
    "chargeDeclinedIncorrectCvc": _declining("4000000000000127", "incorrect_cvc"),
    "chargeDeclinedProcessingError": _declining("4000000000000119", "processing_error"),
    "chargeCustomerFail": TestCard("4000000000000341", charge="generic_decline"),
    # The next two are the sandbox's own: saved without trouble, refused when charged later.
    "chargeCustomerFailLostCard": TestCard("4000000000000358", charge="lost_card"),
    "chargeCustomerFailInsufficientFunds": TestCard(
        "4000000000000366", charge="insufficient_funds"
    ),
    "authenticationRequired": TestCard(
        "4000002760003184", setup=ALWAYS_AUTHENTICATE, charge=ALWAYS_AUTHENTICATE
    ),
    "authenticationRequiredOnSetup": TestCard(
        "4000002500003155", setup=ALWAYS_AUTHENTICATE, charge=AUTHENTICATE_UNLESS_SET_UP
    ),
}
BY_ID = {f"pm_card_{name}": card for name, card in _BY_NAME.items()} | {
    # Stripe's own names carry the brand in the middle.
    f"pm_card_visa_{name}": card
    for name, card in _BY_NAME.items()
    if name.startswith("charge")
}
BY_TOKEN = {key.replace("pm_card_", "tok_"): card for key, card in BY_ID.items()}
BY_NUMBER = {card.number: card for card in _BY_NAME.values()}
BEHAVIOURS = frozenset({OK, ALWAYS_AUTHENTICATE, AUTHENTICATE_UNLESS_SET_UP})


@dataclass(frozen=True)
class Decline:
    """Why a card said no."""

    reason: str

    @property
    def code(self) -> str:
        return self.reason if self.reason in _OWN_CODES else "card_declined"

    @property
    def message(self) -> str:
        return _MESSAGES.get(self.reason, "Your card was declined.")

    @property
    def hard(self) -> bool:
        return self.reason in HARD_DECLINES

    def details(self, method: Object | None = None, charge: str | None = None) -> dict[str, Any]:
        """The members of `last_payment_error` and of the error envelope."""
        known: dict[str, Any] = {
            "code": self.code,
            "decline_code": self.reason,
            "doc_url": f"https://stripe.com/docs/error-codes/{self.code.replace('_', '-')}",
            "message": self.message,
            "type": "card_error",
        }
        if charge is not None:
            known["charge"] = charge
        if method is not None:
            known["payment_method"] = dict(method)
        return known

    def error(self, **about: Any) -> StripeError:
        """402; `about` names what was tried (payment_intent=…, setup_intent=…)."""
        known = self.details()
        return StripeError(
            known.pop("message"),
            status=402,
            kind=known.pop("type"),
            code=known.pop("code"),
            **{key: value for key, value in (known | about).items() if key != "doc_url"},
        )


def create(account: Account, card: TestCard, billing: dict[str, Any] | None = None) -> Object:
    """A fresh payment method for `card`; the fingerprint is the same for the same number."""
    details = {"address": _address({}), "email": None, "name": None, "phone": None, "tax_id": None}
    if billing:
        details |= {key: value or None for key, value in billing.items() if key != "address"}
        details["address"] = _address(billing.get("address") or {})
    method: Object = {
        "id": new_id("pm"),
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": details,
        "card": {
            "brand": card.brand,
            "checks": {
                "address_line1_check": None,
                "address_postal_code_check": None,
                "cvc_check": "pass",
            },
            "country": "US",
            "display_brand": card.brand,
            # Three years from now, so that no advance of the clock in a test outlives the card.
            "exp_month": 12,
            "exp_year": account.world.clock.now().year + 3,
            "fingerprint": hashlib.sha256(card.number.encode()).hexdigest()[:16],
            "funding": "credit",
            "generated_from": None,
            "last4": card.number[-4:],
            "networks": {"available": [card.brand], "preferred": None},
            "regulated_status": "unregulated",
            "three_d_secure_usage": {"supported": True},
            "wallet": None,
        },
        "created": account.now(),
        "customer": None,
        "customer_account": None,
        "livemode": False,
        "metadata": {},
        "type": "card",
    }
    account.note(method["id"], setup=card.setup, charge=card.charge, set_up=False)
    return account.save(method)


def _address(given: dict[str, Any]) -> dict[str, Any]:
    names = ("city", "country", "line1", "line2", "postal_code", "state")
    return {name: given.get(name) or None for name in names}


def resolve(account: Account, wanted: str, param: str = "payment_method") -> Object:
    """The payment method `wanted`; a test id becomes a fresh one, as at Stripe."""
    if wanted in BY_ID:
        return create(account, BY_ID[wanted])
    if wanted.startswith("pm_card_"):
        raise missing("payment_method", wanted, param)
    return account.find("payment_method", wanted, param)


def setup_outcome(account: Account, method: Object) -> str | Decline:
    """OK, ALWAYS_AUTHENTICATE (the holder must act) or a Decline."""
    wanted = account.noted(method["id"], "setup")
    return wanted if wanted in BEHAVIOURS else Decline(wanted)


def charge_outcome(account: Account, method: Object, *, off_session: bool) -> str | Decline:
    """OK, ALWAYS_AUTHENTICATE (only with the holder present) or a Decline."""
    wanted = account.noted(method["id"], "charge")
    if wanted == AUTHENTICATE_UNLESS_SET_UP:
        wanted = OK if account.noted(method["id"], "set_up") else ALWAYS_AUTHENTICATE
    if wanted == ALWAYS_AUTHENTICATE and off_session:
        return Decline("authentication_required")
    return wanted if wanted in BEHAVIOURS else Decline(wanted)
