"""Customers."""

from __future__ import annotations

import secrets
from typing import Any

from sandbox.stripe import cards, payment_methods, subscriptions, values
from sandbox.stripe.account import Account, Object, new_id, snapshot
from sandbox.stripe.errors import invalid
from sandbox.stripe.listing import page

Params = dict[str, Any]
_PLAIN = ("address", "description", "email", "name", "phone", "preferred_locales", "tax_exempt")


def create(account: Account, params: Params) -> Object:
    customer: Object = {
        "id": new_id("cus", 14),
        "object": "customer",
        "address": None,
        "balance": 0,
        "created": account.now(),
        "currency": None,
        "customer_account": None,
        "default_source": None,
        "delinquent": False,
        "description": None,
        "discount": None,
        "email": None,
        # Part of every invoice number of this customer.
        "invoice_prefix": secrets.token_hex(4).upper(),
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": False,
        "metadata": values.metadata({}, params.get("metadata")),
        "name": None,
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    }
    values.merge(customer, params, *_PLAIN)
    account.created(customer)
    if "payment_method" in params:
        method = cards.resolve(account, params["payment_method"])
        payment_methods.save_to(account, method, customer["id"])
    if "invoice_settings" in params:
        _settings(account, customer, params["invoice_settings"])
        account.save(customer)
    return customer


def get(account: Account, _: Params, customer: str) -> Object:
    return account.find("customer", customer)


def update(account: Account, params: Params, customer: str) -> Object:
    found = _living(account, customer)
    before = snapshot(found)
    values.merge(found, params, *_PLAIN)
    found["metadata"] = values.metadata(found["metadata"], params.get("metadata"))
    if "invoice_settings" in params:
        _settings(account, found, params["invoice_settings"])
    return account.updated(found, before)


def delete(account: Account, _: Params, customer: str) -> Object:
    found = _living(account, customer)
    subscriptions.cancel_all(account, customer)
    for method in account.all("payment_method", customer=customer):
        payment_methods.detach(account, {}, method["id"])
    account.emit("customer.deleted", found)
    gone: Object = {"id": customer, "object": "customer", "deleted": True}
    account.save(gone)
    return gone


def list_(account: Account, params: Params) -> Object:
    wanted = {"email": params["email"]} if "email" in params else {}
    living = [one for one in account.all("customer", **wanted) if not one.get("deleted")]
    return page(living, params, "/v1/customers")


def _living(account: Account, customer: str) -> Object:
    found = account.find("customer", customer)
    if found.get("deleted"):
        raise invalid(f"No such customer: '{customer}'", "id", "resource_missing")
    return found


def _settings(account: Account, customer: Object, given: Params) -> None:
    settings = customer["invoice_settings"]
    values.merge(settings, given, "custom_fields", "footer")
    if "default_payment_method" in given:
        settings["default_payment_method"] = payment_methods.of_customer(
            account,
            given["default_payment_method"],
            customer["id"],
            "invoice_settings[default_payment_method]",
        )
