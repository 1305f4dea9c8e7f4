"""DNS blocklists as RFC 5782 describes them: one of addresses, one of domains."""

from __future__ import annotations

import ipaddress
from typing import Any

from sandbox.dns.fixtures import SERVERS
from sandbox.dns.zone import Served
from sandbox.world import World

ADDRESSES = "dnsbl.test"
DOMAINS = "dbl.test"
CODE = "127.0.0.2"
# Every list holds its test point and never 127.0.0.1 or `invalid` (RFC 5782, section 5).
TEST_POINTS = {ADDRESSES: "127.0.0.2", DOMAINS: "test"}
TTL = 60


class Blocklists:
    """The two lists, kept in the store as `zone/entry`."""

    def __init__(self, world: World) -> None:
        self._kept = world.store.collection("dns.blocklists")
        self._serial = 1
        self.zones: dict[str, Served] = {}
        self._rebuild()

    def entries(self) -> list[dict[str, Any]]:
        return list(self._kept.values())

    def add(self, entry: str, zone: str | None, code: str | None, reason: str | None) -> None:
        """List an address or a domain; raises ValueError for what is neither."""
        entry, zone = _normal(entry, zone)
        code = str(ipaddress.IPv4Address(code or CODE))
        if not code.startswith("127."):
            raise ValueError("A list answers with an address in 127.0.0.0/8.")
        self._kept[f"{zone}/{entry}"] = {
            "entry": entry,
            "zone": zone,
            "code": code,
            "reason": reason or f"{entry} is listed, see https://{zone}/{entry}",
        }
        self._rebuild()

    def remove(self, entry: str, zone: str | None) -> bool:
        entry, zone = _normal(entry, zone)
        found = self._kept.pop(f"{zone}/{entry}", None) is not None
        self._rebuild()
        return found

    def _rebuild(self) -> None:
        self._serial += 1
        fresh = {}
        for zone, point in TEST_POINTS.items():
            listed = [item for item in self._kept.values() if item["zone"] == zone]
            standing = {"entry": point, "code": CODE, "reason": "Test point of RFC 5782"}
            records = [
                {
                    "name": f"{_owner(item['entry'])}.{zone}",
                    "type": kind,
                    "content": text,
                    "ttl": TTL,
                }
                for item in (standing, *listed)
                for kind, text in (("A", item["code"]), ("TXT", item["reason"]))
            ]
            fresh[zone] = Served(zone, SERVERS, records, self._serial)
        self.zones = fresh


def _normal(entry: str, zone: str | None) -> tuple[str, str]:
    entry = entry.strip().lower().rstrip(".")
    if not entry:
        raise ValueError("Give an address or a domain as entry.")
    default = ADDRESSES if _address(entry) else DOMAINS
    if zone is not None and zone not in TEST_POINTS:
        raise ValueError(f"zone is one of {', '.join(TEST_POINTS)}.")
    if (zone or default) != default:
        raise ValueError(f"{entry} does not belong on {zone}.")
    return entry, default


def _address(entry: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(entry)
    except ValueError:
        return None


def _owner(entry: str) -> str:
    """1.2.3.4 is asked for as 4.3.2.1, an IPv6 address by its 32 nibbles backwards."""
    address = _address(entry)
    if address is None:
        return entry
    return address.reverse_pointer.removesuffix(".in-addr.arpa").removesuffix(".ip6.arpa")
