"""One zone, ready to be asked: names, wildcards, empty nodes, and the SOA of a "no"."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from dnslib import AAAA, CAA, CNAME, MX, NS, PTR, QTYPE, RD, RR, SOA, SRV, TXT, A, DNSLabel

from sandbox.cloudflare import txt

AUTOMATIC_TTL = 300  # What Cloudflare makes of "ttl": 1.
# The lowest of these is how long a resolver may remember a "no" (RFC 2308, section 5).
SOA_TIMES = (10000, 2400, 604800, 300)


class Served:
    """Record sets by owner name, lower case without the last dot.

    Raises ValueError for a record outside of the zone or with content not of its type.
    """

    def __init__(
        self,
        name: str,
        servers: Iterable[str],
        records: Iterable[Mapping[str, Any]],
        serial: int = 1,
    ) -> None:
        self.name = name
        servers = tuple(servers)
        self._sets: dict[str, dict[int, list[RR]]] = defaultdict(lambda: defaultdict(list))
        for record in records:
            owner = record["name"].lower().rstrip(".")
            if owner != name and not owner.endswith(f".{name}"):
                raise ValueError(f"{owner} is not inside of {name}.")
            self._add(owner, rr(record))
        for host in servers:
            self._add(name, _rr(name, "NS", 86400, NS(_label(host))))
        mname = servers[0] if servers else f"ns.{name or 'root'}"
        self.soa = _rr(
            name, "SOA", 300, SOA(_label(mname), _label(f"dns.{name}"), (serial, *SOA_TIMES))
        )
        self._add(name, self.soa)
        # An empty node exists too: its answer is "no such record", not "no such name".
        self._nodes = {name}
        for owner in self._sets:
            node = owner
            while node not in self._nodes:
                self._nodes.add(node)
                node = parent(node)

    def find(self, name: str, kind: int) -> tuple[bool, list[RR]]:
        """(the name exists, the records): an exact set, a CNAME, or a wildcard's (RFC 4592)."""
        if name in self._nodes:
            return True, self._pick(name, kind)
        above = parent(name)
        while above not in self._nodes:
            above = parent(above)
        star = f"*.{above}" if above else "*"
        if star not in self._sets:
            return False, []
        return True, [_renamed(found, name) for found in self._pick(star, kind)]

    def _pick(self, name: str, kind: int) -> list[RR]:
        sets = self._sets.get(name, {})
        if kind == QTYPE.ANY:
            return [found for records in sets.values() for found in records]
        return sets.get(kind) or sets.get(QTYPE.CNAME, [])

    def _add(self, owner: str, record: RR) -> None:
        self._sets[owner][record.rtype].append(record)


def parent(name: str) -> str:
    return name.partition(".")[2]


def rr(record: Mapping[str, Any]) -> RR:
    """A record as the provider's API writes it -> as it goes over the wire.

    Keys type, name, content, ttl (1 is "automatic"), priority. Raises ValueError for content
    that is not of its type.
    """
    kind, content = record["type"], record["content"]
    ttl = record.get("ttl") or 1
    ttl = AUTOMATIC_TTL if ttl == 1 else ttl
    return _rr(record["name"], kind, ttl, _data(kind, content, record.get("priority")))


def _data(kind: str, content: str, priority: int | None) -> RD:
    match kind:
        case "A":
            return A(content)
        case "AAAA":
            return AAAA(content)
        case "CNAME":
            return CNAME(_label(content))
        case "NS":
            return NS(_label(content))
        case "PTR":
            return PTR(_label(content))
        case "MX":
            return MX(_label(content), 10 if priority is None else priority)
        case "TXT":
            return TXT(txt.strings(content))
        case "SRV":
            weight, port, target = content.split()
            return SRV(priority or 0, int(weight), int(port), _label(target))
        case "CAA":
            flags, tag, value = content.split(None, 2)
            return CAA(int(flags), tag, value.strip('"'))
    raise ValueError(f"Records of type {kind} are not served here.")


def _rr(name: str, kind: str, ttl: int, data: RD) -> RR:
    return RR(_label(name), getattr(QTYPE, kind), ttl=ttl, rdata=data)


def _label(name: str) -> DNSLabel:
    # As bytes, because the library would put text through IDNA, which our names are past.
    return DNSLabel(name.lower().encode())


def _renamed(record: RR, name: str) -> RR:
    return RR(_label(name), record.rtype, record.rclass, record.ttl, record.rdata)
