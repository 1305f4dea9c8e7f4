"""A domain's records as each of our resolvers sees them."""

from __future__ import annotations

from collections.abc import Sequence

from app import errors
from app.integrations import ports
from app.rules import dns_records, dns_views
from app.rules.dns_records import Record, Verdict


def inspect(records: Sequence[Record], resolver: ports.DNSResolver) -> tuple[Verdict, ...]:
    """Wanted against seen by every resolver; what none of them answers is not seen."""
    return dns_views.compare(records, _look(records, resolver)[0])


def inspect_or_wait(records: Sequence[Record], resolver: ports.DNSResolver) -> tuple[Verdict, ...]:
    """The same. Raises ProviderUnavailable when some question has no answer from any of them."""
    views, unanswered = _look(records, resolver)
    if unanswered is not None:
        raise unanswered
    return dns_views.compare(records, views)


def _look(
    records: Sequence[Record], resolver: ports.DNSResolver
) -> tuple[dict[str, dict[tuple[str, str], list[str]]], errors.ProviderUnavailable | None]:
    """Every resolver's answers, and the silence about a question that nobody answered."""
    asked = resolver.views()
    views: dict[str, dict[tuple[str, str], list[str]]] = {address: {} for address in asked}
    silent: set[str] = set()
    unanswered: errors.ProviderUnavailable | None = None
    for kind, name in dns_records.questions(records):
        silence: errors.ProviderUnavailable | None = None
        heard = False
        for address, view in asked.items():
            # One that is away takes seconds to show it; with others there it is asked once a look.
            if address in silent and len(silent) < len(asked):
                continue
            try:
                views[address][kind, name] = view.lookup(name, kind)
                heard = True
            except errors.ProviderUnavailable as error:
                silent.add(address)
                silence = error
        if not heard:
            unanswered = unanswered or silence
    return views, unanswered
