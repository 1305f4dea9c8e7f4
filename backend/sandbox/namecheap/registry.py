"""The books of the registrar: who owns which name, what was charged, where names point."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sandbox.namecheap.answers import refuse
from sandbox.namecheap.catalog import Name, is_taken
from sandbox.namecheap.settings import Settings
from sandbox.store import Document
from sandbox.world import World

DEFAULT_SERVERS = ("dns1.registrar-servers.com", "dns2.registrar-servers.com")
# An expired gTLD name can be reactivated for about a month and is then released.
GRACE = timedelta(days=30)


class Registry:
    """All names of one account, plus names that somebody else registered elsewhere."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.settings = Settings(world)
        self.domains = world.store.collection("namecheap.domains")
        self.elsewhere = world.store.collection("namecheap.elsewhere")
        self.orders = world.store.collection("namecheap.orders")
        self.delegations: dict[str, tuple[str, ...]] = {}
        self.refresh()

    def refresh(self) -> None:
        """Replace the snapshot that DNS reads; an expired name points nowhere any more."""
        fresh = {name: tuple(doc["name_servers"]) for name, doc in self.elsewhere.items()}
        for name, doc in self.domains.items():
            if doc["state"] == "active":
                fresh[name] = tuple(doc["name_servers"])
        self.delegations = fresh

    def available(self, name: Name) -> bool:
        return not (is_taken(name) or str(name) in self.domains or str(name) in self.elsewhere)

    def owned(self, name: str) -> Document:
        """The name's document; refuses with 2019166 (nobody's) or 2016166 (somebody else's)."""
        name = name.strip().lower()
        doc = self.domains.get(name)
        if doc is not None and doc["state"] != "pending":
            return doc
        if name in self.elsewhere:
            raise refuse(2016166, f"Domain {name} is not associated with your account")
        raise refuse(2019166, "Domain name not found")

    def charge(self, kind: str, domain: str, amount: Decimal) -> Document:
        """Debit the balance and write the order; refuses when the account cannot pay.

        The provider documents no number of its own for missing funds; orders that cannot be
        paid fail as orders do, with 2528166.
        """
        balance = self.settings.balance
        if balance < amount:
            raise refuse(2528166, "Order creation failed: insufficient funds in account balance")
        self.settings.balance = balance - amount
        number = self.orders.next_id()
        order = {
            "order_id": 900000 + number,
            "transaction_id": 1100000 + number,
            "kind": kind,
            "domain": domain,
            "amount": str(amount),
            "at": self.world.clock.now().isoformat(),
        }
        self.orders[str(order["order_id"])] = order
        return order

    def add(self, name: Name, years: int, servers: tuple[str, ...], **more: Any) -> Document:
        now = self.world.clock.now()
        later = name.label.startswith("later-")
        number = self.domains.next_id()
        doc = {
            "id": 1700000 + number,
            "name": str(name),
            "state": "pending" if later else "active",
            "created": now.isoformat(),
            "expires": add_years(now, years).isoformat(),
            "name_servers": list(servers or DEFAULT_SERVERS),
            "locked": False,
            "auto_renew": False,
            "premium": False,
            "privacy": None,
            "privacy_id": 53000 + number,
            **more,
        }
        self.domains[str(name)] = doc
        self.refresh()
        return doc

    def save(self, doc: Document) -> None:
        self.domains[doc["name"]] = doc
        self.refresh()

    def tick(self) -> None:
        """Finish slow registrations, let names expire, release what nobody renewed."""
        now = self.world.clock.now()
        changed = False
        for name, doc in self.domains.items():
            state = self._state(doc, now)
            if state == doc["state"]:
                continue
            changed = True
            if state == "released":
                del self.domains[name]
            else:
                doc["state"] = state
                self.domains.save(name)
        if changed:
            self.refresh()

    def _state(self, doc: Document, now: datetime) -> str:
        if doc["state"] == "pending":
            done = moment(doc["created"]) + timedelta(seconds=self.settings.later_seconds)
            return "active" if now >= done else "pending"
        expires = moment(doc["expires"])
        if now < expires:
            return "active"
        return "expired" if now < expires + GRACE else "released"


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def add_years(start: datetime, years: int) -> datetime:
    try:
        return start.replace(year=start.year + years)
    except ValueError:  # 29 February has no anniversary in most years.
        return start.replace(year=start.year + years, day=28)
