"""Names, money and orders of one account at Porkbun."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from sandbox.namecheap import hold_elsewhere, known_names
from sandbox.namecheap.answers import Refusal as BadName
from sandbox.namecheap.catalog import Name, is_taken, parse, premium
from sandbox.namecheap.registry import add_years
from sandbox.store import Document
from sandbox.world import World

DEFAULT_SERVERS = ["curitiba.ns.porkbun.com", "fortaleza.ns.porkbun.com"]
START_CENTS = 500_000


class Refusal(Exception):
    """Answered as an error; nothing was changed."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


class Books:
    """Endings, prices and well-known names are those of Namecheap's part."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.domains = world.store.collection("porkbun.domains")
        self.orders = world.store.collection("porkbun.orders")
        self.account = world.store.collection("porkbun.account")
        self.answers = world.store.collection("porkbun.idempotency")
        if "settings" not in self.account:
            self.account["settings"] = {"balance": START_CENTS, "checks": None, "prices": {}}

    @property
    def settings(self) -> Document:
        return self.account["settings"]

    def change(self, **changed: Any) -> None:
        self.account["settings"] = {**self.settings, **changed}

    def name(self, text: str) -> Name:
        try:
            return parse(text)
        except BadName as error:
            raise Refusal("INVALID_DOMAIN", f"Invalid domain: {error}") from None

    def available(self, name: Name) -> bool:
        text = str(name)
        return not (is_taken(name) or text in self.domains or text in known_names(self._world))

    def price(self, name: Name, action: str) -> int:
        """Cents for one year, the ICANN fee included as Porkbun does."""
        changed = self.settings["prices"].get(name.tld.name, {})
        dollars = Decimal(changed.get(action, getattr(name.tld, action))) + name.tld.icann
        return int(dollars * 100)

    def check(self, text: str) -> dict[str, Any]:
        name = self.name(text)
        special = premium(name)
        price = _dollars(int(special.register * 100) if special else self.price(name, "register"))
        renewal = _dollars(int(special.renew * 100) if special else self.price(name, "renew"))
        return {
            "avail": "yes" if self.available(name) else "no",
            "type": "registration",
            "price": price,
            "firstYearPromo": "no",
            "regularPrice": price,
            "premium": "yes" if special else "no",
            "additional": {
                "renewal": {"type": "renewal", "price": renewal, "regularPrice": renewal},
                "transfer": {"type": "transfer", "price": renewal, "regularPrice": renewal},
            },
        }

    def create(self, text: str, body: dict[str, Any]) -> dict[str, Any]:
        """Everything is checked before the account is debited."""
        name = self.name(text)
        if str(body.get("agreeToTerms")) not in {"yes", "1"}:
            raise Refusal("TERMS_NOT_AGREED", "You must agree to the terms of service.")
        if name.tld.extended or not name.tld.registerable:
            raise Refusal("TLD_NOT_SUPPORTED", f".{name.tld.name} cannot be registered by API.")
        if premium(name):
            raise Refusal("PREMIUM_NOT_SUPPORTED", "Premium domains cannot be registered by API.")
        if not self.available(name) or name.label.startswith("gone-"):
            raise Refusal("DOMAIN_NOT_AVAILABLE", "Domain is not available.")
        cost = self.price(name, "register")
        if body.get("cost") != cost:
            raise Refusal("PRICE_MISMATCH", f"The cost does not match: it is {cost}.")
        if self.settings["balance"] < cost:
            raise Refusal("INSUFFICIENT_FUNDS", "The account has insufficient funds.")
        now = self._world.clock.now()
        self.change(balance=self.settings["balance"] - cost)
        number = 7_000_000 + self.orders.next_id()
        self.orders[str(number)] = {"domain": str(name), "cost": cost, "at": now.isoformat()}
        self.domains[str(name)] = {
            "domain": str(name),
            "status": "ACTIVE",
            "tld": name.tld.name,
            "createDate": f"{now:%Y-%m-%d %H:%M:%S}",
            "expireDate": f"{add_years(now, 1):%Y-%m-%d %H:%M:%S}",
            "securityLock": "1",
            "whoisPrivacy": "1",
            "autoRenew": "1",
            "notLocal": 0,
            "ns": DEFAULT_SERVERS,
        }
        hold_elsewhere(self._world, str(name), DEFAULT_SERVERS)
        balance = self.settings["balance"]
        return {"domain": str(name), "cost": cost, "orderId": number, "balance": balance}

    def renew(self, text: str, body: dict[str, Any]) -> dict[str, Any]:
        """One year more than it had."""
        doc = self.owned(text)
        cost = self.price(self.name(text), "renew")
        if body.get("cost") != cost:
            raise Refusal("PRICE_MISMATCH", f"The cost does not match: it is {cost}.")
        if self.settings["balance"] < cost:
            raise Refusal("INSUFFICIENT_FUNDS", "The account has insufficient funds.")
        self.change(balance=self.settings["balance"] - cost)
        number = 7_000_000 + self.orders.next_id()
        at = self._world.clock.now().isoformat()
        self.orders[str(number)] = {"domain": doc["domain"], "cost": cost, "at": at}
        expires = add_years(datetime.fromisoformat(doc["expireDate"]), 1)
        self.domains[doc["domain"]] = {**doc, "expireDate": f"{expires:%Y-%m-%d %H:%M:%S}"}
        return {"domain": doc["domain"], "cost": cost, "orderId": number}

    def owned(self, text: str) -> Document:
        doc = self.domains.get(text.lower())
        if doc is None:
            raise Refusal("INVALID_DOMAIN", "Invalid domain.", 404)
        return doc

    def set_servers(self, text: str, body: dict[str, Any]) -> dict[str, Any]:
        doc = self.owned(text)
        servers = body.get("ns")
        if not isinstance(servers, list) or len(servers) < 2:
            raise Refusal("INVALID_NAMESERVERS", "Give at least two name servers.")
        hosts = [str(host).lower().rstrip(".") for host in servers]
        self.domains[doc["domain"]] = {**doc, "ns": hosts}
        hold_elsewhere(self._world, doc["domain"], hosts)
        return {}


def _dollars(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"
