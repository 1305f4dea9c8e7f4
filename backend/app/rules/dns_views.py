"""Several resolvers' answers about the same records, made into one verdict for each record.

Receivers sit behind resolvers of all kinds. A few of them, asked each by itself, show what a single
one hides: a negative answer that is still remembered, or a server that serves an old zone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from app.rules import dns_records
from app.rules.dns_records import Record, Seen, Verdict

Views = Mapping[str, Seen]
"""What each resolver answered, by its address; what it left open is absent from its `Seen`."""


def compare(records: Sequence[Record], views: Views) -> tuple[Verdict, ...]:
    """One verdict for each record, ok when every resolver that answered sees it as wanted.

    All of them, because waiting for the last costs minutes, and a mail that is signed before its
    key is seen everywhere fails. Nobody's answer counts as an absent record.
    """
    return tuple(_together(record, views) for record in records)


def _together(record: Record, views: Views) -> Verdict:
    question = (record.type, record.name)
    told = {
        address: dns_records.compare([record], seen)[0]
        for address, seen in views.items()
        if question in seen
    }
    if not told:
        return replace(dns_records.compare([record], {})[0], asked=0, agreeing=0)
    wrong = {address: verdict for address, verdict in told.items() if not verdict.ok}
    result = next(iter(wrong.values()), None) or next(iter(told.values()))
    if wrong and len(wrong) < len(told):
        who = f"{len(wrong)} of {len(told)} resolvers see it so: {', '.join(wrong)}"
        result = replace(result, difference=f"{result.difference} ({who})")
    return replace(result, asked=len(told), agreeing=len(told) - len(wrong))


def differs(verdict: Verdict) -> bool:
    """Whether a record that was right before is to be called wrong: half of who answered say so.

    One stale or broken resolver among several is not the zone's fault, and calls nobody.
    """
    return not verdict.ok and verdict.agreeing * 2 <= verdict.asked
