"""The DNS records of a sending domain: which we want, whether they are there, how to export them.

Values in, records out; who publishes them is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from app.rules import mta_sts as sts

TTL = 300
MAX_STRING = 255
"""Octets of one character-string of a TXT record (RFC 1035, 3.3)."""

DMARC_POLICIES = ("none", "quarantine", "reject")

_ALONE = ("v=spf1", "v=DMARC1", "v=TLSRPTv1", "v=DKIM1", "v=STSv1")
"""A name with two records of one of these kinds counts as having none, or as broken (RFC 7208 4.5,
RFC 9989, RFC 8460 3, RFC 6376 3.6.2.2, RFC 8461 3.1)."""


@dataclass(frozen=True)
class Record:
    """One record; `name` is fully qualified without a final dot, TXT content is joined text."""

    type: str
    name: str
    content: str
    ttl: int = TTL
    priority: int | None = None
    purpose: str = ""

    @property
    def answer(self) -> str:
        """The record data as a resolver prints it: MX as `10 host`."""
        return self.content if self.priority is None else f"{self.priority} {self.content}"


Seen = Mapping[tuple[str, str], Sequence[str]]
"""(type, name) -> record data as text, MX as `10 host`, TXT joined."""


@dataclass(frozen=True)
class Verdict:
    """What became of one wanted record."""

    record: Record
    state: str
    """ok, missing, different or ambiguous (a second record of the same kind breaks both)."""
    seen: tuple[str, ...] = ()
    difference: str | None = None
    fix: str | None = None
    asked: int = 1
    """How many resolvers answered about it."""
    agreeing: int = 0
    """How many of them see it as wanted."""

    @property
    def ok(self) -> bool:
        return self.state == "ok"


def next_selector(day: date, taken: Sequence[str] = ()) -> str:
    """`igYYYYMM`, and a letter behind it if that exists: none is ever reused."""
    base = "ig" + day.strftime("%Y%m")
    # No `e`: by convention it marks an Ed25519 key.
    names = [base, *(base + letter for letter in "bcdfghijklmnopqrstuvwxyz")]
    for name in names:
        if name not in taken:
            return name
    raise ValueError(f"All selectors of {day:%B %Y} are used up.")


def wanted(
    domain: str,
    *,
    mail_zone: str,
    selector: str,
    public_key: str,
    other_keys: Sequence[tuple[str, str]] = (),
    dmarc_policy: str = "none",
    tracking_host: str = "",
    mta_sts: str = "",
) -> tuple[Record, ...]:
    """All records of a sending domain.

    `public_key` is base64 of the SubjectPublicKeyInfo; `other_keys` are those that stand beside it
    while one is replaced, by selector, an empty one revoked. DMARC is that of RFC 9989, which has
    no `pct`. The bounce name has MX and SPF of its own, so that the return path stays aligned.
    `tracking_host` is where links of tracked mails lead, `mta_sts` the mode of its policy; each is
    published only when the platform has one.
    """
    if dmarc_policy not in DMARC_POLICIES:
        raise ValueError(f"The DMARC policy is one of {', '.join(DMARC_POLICIES)}.")
    bounce = f"bounce.{domain}"
    spf = spf_of(mail_zone)
    return (
        *_mail_exchangers(domain, mail_zone, "replies"),
        Record("TXT", domain, spf, purpose="spf"),
        Record(
            "TXT",
            f"{selector}._domainkey.{domain}",
            f"v=DKIM1; k=rsa; p={public_key}",
            purpose="dkim",
        ),
        *(
            Record(
                "TXT",
                f"{other}._domainkey.{domain}",
                f"v=DKIM1; k=rsa; p={key}",
                purpose="dkim",
            )
            for other, key in other_keys
        ),
        Record(
            "TXT",
            f"_dmarc.{domain}",
            f"v=DMARC1; p={dmarc_policy}; rua=mailto:dmarc@rua.{mail_zone}; adkim=r; aspf=r",
            purpose="dmarc",
        ),
        *_mail_exchangers(bounce, mail_zone, "bounces"),
        Record("TXT", bounce, spf, purpose="bounce spf"),
        Record(
            "TXT",
            f"_smtp._tls.{domain}",
            f"v=TLSRPTv1; rua=mailto:tlsrpt@{mail_zone}",
            purpose="tls reports",
        ),
        *_tracking(domain, tracking_host),
        *_transport(domain, mail_zone, mta_sts),
    )


def spf_of(mail_zone: str) -> str:
    """What every domain publishes: one lookup, and whatever our own zone includes."""
    return f"v=spf1 include:_spf.{mail_zone} -all"


def mail_hosts(mail_zone: str) -> tuple[str, str]:
    """The hosts that take mail for every domain, the preferred one first."""
    return f"mx1.{mail_zone}", f"mx2.{mail_zone}"


def _mail_exchangers(name: str, mail_zone: str, purpose: str) -> tuple[Record, ...]:
    return tuple(
        Record("MX", name, host, priority=10 * number, purpose=purpose)
        for number, host in enumerate(mail_hosts(mail_zone), 1)
    )


def _tracking(domain: str, host: str) -> tuple[Record, ...]:
    return (Record("CNAME", f"t.{domain}", host, purpose="tracking"),) if host else ()


def _transport(domain: str, mail_zone: str, mode: str) -> tuple[Record, ...]:
    """The policy's record and the host that serves it; RFC 8461 wants both or none."""
    if not mode:
        return ()
    text = sts.record(sts.policy(mode, mail_hosts(mail_zone)))
    return (
        Record("TXT", f"_mta-sts.{domain}", text, purpose="mta-sts"),
        Record("CNAME", f"{sts.HOST}.{domain}", f"{sts.HOST}.{mail_zone}", purpose="mta-sts host"),
    )


