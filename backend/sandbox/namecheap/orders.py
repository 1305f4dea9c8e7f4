"""Commands that cost money: create, renew, reactivate."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from xml.etree import ElementTree as ET

from sandbox.namecheap import forms
from sandbox.namecheap.answers import date, element, money, refuse, tree
from sandbox.namecheap.catalog import Name, parse, premium
from sandbox.namecheap.registry import Registry, add_years, moment

Params = Mapping[str, str]
MAX_YEARS = 10  # No registry lets a name run further ahead.


def create(registry: Registry, params: Params) -> list[ET.Element]:
    """Everything is checked before the account is debited, in the provider's order."""
    name = parse(forms.required(params, "DomainName", 2010166))
    tld = registry.settings.tld(name.tld.name)
    if not tld.registerable:
        raise refuse(2030280, "TLD is not supported in API")
    if tld.extended:
        raise refuse(2011322, f"Extended attributes of .{tld.name} are not valid")
    years = forms.years(params, 2, tld.min_years, tld.max_years)
    people = forms.contacts(params)
    servers = forms.name_servers(params)
    add_privacy = forms.flag(params, "AddFreeWhoisguard", "yes", 2033270)
    use_privacy = forms.flag(params, "WGEnabled", "no", 2033270)
    if use_privacy and not add_privacy:
        raise refuse(2033407, "Cannot enable domain privacy when AddFreeWhoisguard is set to NO")
    # `gone-…` looks free until the moment of the order: somebody else was faster.
    if not registry.available(name) or name.label.startswith("gone-"):
        raise refuse(3019166, "Domain not available")
    cost = _first_cost(registry, name, years, params)
    order = registry.charge("register", str(name), cost)
    privacy = {"enabled": use_privacy, "email": people["Registrant"]["EmailAddress"]}
    doc = registry.add(
        name,
        years,
        servers,
        contacts=people,
        premium=premium(name) is not None,
        privacy=privacy if add_privacy else None,
    )
    done = doc["state"] == "active"
    return [
        element(
            "DomainCreateResult",
            {
                "Domain": str(name),
                "Registered": done,
                "ChargedAmount": money(cost, 4),
                "DomainID": doc["id"],
                "OrderID": order["order_id"],
                "TransactionID": order["transaction_id"],
                "WhoisguardEnable": use_privacy,
                "NonRealTimeDomain": not done,
            },
        )
    ]


def renew(registry: Registry, params: Params) -> list[ET.Element]:
    doc = registry.owned(forms.required(params, "DomainName", 2010166))
    if doc["state"] == "expired":
        raise refuse(2020166, "Domain has expired. Please reactivate your domain.")
    expires, order, cost = _prolong(registry, doc["name"], params)
    return [
        tree(
            "DomainRenewResult",
            {
                "DomainName": doc["name"],
                "DomainID": doc["id"],
                "Renew": True,
                "OrderID": order["order_id"],
                "TransactionID": order["transaction_id"],
                "ChargedAmount": money(cost, 4),
            },
            [
                tree(
                    "DomainDetails",
                    {},
                    [
                        element("ExpiredDate", text=expires),
                        # The provider's own samples show 0 here whatever was bought.
                        element("NumYears", text="0"),
                    ],
                )
            ],
        )
    ]


def reactivate(registry: Registry, params: Params) -> list[ET.Element]:
    doc = registry.owned(forms.required(params, "DomainName", 2010166))
    if doc["state"] != "expired":
        raise refuse(2020166, "Domain does not meet the expiration date for reactivation")
    wanted = {**params, "Years": params.get("YearsToAdd", "") or "1"}
    _, order, cost = _prolong(registry, doc["name"], wanted)
    return [
        element(
            "DomainReactivateResult",
            {
                "Domain": doc["name"],
                "IsSuccess": True,
                "ChargedAmount": money(cost, 4),
                "OrderID": order["order_id"],
                "TransactionID": order["transaction_id"],
            },
        )
    ]


def _prolong(
    registry: Registry, domain: str, params: Params
) -> tuple[str, dict[str, object], Decimal]:
    """Renew by the years in `params`; (new expiry, order, what it cost)."""
    name = parse(domain)
    tld = registry.settings.tld(name.tld.name)
    years = forms.years(params, None, 1, tld.max_years)
    doc = registry.domains[domain]
    expires = add_years(moment(doc["expires"]), years)
    if expires > add_years(registry.world.clock.now(), MAX_YEARS):
        raise refuse(2015167, "Validation error from Years: a name runs 10 years at most")
    special = premium(name)
    _agree_on_premium(params, special.renew if special else None)
    yearly = special.renew * years if special else tld.price("renew", years)
    cost = yearly + tld.icann * years
    order = registry.charge("renew", domain, cost)
    doc["expires"] = expires.isoformat()
    doc["state"] = "active"
    registry.save(doc)
    return date(expires), order, cost


def _first_cost(registry: Registry, name: Name, years: int, params: Params) -> Decimal:
    tld = registry.settings.tld(name.tld.name)
    special = premium(name)
    _agree_on_premium(params, special.register if special else None)
    if special:
        return special.register + special.renew * (years - 1) + tld.icann * years
    return tld.price("register", years) + tld.icann * years


def _agree_on_premium(params: Params, price: Decimal | None) -> None:
    """A premium name must be ordered as one and at its price: 2515623 and 2515610."""
    if forms.truth(params, "IsPremiumDomain") != (price is not None):
        raise refuse(
            2515623,
            "Domain is premium while considered regular or is regular while considered premium",
        )
    offered = forms.amount(params, "PremiumPrice")
    if offered is not None and offered != (price or Decimal(0)):
        raise refuse(2515610, "Prices do not match")
    if price is not None and offered is None:
        raise refuse(2515610, "Prices do not match")
