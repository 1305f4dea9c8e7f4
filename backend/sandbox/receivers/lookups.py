"""What the recipients' side asks the DNS of the sandbox, with a brief memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address

import dns.exception
import dns.name
import dns.rdatatype
import dns.resolver
import dns.reversename

# A record that somebody just corrected must not look broken for long, so answers are forgotten
# after five seconds even where their TTL is longer, and "there is no such record" after one.
MAX_TTL = 5.0
NEGATIVE_TTL = 1.0
MAX_REMEMBERED = 10_000


class LookupFailed(Exception):
    """The DNS gave no usable answer (timeout, SERVFAIL): the check may succeed later."""


@dataclass(frozen=True)
class Answer:
    """Records of one name and type; `exists` is False for NXDOMAIN only."""

    texts: tuple[tuple[bytes, ...], ...] = ()  # TXT: the character strings of each record
    values: tuple[str, ...] = ()  # A, AAAA, PTR: addresses or names without the last dot
    exchanges: tuple[tuple[int, str], ...] = ()  # MX: preference and host, lowest first
    exists: bool = True

    def __bool__(self) -> bool:
        return bool(self.texts or self.values or self.exchanges)


class Lookups:
    """A stub resolver for worker threads; every method blocks and may raise LookupFailed."""

    def __init__(self, address: Callable[[], tuple[str, int]], lifetime: float = 3.0) -> None:
        """`address` is asked at each query, because the DNS part binds its port at start."""
        self._address = address
        self._lifetime = lifetime
        self._remembered: dict[tuple[str, str], tuple[float, Answer]] = {}
        self._lock = threading.Lock()

    def texts(self, name: str) -> list[bytes]:
        """TXT records, each with its character strings joined (RFC 7208 section 3.3)."""
        return [b"".join(strings) for strings in self.ask(name, "TXT").texts]

    def exchanges(self, domain: str) -> list[str]:
        """Mail hosts in order of preference; the domain itself when it has no MX (RFC 5321 5.1).

        A null MX (RFC 7505) gives an empty list.
        """
        answer = self.ask(domain, "MX")
        if not answer:
            return [domain]
        return [host for _, host in answer.exchanges if host]

    def addresses(self, host: str) -> list[str]:
        return [*self.ask(host, "A").values, *self.ask(host, "AAAA").values]

    def names_of(self, ip: str) -> list[str]:
        """PTR names of an address."""
        reverse = dns.reversename.from_address(str(ip_address(ip))).to_text(omit_final_dot=True)
        return list(self.ask(reverse, "PTR").values)

    def ask(self, name: str, kind: str) -> Answer:
        key = (name.lower().rstrip("."), kind)
        with self._lock:
            expires, known = self._remembered.get(key, (0.0, None))
        if known is not None and time.monotonic() < expires:
            return known
        answer, ttl = self._query(*key)
        with self._lock:
            if len(self._remembered) >= MAX_REMEMBERED:
                self._remembered.clear()
            self._remembered[key] = (time.monotonic() + ttl, answer)
        return answer

    def forget(self) -> None:
        with self._lock:
            self._remembered.clear()

    def _query(self, name: str, kind: str) -> tuple[Answer, float]:
        host, port = self._address()
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers = [host]
        resolver.port = port
        resolver.timeout = 1.0
        resolver.lifetime = self._lifetime
        try:
            found = resolver.resolve(dns.name.from_text(name), kind, search=False)
        except dns.resolver.NXDOMAIN:
            return Answer(exists=False), NEGATIVE_TTL
        except dns.resolver.NoAnswer:
            return Answer(), NEGATIVE_TTL
        except (dns.name.LabelTooLong, dns.name.NameTooLong, dns.name.EmptyLabel):
            # What cannot be a name has no records.
            return Answer(exists=False), NEGATIVE_TTL
        except (dns.exception.DNSException, OSError) as error:
            raise LookupFailed(f"{kind} {name}: {error}") from error
        ttl = min(float(found.rrset.ttl if found.rrset is not None else 0), MAX_TTL)
        return _answer(found, kind), ttl


def _answer(found: dns.resolver.Answer, kind: str) -> Answer:
    records = list(found)
    if kind == "TXT":
        return Answer(texts=tuple(tuple(record.strings) for record in records))
    if kind == "MX":
        pairs = ((int(r.preference), r.exchange.to_text(omit_final_dot=True)) for r in records)
        # The root as exchange is the null MX and is kept as an empty host.
        return Answer(exchanges=tuple(sorted((n, "" if h == "." else h) for n, h in pairs)))
    if kind == "PTR":
        return Answer(values=tuple(r.target.to_text(omit_final_dot=True) for r in records))
    return Answer(values=tuple(str(record.address) for record in records))
