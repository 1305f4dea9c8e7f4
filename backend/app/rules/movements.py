"""Which rows of the ledger an object at Stripe stands for.

Each is named by the object's id and its kind, so a movement told by several events is one row, and
the rows follow from the object's present state alone: their order of arrival does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Movement:
    """`kind` is a TransactionType; the amount is positive, the kind says which way it went."""

    kind: str
    stripe_id: str
    cents: int
    currency: str
    status: str = "succeeded"


IN = frozenset({"capture", "charge", "refund_failed", "dispute_won"})
OUT = frozenset({"refund", "dispute"})
"""Kinds that change what we have; the others reserve, fail, or move credit."""


def of_charge(
    *,
    charge_id: str,
    intent_id: str | None,
    amount: int,
    captured: bool,
    amount_captured: int,
    refunded: bool,
    failed: bool,
    currency: str,
    for_purchase: bool,
    held_first: bool,
) -> list[Movement]:
    """`for_purchase` is a domain's payment, `held_first` one that is captured later."""
    if failed:
        return [Movement("failure", charge_id, amount, currency, "failed")]
    if not for_purchase:
        # Before its capture it is no money; subscriptions are never held.
        return [Movement("charge", charge_id, amount_captured, currency)] if captured else []
    rows = []
    if held_first:
        rows.append(Movement("authorisation", charge_id, amount, currency))
    if captured:
        rows.append(Movement("capture", intent_id or charge_id, amount_captured, currency))
    elif refunded:
        # A hold that was cancelled or ran out shows as a refund of an uncaptured charge.
        rows.append(Movement("release", intent_id or charge_id, amount, currency))
    return rows


def of_refund(*, refund_id: str, amount: int, status: str, currency: str) -> list[Movement]:
    """A pending one may still be cancelled; a failed one went out and came back."""
    rows = []
    if status in {"succeeded", "failed"}:
        rows.append(Movement("refund", refund_id, amount, currency))
    if status == "failed":
        rows.append(Movement("refund_failed", refund_id, amount, currency))
    return rows


def of_dispute(*, dispute_id: str, amount: int, status: str, currency: str) -> list[Movement]:
    """An inquiry (`warning_…`) and a prevented one take nothing."""
    if status.startswith("warning_") or status == "prevented":
        return []
    rows = [Movement("dispute", dispute_id, amount, currency)]
    if status == "won":
        rows.append(Movement("dispute_won", dispute_id, amount, currency))
    return rows


def of_invoice(
    *, invoice_id: str, status: str, starting: int, ending: int | None, currency: str
) -> list[Movement]:
    """What finalising did to the customer's balance, which is negative when it is credit."""
    if status == "draft" or ending is None or ending == starting:
        return []
    if ending < starting:
        return [Movement("credit", invoice_id, starting - ending, currency)]
    return [Movement("credit_used", invoice_id, ending - starting, currency)]


def net_cents(movements: list[Movement]) -> int:
    """What all of it has brought us, before Stripe's fees."""
    return sum(m.cents for m in movements if m.kind in IN) - sum(
        m.cents for m in movements if m.kind in OUT
    )
