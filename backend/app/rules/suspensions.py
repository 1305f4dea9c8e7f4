"""Why a tenant is cut off, and what it can do about it."""

from __future__ import annotations

from collections.abc import Mapping

VERSION = "2026-11"
"""Of the rules by which tenants are suspended; each decision names the one it was made under."""

PAYMENT_FAILED, PAYMENT_DISPUTED = "payment_failed", "payment_disputed"
_WEIGHT = {PAYMENT_FAILED: 0, PAYMENT_DISPUTED: 1}
"""What ends by itself, when everything is paid or the dispute is won; other reasons weigh more."""

ABOUT_MAIL = frozenset({"spam_complaint", "blacklisted"})
"""What the mail itself speaks for; rules stop tenants for it without a person."""

WHAT_TO_DO: Mapping[str, str] = {
    "spam_complaint": (
        "Mailbox providers reported your mail as spam. Stop the campaigns concerned, and appeal"
        " under Decisions, or write to support: how their recipients agreed, and what you change."
    ),
    "blacklisted": (
        "A domain or address of yours is on a block list. Ask its operator to remove it, then"
        " appeal under Decisions, or write to support, with the answer."
    ),
    PAYMENT_FAILED: (
        "Pay the open invoices or add another card under Billing. Access comes back as soon as the"
        " payment has gone through."
    ),
    PAYMENT_DISPUTED: (
        "A payment of yours is disputed at your bank. Withdraw the dispute there, or write to"
        " support; access comes back when it is settled in our favour."
    ),
    "erasure": (
        "You asked us to forget your company. If you did not, write to support before the day that"
        " the mail about it names."
    ),
    "terms_violation": (
        "Your use was found to be against the terms of service. Appeal under Decisions, or write to"
        " support."
    ),
}
"""By reason, for the tenant to read."""


def replaces(reason: str, present: str | None) -> bool:
    """Whether `reason` takes the place of the one a tenant is suspended for already."""
    if present not in _WEIGHT:
        return False
    return _WEIGHT.get(reason, len(_WEIGHT)) > _WEIGHT[present]
