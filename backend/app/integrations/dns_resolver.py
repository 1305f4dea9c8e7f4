"""Real DNS queries, by dnspython; nothing is cached, because verification wants the present."""

from __future__ import annotations

from collections.abc import Sequence

import dns.exception
import dns.nameserver
import dns.rdatatype
import dns.resolver
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.ANY.TXT import TXT

from app.errors import ProviderUnavailable

TIMEOUT_SECONDS = 2.0
LIFETIME_SECONDS = 5.0


class Resolver:
    """Asks `servers` ("ip" or "ip:port") in turn; without any, the system's."""

    def __init__(self, servers: Sequence[str] = ()) -> None:
        self._resolver = dns.resolver.Resolver(configure=not servers)
        if servers:
            self._resolver.nameservers = [_server(text) for text in servers]
        self._resolver.timeout = TIMEOUT_SECONDS
        self._resolver.lifetime = LIFETIME_SECONDS

    def lookup(self, name: str, record_type: str) -> list[str]:
        try:
            answer = self._resolver.resolve(name, record_type, search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        except (dns.exception.Timeout, dns.resolver.NoNameservers) as error:
            raise ProviderUnavailable(provider="DNS", reason=type(error).__name__) from error
        return [_text(item) for item in answer]


def _server(text: str) -> dns.nameserver.Nameserver:
    host, _, port = text.rpartition(":")
    if not host or "]" in port or (host.count(":") > 0 and not host.startswith("[")):
        return dns.nameserver.Do53Nameserver(text)
    return dns.nameserver.Do53Nameserver(host.strip("[]"), int(port))


def _text(item: object) -> str:
    if isinstance(item, TXT):
        return b"".join(item.strings).decode("utf-8", "replace")
    if isinstance(item, MX):
        return f"{item.preference} {str(item.exchange).rstrip('.').lower()}"
    return str(item).rstrip(".")
