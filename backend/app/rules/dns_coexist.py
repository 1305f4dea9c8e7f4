"""Our records beside those of a name that was used before us: what is kept, and what is in the way.

A record of the customer's is never replaced. Where it can do our work too it is kept; where it
cannot, a conflict says in words what to change, and nothing of ours is published until then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.rules import dns_records, spf_merge
from app.rules.dns_records import Record, Seen


@dataclass(frozen=True)
class Conflict:
    """Something at the name that ours cannot stand beside."""

    code: str
    """cname_at_apex, mx_elsewhere, two_spf, spf_to_merge, spf_too_long or two_dmarc."""
    message: str
    fix: str


def questions(domain: str, records: Sequence[Record]) -> tuple[tuple[str, str], ...]:
    """What must be asked for: the records' own questions, and what may be in their way."""
    asked = (*dns_records.questions(records), ("CNAME", domain), ("MX", domain), ("TXT", domain))
    return tuple(dict.fromkeys(asked))


def adapt(records: Sequence[Record], seen: Seen) -> tuple[Record, ...]:
    """The records wanted at a name where others stand already.

    SPF becomes the merged record. A DMARC record that is there alone is kept as it is: it says what
    its owner wants, and one that is stricter than ours must not be weakened.
    """
    return tuple(_adapted(record, seen.get((record.type, record.name), ())) for record in records)


def _adapted(record: Record, answers: Sequence[str]) -> Record:
    if record.purpose == "spf":
        there = [text for text in answers if spf_merge.is_spf(text)]
        if len(there) == 1 and spf_merge.contains(there[0], record.content):
            return replace(record, content=there[0])
        return replace(record, content=spf_merge.merge(there, record.content))
    if record.purpose == "dmarc":
        there = _dmarc(answers)
        if len(there) == 1 and dns_records.tags(there[0]).get("p") in dns_records.DMARC_POLICIES:
            return replace(record, content=there[0])
    return record


def kept(records: Sequence[Record], seen: Seen) -> list[str]:
    """Purposes that records of the customer's serve already, so that we publish none for them."""
    found = []
    for record in adapt(records, seen):
        there = seen.get((record.type, record.name), ())
        if record.purpose in {"spf", "dmarc"} and record.content in there:
            found.append(record.purpose)
    return found


def conflicts(
    domain: str,
    records: Sequence[Record],
    seen: Seen,
    resolve: spf_merge.Resolve,
    *,
    owner_edits: bool,
) -> tuple[Conflict, ...]:
    """What is in the way at `domain`; () when ours can stand there.

    `owner_edits`: the customer will edit the zone also later, so that an SPF record to be merged is
    an ordinary difference; in a zone of ours it must be right before the zone moves.
    """
    alias = seen.get(("CNAME", domain), ())
    if alias:
        return (
            Conflict(
                "cname_at_apex",
                f"{domain} is an alias (CNAME) of {alias[0]}, and an alias has no other records",
                f"Replace the CNAME at {domain} by A records, or connect a name below it, such as"
                f" mail.{domain}",
            ),
        )
    found = [
        _mail_elsewhere(domain, records, seen),
        _spf(domain, records, seen, resolve, owner_edits=owner_edits),
        _two_policies(domain, seen),
    ]
    return tuple(conflict for conflict in found if conflict is not None)


def _mail_elsewhere(domain: str, records: Sequence[Record], seen: Seen) -> Conflict | None:
    ours = {r.content.lower() for r in records if (r.type, r.name) == ("MX", domain)}
    hosts = [text.split()[-1].rstrip(".").lower() for text in seen.get(("MX", domain), ())]
    others = [host for host in hosts if host and host not in ours]
    if not ours or not others:
        return None
    return Conflict(
        "mx_elsewhere",
        f"mail to {domain} goes to {', '.join(sorted(others))} now; with ours beside it replies"
        " would arrive at either place",
        "Remove these MX records if nobody reads mail there; otherwise keep them and connect a"
        f" name below it, such as mail.{domain}",
    )


def _spf(
    domain: str,
    records: Sequence[Record],
    seen: Seen,
    resolve: spf_merge.Resolve,
    *,
    owner_edits: bool,
) -> Conflict | None:
    ours = next((r for r in records if r.purpose == "spf"), None)
    there = [text for text in seen.get(("TXT", domain), ()) if spf_merge.is_spf(text)]
    if ours is None or not there:
        return None
    is_in = len(there) == 1 and spf_merge.contains(there[0], ours.content)
    merged = there[0] if is_in else spf_merge.merge(there, ours.content)
    cost = spf_merge.lookups(merged, resolve)
    if cost > spf_merge.MAX_LOOKUPS:
        return Conflict(
            "spf_too_long",
            f"SPF of {domain} with ours asks more than {spf_merge.MAX_LOOKUPS} questions, and"
            " receivers then reject it",
            "Remove include terms of services that no longer send for you, or connect a name below"
            f" it, such as mail.{domain}",
        )
    if len(there) > 1:
        return Conflict(
            "two_spf",
            f"{domain} has {len(there)} SPF records; receivers then use none of them",
            f"Delete them and keep this one TXT record at {domain}: {merged}",
        )
    if not is_in and not owner_edits:
        return Conflict(
            "spf_to_merge",
            f"{domain} has an SPF record of yours, which we do not overwrite",
            f"Change the TXT record at {domain} to: {merged}",
        )
    return None


def _two_policies(domain: str, seen: Seen) -> Conflict | None:
    there = _dmarc(seen.get(("TXT", f"_dmarc.{domain}"), ()))
    if len(there) < 2:
        return None
    return Conflict(
        "two_dmarc",
        f"_dmarc.{domain} has {len(there)} DMARC records; receivers then use none of them",
        f"Keep one TXT record at _dmarc.{domain}",
    )


def _dmarc(answers: Sequence[str]) -> list[str]:
    # The version is written exactly so (RFC 9989); a blank or semicolon follows it.
    return [text for text in answers if text.replace(" ", "").startswith("v=DMARC1;")]
