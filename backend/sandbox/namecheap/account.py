"""Commands about the account: prices, balance, domain privacy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from xml.etree import ElementTree as ET

from sandbox.namecheap import domains, forms
from sandbox.namecheap.answers import date, element, money, refuse, tree
from sandbox.namecheap.catalog import TLDS
from sandbox.namecheap.registry import Registry, moment
from sandbox.store import Document

Params = Mapping[str, str]
ACTIONS = ("register", "renew", "reactivate")


def pricing(registry: Registry, params: Params) -> list[ET.Element]:
    """Totals by number of years; `YourAdditonalCost` (their spelling) is the ICANN fee a year."""
    kind = forms.required(params, "ProductType", 2011170).upper()
    if kind != "DOMAIN":
        raise refuse(2011298, "ProductType is invalid")
    action = params.get("ActionName", "").strip().lower()
    if action and action not in ACTIONS:
        raise refuse(2011299, "ActionName is invalid")
    only = params.get("ProductName", "").strip().lower()
    categories = (
        tree("ProductCategory", {"Name": name}, _products(registry, name, only))
        for name in ACTIONS
        if action in {"", name}
    )
    kinds = [tree("ProductType", {"Name": "domains"}, categories)]
    return [tree("UserGetPricingResult", {}, kinds)]


def _products(registry: Registry, action: str, only: str) -> Iterator[ET.Element]:
    for name in TLDS:
        if only in {"", name} and TLDS[name].registerable:
            yield tree("Product", {"Name": name}, _prices(registry, name, action))


def _prices(registry: Registry, name: str, action: str) -> Iterator[ET.Element]:
    tld = registry.settings.tld(name)
    first = tld.min_years if action == "register" else 1
    for years in range(first, tld.max_years + 1):
        price = money(tld.price(action, years))
        yield element(
            "Price",
            {
                "Duration": years,
                "DurationType": "YEAR",
                "Price": price,
                "PricingType": "ABSOLUTE",
                "AdditionalCost": money(tld.icann),
                "RegularPrice": money(tld.price("renew", years)),
                "RegularPriceType": "MULTIPLE",
                "RegularAdditionalCost": money(tld.icann),
                "RegularAdditionalCostType": "MULTIPLE",
                "YourPrice": price,
                "YourPriceType": "ABSOLUTE",
                "YourAdditonalCost": money(tld.icann),
                "YourAdditonalCostType": "MULTIPLE",
                "PromotionPrice": "0.0",
                "Currency": "USD",
            },
        )


def balances(registry: Registry, params: Params) -> list[ET.Element]:  # noqa: ARG001
    amount = money(registry.settings.balance)
    return [
        element(
            "UserGetBalancesResult",
            {
                "Currency": "USD",
                "AvailableBalance": amount,
                "AccountBalance": amount,
                "EarnedAmount": money(Decimal(0)),
                "WithdrawableAmount": money(Decimal(0)),
                "FundsRequiredForAutoRenew": money(Decimal(0)),
            },
        )
    ]


def privacy_list(registry: Registry, params: Params) -> list[ET.Element]:
    docs = [doc for doc in registry.domains.values() if doc["privacy"] is not None]
    page = forms.whole(params, "Page", 1, 1, 10**6)
    size = forms.whole(params, "PageSize", 20, 2, 100)
    rows = (
        element(
            "Whoisguard",
            {
                "ID": doc["privacy_id"],
                "DomainName": doc["name"],
                "Created": date(moment(doc["created"])),
                "Expires": date(moment(doc["expires"])),
                "Status": "ENABLED" if doc["privacy"]["enabled"] else "DISABLED",
            },
        )
        for doc in docs[(page - 1) * size : page * size]
    )
    return [
        tree("WhoisguardGetListResult", {}, rows),
        domains.paging(len(docs), page, size),
    ]


def privacy_enable(registry: Registry, params: Params) -> list[ET.Element]:
    doc = _protected(registry, params)
    email = forms.required(params, "ForwardedToEmail", 2010324)
    doc["privacy"] = {"enabled": True, "email": email}
    registry.save(doc)
    return [element("WhoisguardEnableResult", {"DomainName": doc["name"], "IsSuccess": True})]


def privacy_disable(registry: Registry, params: Params) -> list[ET.Element]:
    doc = _protected(registry, params)
    doc["privacy"] = {**doc["privacy"], "enabled": False}
    registry.save(doc)
    return [element("WhoisguardDisableResult", {"DomainName": doc["name"], "IsSuccess": True})]


def _protected(registry: Registry, params: Params) -> Document:
    wanted = forms.required(params, "WhoisguardID", 2010333)
    for doc in registry.domains.values():
        if doc["privacy"] is not None and str(doc["privacy_id"]) == wanted:
            return doc
    raise refuse(2019333, "WhoisguardID is invalid")


COMMANDS: dict[str, Callable[[Registry, Params], list[ET.Element]]] = {
    "namecheap.users.getPricing": pricing,
    "namecheap.users.getBalances": balances,
    "namecheap.whoisguard.getlist": privacy_list,
    "namecheap.whoisguard.enable": privacy_enable,
    "namecheap.whoisguard.disable": privacy_disable,
}
