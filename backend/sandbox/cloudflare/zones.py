"""Zones of one account, with the records inside them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sandbox.cloudflare.envelope import Refused
from sandbox.store import Document
from sandbox.world import World

_FIRST = "ada amy bella cruz dana elle fay gina hope iris jade kim lara mia nina olga"
_SECOND = "bob carl dan evan fred greg hank ivan jack ken leo max ned otto paul rob"
FIRST, SECOND = _FIRST.split(), _SECOND.split()
SUFFIX = "ns.cloudflare.sandbox.test"
# Free zones that never become active are removed after four weeks.
PENDING_LIFE = timedelta(days=28)


@dataclass(frozen=True)
class Zone:
    """What the name servers of a zone would answer from."""

    name: str
    name_servers: tuple[str, ...]
    records: list[dict[str, Any]]
    serial: int


class Zones:
    """Documents keyed by zone id; each holds its records, so that one write is one change."""

    def __init__(
        self, world: World, delegations: Callable[[], Mapping[str, tuple[str, ...]]]
    ) -> None:
        self.world = world
        self._delegations = delegations
        self._kept = world.store.collection("cloudflare.zones")
        self._ids = {doc["name"]: key for key, doc in self._kept.items()}
        self.snapshot: dict[str, Zone] = {doc["name"]: _public(doc) for doc in self._kept.values()}

    def now(self) -> str:
        return self.world.clock.now().isoformat(timespec="microseconds").replace("+00:00", "Z")

    def identifier(self) -> str:
        """32 hex digits that are the same again when a run is repeated."""
        return hashlib.md5(f"inboxgrove {self._kept.next_id()}".encode()).hexdigest()

    def all(self) -> list[Document]:
        return list(self._kept.values())

    def pending(self) -> int:
        return sum(doc["status"] == "pending" for doc in self._kept.values())

    def get(self, key: str) -> Document:
        doc = self._kept.get(key)
        if doc is None:
            if len(key) != 32 or not set(key) <= set("0123456789abcdef"):
                message = (
                    f"Could not route to /client/v4/zones/{key}, "
                    "perhaps your object identifier is invalid?"
                )
                raise Refused(404, 7003, message)
            raise Refused(404, 1001, "Invalid zone identifier")
        return doc

    def by_name(self, name: str) -> Document | None:
        key = self._ids.get(name)
        return None if key is None else self._kept[key]

    def add(self, name: str) -> Document:
        now = self.now()
        key = self.identifier()
        number = int(key[:8], 16)
        before = self._delegations().get(name, ())
        doc: Document = {
            "id": key,
            "name": name,
            "status": "pending",
            "name_servers": [
                f"{FIRST[number % len(FIRST)]}.{SUFFIX}",
                f"{SECOND[number // 16 % len(SECOND)]}.{SUFFIX}",
            ],
            "original_name_servers": list(before) or None,
            "created_on": now,
            "modified_on": now,
            "activated_on": None,
            "checked_on": None,
            "serial": 1,
            "records": {},
        }
        self.save(doc)
        return doc

    def save(self, doc: Document) -> None:
        """Keep the zone; with a new serial, so that a secondary would fetch it."""
        doc["serial"] += 1
        self._kept[doc["id"]] = doc
        self._ids[doc["name"]] = doc["id"]
        self.snapshot = {**self.snapshot, doc["name"]: _public(doc)}

    def remove(self, doc: Document) -> None:
        del self._kept[doc["id"]]
        del self._ids[doc["name"]]
        self.snapshot = {name: zone for name, zone in self.snapshot.items() if name != doc["name"]}

    def tick(self) -> None:
        """Look at the registrar: activate, notice a zone that moved away, drop the abandoned."""
        now = self.world.clock.now()
        for doc in self._kept.values():
            self.look(doc)
            age = now - datetime.fromisoformat(doc["created_on"])
            if doc["status"] == "pending" and age > PENDING_LIFE:
                self.remove(doc)

    def look(self, doc: Document) -> None:
        """Compare with the delegation and set the status accordingly."""
        here = set(doc["name_servers"]) == set(self._delegations().get(doc["name"], ()))
        if here and doc["status"] != "active":
            doc["status"] = "active"
            doc["activated_on"] = doc["modified_on"] = self.now()
            self.save(doc)
        elif not here and doc["status"] == "active":
            doc["status"] = "moved"
            doc["modified_on"] = self.now()
            self.save(doc)

    def shown(self, doc: Document) -> dict[str, Any]:
        """The zone as the API writes it."""
        account = self.world.config.cloudflare_account_id
        hidden = ("records", "serial", "checked_on")
        return {
            **{name: value for name, value in doc.items() if name not in hidden},
            "paused": False,
            "type": "full",
            "development_mode": 0,
            "original_registrar": None,
            "original_dnshost": None,
            "meta": {
                "step": 2,
                "custom_certificate_quota": 0,
                "page_rule_quota": 3,
                "phishing_detected": False,
            },
            "owner": {"id": None, "type": "user", "email": None},
            "account": {"id": account, "name": "Sandbox"},
            "tenant": {"id": None, "name": None},
            "tenant_unit": {"id": None},
            "permissions": ["#dns_records:edit", "#dns_records:read", "#zone:edit", "#zone:read"],
            "plan": {
                "id": "0feeeeeeeeeeeeeeeeeeeeeeeeeeeeee",
                "name": "Free Website",
                "price": 0,
                "currency": "USD",
                "frequency": "",
                "is_subscribed": False,
                "can_subscribe": False,
                "legacy_id": "free",
                "legacy_discount": False,
                "externally_managed": False,
            },
        }


def _public(doc: Document) -> Zone:
    records = [
        {
            "type": record["type"],
            "name": record["name"],
            "content": record["content"],
            "ttl": record["ttl"],
            "priority": record.get("priority"),
        }
        for record in doc["records"].values()
    ]
    return Zone(doc["name"], tuple(doc["name_servers"]), records, doc["serial"])
