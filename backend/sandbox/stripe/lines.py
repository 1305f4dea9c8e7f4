"""Subscription items, their periods, and the invoice lines they cause."""

from __future__ import annotations

from typing import Any

from sandbox.stripe import values
from sandbox.stripe.account import Account, Object, new_id
from sandbox.stripe.catalog import as_plan
from sandbox.stripe.errors import invalid

Params = dict[str, Any]


def new_item(account: Account, subscription: str, given: Params, n: int) -> Object:
    """An item for `items[n]`; its period is set by whoever starts it."""
    if "price" not in given:
        raise invalid(
            f"Missing required param: items[{n}][price].",
            f"items[{n}][price]",
            "parameter_missing",
        )
    price = recurring_price(account, given["price"], f"items[{n}][price]")
    return {
        "id": new_id("si", 14),
        "object": "subscription_item",
        "billed_until": None,
        "billing_thresholds": None,
        "created": account.now(),
        "current_period_end": 0,
        "current_period_start": 0,
        "discounts": [],
        "metadata": values.metadata({}, given.get("metadata")),
        "plan": as_plan(price),
        "price": dict(price),
        "quantity": given.get("quantity", 1),
        "subscription": subscription,
        "tax_rates": [],
    }


def recurring_price(account: Account, wanted: str, param: str) -> Object:
    price = account.find("price", wanted, param)
    if price["recurring"] is None:
        raise invalid(
            "The price specified is set to `type=one_time` but this field only accepts prices with"
            " `type=recurring`.",
            param,
        )
    if not price["active"]:
        raise invalid(f"The price specified ({wanted}) is inactive.", param, "price_inactive")
    return price


def items(subscription: Object) -> list[Object]:
    found: list[Object] = subscription["items"]["data"]
    return found


def period(subscription: Object) -> tuple[int, int]:
    """Start and end of the current period; all items share it."""
    first = items(subscription)[0]
    return first["current_period_start"], first["current_period_end"]


def set_period(subscription: Object, start: int, end: int) -> None:
    for item in items(subscription):
        item |= {"current_period_start": start, "current_period_end": end}


def next_end(subscription: Object, start: int) -> int:
    rule = items(subscription)[0]["price"]["recurring"]
    return values.period_end(
        subscription["billing_cycle_anchor"], start, rule["interval"], rule["interval_count"]
    )


def amount(item: Object) -> int:
    return int(item["price"]["unit_amount"]) * int(item["quantity"])


def share(cents: int, part: int, whole: int) -> int:
    """`cents` for `part` of `whole` seconds, rounded half up to the cent."""
    return (2 * cents * part + whole) // (2 * whole)


def line(
    item: Object,
    cents: int,
    start: int,
    end: int,
    text: str,
    *,
    proration: bool = False,
) -> Object:
    price = item["price"]
    return {
        "id": new_id("il"),
        "object": "line_item",
        "amount": cents,
        "currency": price["currency"],
        "description": text,
        "discount_amounts": [],
        "discountable": not proration,
        "discounts": [],
        "invoice": None,
        "livemode": False,
        "metadata": dict(item["metadata"]),
        "parent": {
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": None,
                "proration": proration,
                "proration_details": {"credited_items": None},
                "subscription": item["subscription"],
                "subscription_item": item["id"],
            },
            "type": "subscription_item_details",
        },
        "period": {"start": start, "end": end},
        "pretax_credit_amounts": [],
        "pricing": {
            "price_details": {"price": price["id"], "product": price["product"]},
            "type": "price_details",
            "unit_amount_decimal": price["unit_amount_decimal"],
        },
        "quantity": item["quantity"],
        "subscription": item["subscription"],
        "subtotal": cents,
        "taxes": [],
    }


def full_period(account: Account, subscription: Object) -> list[Object]:
    """One line for each item, for its current period."""
    found = []
    for item in items(subscription):
        name = account.find("product", item["price"]["product"])["name"]
        price = f"${item['price']['unit_amount'] / 100:,.2f}"
        per = item["price"]["recurring"]["interval"]
        text = f"{item['quantity']} × {name} (at {price} / {per})"
        start, end = item["current_period_start"], item["current_period_end"]
        found.append(line(item, amount(item), start, end, text))
    return found


def trial(account: Account, subscription: Object) -> list[Object]:
    """The lines of the invoice of 0 that begins a trial."""
    return [
        line(
            item,
            0,
            item["current_period_start"],
            item["current_period_end"],
            f"Trial period for {account.find('product', item['price']['product'])['name']}",
        )
        for item in items(subscription)
    ]


def unused(account: Account, item: Object, at: int) -> Object:
    """The credit for the rest of the period of an item that changes or ends at `at`."""
    start, end = item["current_period_start"], item["current_period_end"]
    name = account.find("product", item["price"]["product"])["name"]
    cents = -share(amount(item), end - at, end - start)
    return line(item, cents, at, end, f"Unused time on {name}", proration=True)


def remaining(account: Account, item: Object, at: int) -> Object:
    """The price of the rest of the period of an item that begins at `at`."""
    start, end = item["current_period_start"], item["current_period_end"]
    name = account.find("product", item["price"]["product"])["name"]
    cents = share(amount(item), end - at, end - start)
    return line(item, cents, at, end, f"Remaining time on {name}", proration=True)