def questions(records: Sequence[Record]) -> tuple[tuple[str, str], ...]:
    """The (type, name) pairs to ask for, each once, in the records' order."""
    return tuple(dict.fromkeys((record.type, record.name) for record in records))


# Comparing --------------------------------------------------------------------------------------


def compare(records: Sequence[Record], seen: Seen) -> tuple[Verdict, ...]:
    """One verdict for each wanted record, in order. Records that are not ours are nobody's matter,
    except a second one of a kind that may stand only once."""
    return tuple(_judge(record, seen.get((record.type, record.name), ())) for record in records)


def _judge(record: Record, answers: Sequence[str]) -> Verdict:
    want = normal(record.type, record.answer)
    kind = _kind(record)
    found = [text for text in answers if kind is None or _is_kind(text, kind)]
    matches = [text for text in found if normal(record.type, text) == want]
    if kind is not None and len(found) > 1:
        return Verdict(
            record,
            "ambiguous",
            tuple(found),
            f"{len(found)} records begin with {kind}; receivers then use none of them",
            f"Keep one TXT record at {record.name}: {record.answer}",
        )
    if matches:
        return Verdict(record, "ok", (matches[0],), agreeing=1)
    subject = f"{record.type} record {record.name}"
    near = found if kind is not None else _same_host(record, found)
    if near:
        fix = f"Change the {subject} to: {record.answer}"
        return Verdict(record, "different", tuple(near), difference(record, near[0]), fix)
    fix = f"Add the {subject} with the value: {record.answer}"
    return Verdict(record, "missing", (), "there is no such record yet", fix)


def _kind(record: Record) -> str | None:
    """The version tag that tells this TXT record from others at the same name."""
    if record.type != "TXT":
        return None
    return next((tag for tag in _ALONE if _is_kind(record.content, tag)), None)


def _is_kind(text: str, tag: str) -> bool:
    head = text.strip().lower()
    return re.match(rf"{re.escape(tag.lower())}(?:[\s;]|$)", head) is not None


def _same_host(record: Record, answers: Sequence[str]) -> list[str]:
    if record.type == "CNAME":
        # A name has one CNAME, so whatever stands there stands in place of ours (RFC 1034, 3.6.2).
        return list(answers)
    host = normal(record.type, record.answer).rpartition(" ")[2]
    return [text for text in answers if normal(record.type, text).rpartition(" ")[2] == host]


def normal(kind: str, text: str) -> str:
    """Record data with what does not matter taken out: case of hosts, final dots, blanks."""
    text = " ".join(text.split())
    if kind != "TXT":
        return text.lower().removesuffix(".")
    if _is_kind(text, "v=spf1"):
        return text.lower()
    if any(_is_kind(text, tag) for tag in _ALONE):
        return "; ".join(f"{name}={value}" for name, value in tags(text).items())
    return text


def tags(text: str) -> dict[str, str]:
    """A tag list (RFC 6376, 3.2) as a dictionary in its order; blanks inside values are dropped."""
    pairs = (part.partition("=") for part in text.split(";") if part.strip())
    return {name.strip().lower(): re.sub(r"\s+", "", value) for name, _, value in pairs}


def difference(record: Record, seen: str) -> str:
    """What exactly differs, in words for the person who has to mend it."""
    want = record.answer
    if record.type == "CNAME":
        return f"it points at {seen}, it should point at {want}"
    if record.type == "MX":
        return f"the priority is {seen.split(maxsplit=1)[0]}, it should be {record.priority}"
    if _is_kind(want, "v=spf1"):
        ours, theirs = want.lower().split(), seen.lower().split()
        gone = [f"{term} is missing" for term in ours if term not in theirs]
        extra = [f"{term} is too much" for term in theirs if term not in ours]
        return ", ".join(gone + extra) or "the terms stand in another order"
    ours_, theirs_ = tags(want), tags(seen)
    found = [
        f"{name} is {_short(theirs_.get(name))}, it should be {_short(ours_.get(name))}"
        for name in dict.fromkeys([*ours_, *theirs_])
        if ours_.get(name) != theirs_.get(name)
    ]
    return ", ".join(found) or "the tags stand in another order"


def _short(value: str | None) -> str:
    if value is None:
        return "absent"
    return value if len(value) <= 60 else f"{value[:24]}…{value[-24:]} ({len(value)} characters)"


# Export -----------------------------------------------------------------------------------------


def chunks(text: str) -> list[str]:
    """TXT content cut into character-strings of at most 255 octets (ASCII content)."""
    return [text[i : i + MAX_STRING] for i in range(0, len(text), MAX_STRING)] or [""]


def quoted(text: str) -> str:
    """TXT content as a zone file writes it: quoted strings, backslash and quote escaped."""
    escaped = (part.replace("\\", "\\\\").replace('"', '\\"') for part in chunks(text))
    return " ".join(f'"{part}"' for part in escaped)


def zone_text(domain: str, records: Sequence[Record]) -> str:
    """The records as a zone file (RFC 1035, 5), for people whose DNS is elsewhere."""
    lines = [f"$ORIGIN {domain}.", f"$TTL {TTL}"]
    for record in records:
        owner = "@" if record.name == domain else record.name.removesuffix(f".{domain}")
        if record.type == "TXT":
            data = quoted(record.content)
        elif record.priority is not None:
            data = f"{record.priority} {record.content}."
        else:
            data = f"{record.content}."
        lines.append(f"{owner}\t{record.ttl}\tIN\t{record.type}\t{data}")
    return "\n".join(lines) + "\n"
