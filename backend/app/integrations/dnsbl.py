"""Asking blocklists of domains, through the resolver's port, several names at once."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from app.errors import Invalid, ProviderUnavailable
from app.integrations.ports import DNSResolver
from app.rules import listings
from app.rules.listings import Verdict

AT_ONCE = 8
"""Questions on their way at the same time: a search asks for about a dozen names."""


def domains(
    resolver: DNSResolver, lists: Sequence[str], names: Sequence[str]
) -> dict[str, Verdict]:
    """The verdict of all `lists` (their zones) together about each name; never raises.

    Without lists nobody can know. Each list is asked for its test point as well.
    """
    if not lists or not names:
        return dict.fromkeys(names, Verdict.UNKNOWN)
    asked = [(entry, zone) for zone in lists for entry in (listings.TEST_POINT, *names)]
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="dnsbl") as pool:
        answers = dict(zip(asked, pool.map(lambda pair: _ask(resolver, *pair), asked), strict=True))
    return {
        name: listings.together(
            listings.believed(answers[name, zone], answers[listings.TEST_POINT, zone])
            for zone in lists
        )
        for name in names
    }


def _ask(resolver: DNSResolver, entry: str, zone: str) -> Verdict:
    try:
        return listings.read(resolver.lookup(f"{entry}.{zone}", "A"))
    except (ProviderUnavailable, Invalid):
        # A name of 253 characters leaves no room for the list's zone; a list may be away.
        return Verdict.UNKNOWN
