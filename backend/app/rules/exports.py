"""Credential files: the exact headers sequencers import, and rows that no spreadsheet executes.

Header sources: the import templates of Instantly, Smartlead and Salesforge. Our inboxes send and
have no IMAP side, so those cells stay empty; warm-up by engagement pools is always switched off.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

_TRIGGERS = ("=", "+", "-", "@", "\t", "\r", "\0", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""A cell that begins so is a formula to a spreadsheet; the last four are their full-width forms."""


@dataclass(frozen=True)
class Credential:
    """One inbox, as a file tells it."""

    email: str
    username: str
    password: str
    first_name: str
    last_name: str
    smtp_host: str
    smtp_port: int
    daily_limit: int

    @property
    def full_name(self) -> str:
        return f"{self.first_name} {self.last_name}".strip()


Row = Callable[[Credential], list[object]]

GENERIC = (
    "email,username,password,first_name,last_name,smtp_host,smtp_port,smtp_security,daily_limit"
)
INSTANTLY = (
    "Email,First Name,Last Name,IMAP Username,IMAP Password,IMAP Host,IMAP Port,SMTP Username,"
    "SMTP Password,SMTP Host,SMTP Port,Daily Limit,Warmup Enabled,Warmup Limit,Warmup Increment"
)
SMARTLEAD = (
    "from_name,from_email,user_name,password,smtp_host,smtp_port,imap_host,imap_port,"
    "max_email_per_day,custom_tracking_url,warmup_enabled,total_warmup_per_day,daily_rampup,"
    "reply_rate_percentage,bcc,signature,different_reply_to_address,imap_user_name,imap_password"
)
SALESFORGE = (
    "address,firstName,lastName,imapHost,imapUsername,imapPassword,imapPort,smtpHost,"
    "smtpUsername,smtpPassword,smtpPort,Signature,trackingDomain"
)

FORMATS: dict[str, tuple[str, Row]] = {
    "generic": (
        GENERIC,
        lambda c: [
            c.email,
            c.username,
            c.password,
            c.first_name,
            c.last_name,
            c.smtp_host,
            c.smtp_port,
            "STARTTLS",
            c.daily_limit,
        ],
    ),
    "instantly": (
        INSTANTLY,
        lambda c: [
            *(c.email, c.first_name, c.last_name),
            *("", "", "", ""),
            *(c.username, c.password, c.smtp_host, c.smtp_port),
            *(c.daily_limit, "FALSE", "", ""),
        ],
    ),
    "smartlead": (
        SMARTLEAD,
        lambda c: [
            *(c.full_name, c.email, c.username, c.password, c.smtp_host, c.smtp_port),
            *("", "", c.daily_limit, "", "FALSE", "", "", "", "", "", "", "", ""),
        ],
    ),
    "salesforge": (
        SALESFORGE,
        lambda c: [
            *(c.email, c.first_name, c.last_name),
            *("", "", "", ""),
            *(c.smtp_host, c.username, c.password, c.smtp_port),
            *("", ""),
        ],
    ),
}


def lines(fmt: str, credentials: Iterable[Credential]) -> Iterator[str]:
    """The file, line by line, CRLF-ended (RFC 4180). Raises KeyError for an unknown format."""
    header, row = FORMATS[fmt]
    yield _line(header.split(","))
    for credential in credentials:
        yield _line([safe_cell(cell) for cell in row(credential)])


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Any table as such a file, line by line."""
    yield _line(header)
    for row in rows:
        yield _line([safe_cell(cell) for cell in row])


def safe_cell(value: object) -> object:
    """Text that a spreadsheet would execute gets a quote mark before it.

    Passwords of ours never begin with a trigger, so they pass unchanged.
    """
    if isinstance(value, str) and value.startswith(_TRIGGERS):
        return "'" + value
    return value


def _line(cells: Iterable[object]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow(list(cells))
    return out.getvalue()
