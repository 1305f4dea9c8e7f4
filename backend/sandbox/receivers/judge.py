"""One message before the three checks: who wrote it, and what becomes of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email import policy
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.parser import BytesHeaderParser
from email.utils import getaddresses

import idna

from sandbox.receivers.alignment import check_dmarc
from sandbox.receivers.lookups import Lookups
from sandbox.receivers.sender_policy import check_spf
from sandbox.receivers.signatures import check_dkim
from sandbox.receivers.verdict import Check, Verdict

_HEADERS = BytesHeaderParser(policy=policy.compat32)


@dataclass(frozen=True)
class Envelope:
    """What the SMTP session knows: real client address, EHLO name, empty sender as ""."""

    client_ip: str
    helo: str
    mail_from: str
    rcpt_tos: tuple[str, ...]
    tls: bool


@dataclass(frozen=True)
class Letterhead:
    """The few header fields a reader wants in a list, decoded and made safe to store."""

    header_from: str
    author: str  # the address in From, "" unless there is exactly one
    author_domain: str  # in lower case and ASCII
    subject: str
    message_id: str
    date: str


def letterhead(raw: bytes) -> Letterhead:
    """Read the header section; nothing in it can make this fail."""
    parsed = _HEADERS.parsebytes(raw.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
    fields: dict[str, list[str]] = {}
    for name, value in parsed.raw_items():
        fields.setdefault(name.lower(), []).append(value)
    from_fields = fields.get("from", [])
    addresses = [a for _, a in getaddresses(from_fields) if "@" in a]
    author = addresses[0] if len(from_fields) == 1 and len(addresses) == 1 else ""
    return Letterhead(
        header_from=readable(from_fields[0] if from_fields else ""),
        author=author,
        author_domain=_ascii_domain(author.rpartition("@")[2]),
        subject=readable(fields.get("subject", [""])[0]),
        message_id=readable(fields.get("message-id", [""])[0]),
        date=readable(fields.get("date", [""])[0]),
    )


def readable(value: str) -> str:
    """Decode encoded words (RFC 2047) and raw UTF-8; what cannot be decoded stays as it is."""
    unfolded = re.sub(r"\r?\n[ \t]*", " ", value).strip()
    # The parser keeps raw bytes as surrogates: header text sent as UTF-8 is read as such.
    text = unfolded.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if "=?" not in text:
        return text
    try:
        return str(make_header(decode_header(text)))
    except (LookupError, ValueError, HeaderParseError):
        return text


def judge(lookups: Lookups, envelope: Envelope, raw: bytes, now: int) -> tuple[Verdict, Letterhead]:
    """Blocking: three checks over real DNS queries. `now` is in seconds since 1970."""
    head = letterhead(raw)
    spf = check_spf(lookups, envelope.client_ip, envelope.helo, envelope.mail_from)
    signatures = check_dkim(lookups, raw, now)
    dmarc = check_dmarc(lookups, head.author_domain, spf, signatures)
    action = "deliver"
    if dmarc.check.result == "fail":
        action = {"quarantine": "spam", "reject": "refuse"}.get(dmarc.policy, "deliver")
    signature = _best(signatures, head.author_domain)
    return Verdict(spf, signature, signatures, dmarc.check, dmarc.policy, action), head


def _best(signatures: tuple[Check, ...], author_domain: str) -> Check:
    """The signature that speaks for the message: the author's own, else any valid one."""

    def rank(check: Check) -> tuple[bool, bool]:
        return check.passed, check.domain == author_domain

    return max(signatures, key=rank, default=Check("none", "the message is not signed"))


def _ascii_domain(domain: str) -> str:
    name = domain.lower().rstrip(".")
    if name.isascii():
        return name
    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except idna.IDNAError:
        return ""
