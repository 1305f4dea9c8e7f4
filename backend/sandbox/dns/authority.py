"""Who answers for a name, and what: all zones of the sandbox, searched from the longest suffix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dnslib import QTYPE, RCODE, RR

from sandbox import cloudflare, namecheap
from sandbox.cloudflare import Zone
from sandbox.dns import fixtures
from sandbox.dns.blocklists import Blocklists
from sandbox.dns.zone import Served, parent
from sandbox.world import World

CHAIN = 8  # A longer chain of CNAMEs is a loop.


@dataclass
class Answer:
    """What goes into the sections of a response."""

    rcode: int = RCODE.NOERROR
    records: list[RR] = field(default_factory=list)
    authority: list[RR] = field(default_factory=list)


class Authority:
    """Fixture zones, delegated Cloudflare zones, blocklists, and zones hosted elsewhere."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._fixtures = fixtures.zones()
        self.blocklists = Blocklists(world)
        self._kept = world.store.collection("dns.zones")
        self._hosted = {name: _hosted(name, doc["records"]) for name, doc in self._kept.items()}
        self._compiled: dict[str, tuple[Zone, Served]] = {}
        self._root = Served("", fixtures.SERVERS, [])

    def sources(self) -> tuple[object, ...]:
        """Objects that are replaced when an answer may change; a cache compares them by `is`."""
        return (
            cloudflare.zones(self._world),
            namecheap.delegations(self._world),
            self.blocklists.zones,
            self._hosted,
        )

    def hosted(self) -> dict[str, list[dict[str, Any]]]:
        return {name: doc["records"] for name, doc in self._kept.items()}

    def host(self, name: str, records: list[dict[str, Any]] | None) -> None:
        """Serve `records` for a name whose DNS is at some other provider; None takes it away.

        Raises ValueError, KeyError or TypeError for records that cannot be served.
        """
        rest = {other: zone for other, zone in self._hosted.items() if other != name}
        if records is None:
            self._kept.pop(name, None)
        else:
            rest[name] = _hosted(name, records)
            self._kept[name] = {"records": records}
        self._hosted = rest

    def resolve(self, name: str, kind: int) -> Answer:
        """Follow CNAMEs as far as our zones reach; a "no" carries the SOA (RFC 2308)."""
        answer = Answer()
        for _ in range(CHAIN):
            served = self._locate(name)
            exists, found = served.find(name, kind)
            answer.records += found
            if not found:
                answer.authority = [served.soa]
                answer.rcode = RCODE.NOERROR if exists else RCODE.NXDOMAIN
                return answer
            if found[0].rtype != QTYPE.CNAME or kind in {QTYPE.CNAME, QTYPE.ANY}:
                return answer
            name = str(found[0].rdata.label).lower().rstrip(".")
        return Answer(RCODE.SERVFAIL)

    def _locate(self, name: str) -> Served:
        zones: Mapping[str, Zone] = cloudflare.zones(self._world)
        delegated = namecheap.delegations(self._world)
        at = name
        while at:
            zone = zones.get(at)
            if zone is not None and set(delegated.get(at, ())) == set(zone.name_servers):
                return self._compile(zone)
            for source in (self._fixtures, self.blocklists.zones, self._hosted):
                if at in source:
                    return source[at]
            at = parent(at)
        return self._root

    def _compile(self, zone: Zone) -> Served:
        known = self._compiled.get(zone.name)
        if known is None or known[0] is not zone:
            known = zone, Served(zone.name, zone.name_servers, zone.records, zone.serial)
            self._compiled[zone.name] = known
        return known[1]


def _hosted(name: str, records: list[dict[str, Any]]) -> Served:
    return Served(name, fixtures.SERVERS, records)
