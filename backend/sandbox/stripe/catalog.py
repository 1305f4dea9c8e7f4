"""Products and prices; the three plans are there at the first start."""

from __future__ import annotations

from typing import Any

from sandbox.stripe import values
from sandbox.stripe.account import Account, Object, new_id, snapshot
from sandbox.stripe.errors import invalid
from sandbox.stripe.listing import page

Params = dict[str, Any]
PLANS = (("starter", 9_700), ("growth", 29_700), ("enterprise", 99_700))
"""Name and cents a month; the lookup key is `{name}_monthly`."""


def seed(account: Account) -> None:
    """Make the plans once; a later start finds them in the store."""
    for name, cents in PLANS:
        if f"price_sandbox_{name}_monthly" in account.objects("price"):
            continue
        product = _product(account, f"prod_sandbox_{name}", name.title())
        product["metadata"] = {"plan": name}
        price = _price(account, f"price_sandbox_{name}_monthly", product["id"], "usd", cents)
        price |= {"lookup_key": f"{name}_monthly", "metadata": {"plan": name}}
        price |= {"recurring": _recurring({"interval": "month"}), "type": "recurring"}
        product["default_price"] = price["id"]
        account.save(product)
        account.save(price)


def create_product(account: Account, params: Params) -> Object:
    identifier = params.get("id") or new_id("prod", 14)
    if identifier in account.objects("product"):
        raise invalid("Product already exists.", "id", "resource_already_exists")
    product = _product(account, identifier, params["name"])
    values.merge(product, params, "active", "description", "url", "unit_label")
    product["metadata"] = values.metadata({}, params.get("metadata"))
    return account.created(product)


def get_product(account: Account, _: Params, product: str) -> Object:
    return account.find("product", product)


def update_product(account: Account, params: Params, product: str) -> Object:
    found = account.find("product", product)
    before = snapshot(found)
    values.merge(found, params, "active", "name", "description", "default_price")
    found["metadata"] = values.metadata(found["metadata"], params.get("metadata"))
    found["updated"] = account.now()
    return account.updated(found, before)


def list_products(account: Account, params: Params) -> Object:
    products = [
        one
        for one in account.all("product")
        if one["id"] in params.get("ids", [one["id"]])
        and one["active"] == params.get("active", one["active"])
    ]
    return page(products, params, "/v1/products")


def create_price(account: Account, params: Params) -> Object:
    if "product_data" in params:
        data = {key: params["product_data"][key] for key in ("name",)}
        product = create_product(account, data)["id"]
    elif "product" in params:
        product = account.find("product", params["product"], "product")["id"]
    else:
        raise invalid("Pass product or product_data.", "product", "parameter_missing")
    if "unit_amount" not in params:
        raise invalid("Missing required param: unit_amount.", "unit_amount", "parameter_missing")
    price = _price(
        account, new_id("price"), product, params["currency"].lower(), params["unit_amount"]
    )
    values.merge(price, params, "active", "nickname", "tax_behavior")
    price["metadata"] = values.metadata({}, params.get("metadata"))
    if "recurring" in params:
        price |= {"recurring": _recurring(params["recurring"]), "type": "recurring"}
    if "lookup_key" in params:
        _take_lookup_key(account, params, price)
    return account.created(price)


def get_price(account: Account, _: Params, price: str) -> Object:
    return account.find("price", price)


def update_price(account: Account, params: Params, price: str) -> Object:
    found = account.find("price", price)
    before = snapshot(found)
    if "lookup_key" in params:
        _take_lookup_key(account, params, found)
    values.merge(found, params, "active", "nickname", "tax_behavior")
    found["metadata"] = values.metadata(found["metadata"], params.get("metadata"))
    return account.updated(found, before)


def list_prices(account: Account, params: Params) -> Object:
    wanted = {
        key: params[key] for key in ("active", "currency", "product", "type") if key in params
    }
    prices = account.all("price", **wanted)
    if "lookup_keys" in params:
        prices = [one for one in prices if one["lookup_key"] in params["lookup_keys"]]
    if "recurring" in params:
        asked = params["recurring"]
        prices = [
            one
            for one in prices
            if one["recurring"] and all(one["recurring"].get(k) == v for k, v in asked.items())
        ]
    return page(prices, params, "/v1/prices")


def as_plan(price: Object) -> Object:
    """The older shape of a recurring price; a subscription item carries both."""
    return {
        "id": price["id"],
        "object": "plan",
        "active": price["active"],
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "billing_scheme": price["billing_scheme"],
        "created": price["created"],
        "currency": price["currency"],
        "interval": price["recurring"]["interval"],
        "interval_count": price["recurring"]["interval_count"],
        "livemode": False,
        "metadata": dict(price["metadata"]),
        "meter": None,
        "nickname": price["nickname"],
        "product": price["product"],
        "tiers_mode": None,
        "transform_usage": None,
        "trial_period_days": None,
        "usage_type": "licensed",
    }


def _product(account: Account, identifier: str, name: str) -> Object:
    return {
        "id": identifier,
        "object": "product",
        "active": True,
        "created": account.now(),
        "default_price": None,
        "description": None,
        "images": [],
        "livemode": False,
        "marketing_features": [],
        "metadata": {},
        "name": name,
        "package_dimensions": None,
        "shippable": None,
        "statement_descriptor": None,
        "tax_code": None,
        "type": "service",
        "unit_label": None,
        "updated": account.now(),
        "url": None,
    }


def _price(account: Account, identifier: str, product: str, currency: str, cents: int) -> Object:
    return {
        "id": identifier,
        "object": "price",
        "active": True,
        "billing_scheme": "per_unit",
        "created": account.now(),
        "currency": currency,
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": None,
        "metadata": {},
        "nickname": None,
        "product": product,
        "recurring": None,
        "tax_behavior": "unspecified",
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "one_time",
        "unit_amount": cents,
        "unit_amount_decimal": str(cents),
    }


def _recurring(given: dict[str, Any]) -> Object:
    return {
        "interval": given["interval"],
        "interval_count": given.get("interval_count", 1),
        "meter": None,
        "trial_period_days": None,
        "usage_type": given.get("usage_type", "licensed"),
    }


def _take_lookup_key(account: Account, params: Params, price: Object) -> None:
    """A lookup key names one price; moving it must be asked for."""
    key = params["lookup_key"]
    for other in account.all("price", lookup_key=key):
        if other["id"] == price["id"]:
            continue
        if not params.get("transfer_lookup_key"):
            raise invalid(
                f"A price (`{other['id']}`) already uses that lookup key.",
                "lookup_key",
                "resource_already_exists",
            )
        before = snapshot(other)
        other["lookup_key"] = None
        account.updated(other, before)
    price["lookup_key"] = key or None
