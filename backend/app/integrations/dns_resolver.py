"""Real DNS queries, by dnspython; nothing is cached, because verification wants the present."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address

import dns.exception
import dns.message
import dns.nameserver
import dns.rdatatype
import dns.resolver
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.ANY.TXT import TXT

from app.errors import Invalid, ProviderUnavailable

TIMEOUT_SECONDS = 2.0
LIFETIME_SECONDS = 5.0


class Resolver:
    """Asks `servers` ("ip", "ip:port" or "[ip6]:port") in turn; without any, the system's.

    An answer that does not fit into UDP is asked for again over TCP.
    """

    def __init__(
        self,
        servers: Sequence[str] = (),
        *,
        timeout: float = TIMEOUT_SECONDS,
        lifetime: float = LIFETIME_SECONDS,
    ) -> None:
        """`timeout` is for one try at one server, `lifetime` for all of them together."""
        self._resolver = dns.resolver.Resolver(configure=not servers)
        if servers:
            self._resolver.nameservers = [_server(text) for text in servers]
        self._resolver.timeout = timeout
        self._resolver.lifetime = lifetime
        # One server alone is asked like all of them; several get a resolver each.
        self._views: dict[str, Resolver] = {servers[0] if servers else "system": self}
        if len(servers) > 1:
            self._views = {
                server: Resolver([server], timeout=timeout, lifetime=lifetime) for server in servers
            }

    def views(self) -> Mapping[str, Resolver]:
        return self._views

    def lookup(self, name: str, record_type: str) -> list[str]:
        try:
            answer = self._resolver.resolve(name, record_type, search=False)
        except dns.resolver.NXDOMAIN:
            return []
        except dns.resolver.NoAnswer as error:
            if _is_referral(error.kwargs["response"]):
                # A server that knows nothing of the name and points elsewhere has said nothing.
                raise ProviderUnavailable(provider="DNS", reason="a lame answer") from error
            return []
        except (dns.exception.Timeout, dns.resolver.NoNameservers) as error:
            raise ProviderUnavailable(provider="DNS", reason=type(error).__name__) from error
        except dns.exception.DNSException as error:
            # What is left is about the question: a label too long, a type nobody knows.
            raise Invalid(f"{name} {record_type} cannot be asked for: {error}.") from error
        return [_text(item) for item in answer]


def _is_referral(answer: dns.message.Message) -> bool:
    """Name servers instead of an answer, where a true "no" has an SOA (RFC 2308, 2.2)."""
    kinds = {records.rdtype for records in answer.authority}
    return dns.rdatatype.NS in kinds and dns.rdatatype.SOA not in kinds


def _server(text: str) -> dns.nameserver.Nameserver:
    """Raises ValueError for a text that is no address."""
    host, _, port = text.rpartition(":")
    if port.isdecimal() and (host.startswith("[") or host.count(":") == 0 < len(host)):
        return dns.nameserver.Do53Nameserver(_address(host), int(port))
    return dns.nameserver.Do53Nameserver(_address(text))


def _address(text: str) -> str:
    return str(ip_address(text.removeprefix("[").removesuffix("]")))


def _text(item: object) -> str:
    if isinstance(item, TXT):
        return b"".join(item.strings).decode("utf-8", "replace")
    if isinstance(item, MX):
        # The null MX (RFC 7505) has the root as its host.
        return f"{item.preference} {str(item.exchange).rstrip('.').lower() or '.'}"
    return str(item).rstrip(".")
