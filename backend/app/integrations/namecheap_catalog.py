"""What Namecheap sells and at which price, kept in Redis because calls are what is scarce."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar, cast
from xml.etree.ElementTree import Element

from redis import Redis
from redis.exceptions import RedisError

from app.integrations import namecheap_xml as xml
from app.integrations.namecheap_wire import Wire

PRICES_FOR = 3600
TLDS_FOR = 24 * 3600
"""Seconds; Namecheap asks that both lists are kept."""

Sheet = dict[str, dict[str, int]]
"""Ending -> number of years as text -> total in cents, ICANN fee included."""

T = TypeVar("T", bound=dict[str, dict[str, int]] | dict[str, bool])


class Catalog:
    """`name` starts the keys in Redis; without Redis the provider is asked each time."""

    def __init__(self, wire: Wire, redis: Redis, name: str) -> None:
        self._wire, self._redis, self._name = wire, redis, name

    def split(self, domain_name: str) -> tuple[str, str | None]:
        """The name before its ending, and the longest ending there is; None when none fits."""
        tlds = self._tlds()
        labels = domain_name.lower().split(".")
        for start in range(1, len(labels)):
            if ".".join(labels[start:]) in tlds:
                return ".".join(labels[:start]), ".".join(labels[start:])
        return domain_name, None

    def sells(self, tld: str) -> bool:
        """Whether a name below `tld` can be bought by API and is ours at once."""
        return self._tlds().get(tld, False)

    def price(self, tld: str, action: str, years: int, *, fresh: bool = False) -> int | None:
        """Cents for `years`; None when it is not sold for so long.

        `action` is REGISTER, RENEW or REACTIVATE. `fresh` asks now, for the moment before money is
        spent.
        """
        if fresh:
            sheet = self._sheet(action, ProductName=tld.upper())
        else:
            sheet = self._kept(f"prices:{action}", PRICES_FOR, lambda: self._sheet(action))
        return sheet.get(tld, {}).get(str(years))

    def _sheet(self, action: str, **only: str) -> Sheet:
        return self._wire.ask(
            "namecheap.users.getPricing",
            lambda root: _prices(root, action),
            ProductType="DOMAIN",
            ProductCategory="DOMAINS",
            ActionName=action,
            **only,
        )

    def _tlds(self) -> dict[str, bool]:
        return self._kept(
            "tlds", TLDS_FOR, lambda: self._wire.ask("namecheap.domains.getTldList", _endings)
        )

    def _kept(self, name: str, seconds: int, load: Callable[[], T]) -> T:
        key = f"{self._name}:{name}"
        with suppress(RedisError, ValueError):
            held = self._redis.get(key)
            if held:
                return cast("T", json.loads(str(held)))
        value = load()
        # An empty list is somebody's mistake, which must not last for an hour.
        if value:
            with suppress(RedisError):
                self._redis.set(key, json.dumps(value), ex=seconds)
        return value


def _prices(root: Element, action: str) -> Sheet:
    """Those of one action: an answer may hold a category for each, the same endings in all."""
    asked = [
        category
        for category in xml.elements(root, "ProductCategory")
        if xml.attribute(category, "Name").lower() == action.lower()
    ]
    return {
        xml.attribute(product, "Name").lower(): {
            xml.attribute(price, "Duration"): _total(price)
            for price in xml.elements(product, "Price")
        }
        for part in asked or [root]
        for product in xml.elements(part, "Product")
    }


def _total(price: Element) -> int:
    """Our price and what comes on top of it (the ICANN fee); the misspelt name is Namecheap's."""
    prefix, extra_name = "Your", "YourAdditonalCost"
    if not xml.cents(xml.attribute(price, "YourPrice")):
        prefix, extra_name = "", "AdditionalCost"
    extra = xml.cents(xml.attribute(price, extra_name))
    if xml.attribute(price, f"{extra_name}Type").upper() == "MULTIPLE":
        extra *= xml.count(xml.attribute(price, "Duration"))
    return xml.cents(xml.attribute(price, f"{prefix}Price")) + extra


def _endings(root: Element) -> dict[str, bool]:
    return {
        xml.attribute(tld, "Name").lower(): xml.yes(tld, "IsApiRegisterable")
        # Reference and samples spell it differently.
        and not (xml.yes(tld, "NonRealTime") or xml.yes(tld, "NonRealTimeDomain"))
        for tld in xml.elements(root, "Tld")
    }
