"""Where a domain's mail goes (RFC 5321 section 5.1), asked of the sandbox's DNS."""

from __future__ import annotations

from datetime import datetime, timedelta

import dns.asyncresolver
import dns.exception
import dns.resolver

from sandbox.clock import VirtualClock


class DomainUnknown(Exception):
    """Mail for the domain can never be delivered."""


class DomainFailed(Exception):
    """DNS gave no answer this time."""


class Resolver:
    """MX and A look-ups with a cache of `CACHE_SECONDS` on the world's clock."""

    CACHE_SECONDS = 60

    def __init__(self, clock: VirtualClock, host: str, port: int) -> None:
        self._clock = clock
        self._resolver = dns.asyncresolver.Resolver(configure=False)
        self._resolver.nameservers = [host]
        self._resolver.port = port
        self._resolver.lifetime = 3.0
        self._cache: dict[str, tuple[datetime, list[tuple[str, str]]]] = {}

    async def mail_hosts(self, domain: str) -> list[tuple[str, str]]:
        """(host, IPv4 address), most preferred first; raises DomainUnknown or DomainFailed."""
        now = self._clock.now()
        kept = self._cache.get(domain)
        if kept is not None and kept[0] > now:
            return kept[1]
        found = []
        for host in await self._exchangers(domain):
            found += [(host, address) for address in await self._addresses(host)]
        if not found:
            raise DomainUnknown("no address of any mail host")
        self._cache[domain] = (now + timedelta(seconds=self.CACHE_SECONDS), found)
        return found

    async def _exchangers(self, domain: str) -> list[str]:
        try:
            answer = await self._resolver.resolve(domain, "MX")
        except dns.resolver.NXDOMAIN as error:
            raise DomainUnknown("NXDOMAIN") from error
        except dns.resolver.NoAnswer:
            # No MX: the domain itself is its mail host.
            return [domain]
        except dns.exception.DNSException as error:
            raise DomainFailed(f"MX of {domain}: {error}") from error
        records = sorted((record.preference, str(record.exchange)) for record in answer)
        if [host for _, host in records] == ["."]:
            raise DomainUnknown("the domain takes no mail (null MX, RFC 7505)")
        return [host.rstrip(".").lower() for _, host in records]

    async def _addresses(self, host: str) -> list[str]:
        try:
            answer = await self._resolver.resolve(host, "A")
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        except dns.exception.DNSException as error:
            raise DomainFailed(f"A of {host}: {error}") from error
        return [str(record) for record in answer]
