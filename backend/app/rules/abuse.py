"""Which reports count, which bounces are final, and when a tenant is warned or stopped.

Complaints are a weapon when they can be made up, so only those count that carry a token of ours,
come from an enrolled reporter, and are about mail that we know we sent. The rates are those of
Gmail's and Yahoo's sender guidelines (spam rate below 0.1 %, never 0.3 %); the bounce rates and the
samples are the product's own choice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

REPORTERS = (
    "aol.com", "comcast.net", "cox.net", "fastmail.com", "hotmail.com", "laposte.net", "libero.it",
    "mail.ru", "microsoft.com", "orange.fr", "outlook.com", "returnpath.net", "seznam.cz",
    "senderscore.net", "uol.com.br", "validity.com", "yahoo.com", "yahooinc.com", "zoho.com",
)  # fmt: skip
"""Domains that run complaint feedback loops, or run them for others; subdomains are included."""

MAX_AGE = timedelta(days=30)
"""Of the message that a report is about."""

COMPLAINT_TYPES = frozenset({"abuse", "fraud"})
"""Feedback types (RFC 5965 section 7.3) that are complaints; `not-spam` is the opposite of one."""


class Doubt(StrEnum):
    """Why a report does not count."""

    NO_SUCH_MESSAGE = "no_such_message"
    """We sent no message with its token in the last 30 days."""
    REPORTER = "reporter_not_enrolled"
    """Neither DKIM nor SPF proved that an enrolled reporter sent it."""
    TYPE = "not_a_complaint"
    OWN_DOMAIN = "own_domain"
    """The recipient is at a domain of the sending tenant."""


def reporter(proven: Iterable[str], enrolled: Iterable[str]) -> str | None:
    """The first of the `proven` domains that is enrolled or lies below one that is."""
    names = {name.lower().strip(".") for name in enrolled}
    return next((d for d in proven if any(d == n or d.endswith(f".{n}") for n in names)), None)


def doubt(
    *, recipient: str | None, feedback_type: str, reporter: str | None, own_domains: Iterable[str]
) -> Doubt | None:
    """Why a report with a token of ours does not count; None when it does.

    `recipient` is whom we sent the message to, None when we know of no such message.
    """
    if recipient is None:
        return Doubt.NO_SUCH_MESSAGE
    if reporter is None:
        return Doubt.REPORTER
    if feedback_type.lower() not in COMPLAINT_TYPES:
        return Doubt.TYPE
    domain = recipient.rpartition("@")[2].lower()
    if any(domain == own or domain.endswith(f".{own}") for own in own_domains):
        return Doubt.OWN_DOMAIN
    return None


_GONE = frozenset({"InvalidRecipient", "BadDomain", "InactiveMailbox"})
"""Classes of kumod's bounce classifier under which an address will never take mail."""


def is_hard_bounce(event_type: str, code: int | None, classification: str | None) -> bool:
    """Whether the receiver said that there is no such mailbox (or domain) any more."""
    refused = code is not None and 500 <= code < 600
    return event_type in {"Bounce", "OOB"} and refused and classification in _GONE


# From signals to warnings and stops -------------------------------------------------------------

COMPLAINERS_TO_STOP = 10
COMPLAINT_DAYS = 30
RATE_DAYS = 7
MIN_SENT = 100
"""Messages within RATE_DAYS below which a rate says nothing."""

MIN_COMPLAINERS = 3
"""One or two people must not be able to stop a small sender by a rate; they can have it warned."""

WARN_BOUNCES, STOP_BOUNCES = 0.04, 0.08
WARN_COMPLAINTS, STOP_COMPLAINTS = 0.0008, 0.0030
"""Shares of accepted messages."""


@dataclass(frozen=True)
class Signals:
    """What is recorded about a tenant since it was last let back in."""

    sent: int = 0
    """Accepted messages within RATE_DAYS."""
    bounced: int = 0
    complainers: int = 0
    """Different recipients with a verified complaint within RATE_DAYS."""
    complainers_long: int = 0
    """The same within COMPLAINT_DAYS."""


class Rule(StrEnum):
    COMPLAINTS = "complaints"
    COMPLAINT_RATE = "complaint_rate"
    BOUNCE_RATE = "bounce_rate"


@dataclass(frozen=True)
class Finding:
    stop: bool
    """Whether the tenant is cut off; otherwise it is warned."""
    rule: Rule
    signals: Signals

    @property
    def reason(self) -> str:
        """A suspension reason."""
        return "terms_violation" if self.rule == Rule.BOUNCE_RATE else "spam_complaint"

    @property
    def note(self) -> str:
        """For the tenant to read."""
        s = self.signals
        return {
            Rule.COMPLAINTS: f"{s.complainers_long} recipients reported your mail as spam within"
            f" {COMPLAINT_DAYS} days.",
            Rule.COMPLAINT_RATE: f"{s.complainers} recipients of {s.sent} messages reported your"
            f" mail as spam within {RATE_DAYS} days.",
            Rule.BOUNCE_RATE: f"{s.bounced} of {s.sent} messages bounced within {RATE_DAYS} days.",
        }[self.rule]

    def evidence(self) -> dict[str, Any]:
        """The figures and the thresholds they were held against."""
        return {
            "rule": self.rule.value,
            **asdict(self.signals),
            "thresholds": {
                "complainers": COMPLAINERS_TO_STOP,
                "complaint_days": COMPLAINT_DAYS,
                "rate_days": RATE_DAYS,
                "min_sent": MIN_SENT,
                "min_complainers": MIN_COMPLAINERS,
                "complaint_rate": STOP_COMPLAINTS if self.stop else WARN_COMPLAINTS,
                "bounce_rate": STOP_BOUNCES if self.stop else WARN_BOUNCES,
            },
        }


def judge(signals: Signals) -> Finding | None:
    """The gravest thing there is to say; None when all is well."""
    sent, enough = signals.sent, signals.sent >= MIN_SENT
    complained, bounced = signals.complainers, signals.bounced
    if signals.complainers_long >= COMPLAINERS_TO_STOP:
        return Finding(True, Rule.COMPLAINTS, signals)
    if enough and complained >= MIN_COMPLAINERS and complained >= sent * STOP_COMPLAINTS:
        return Finding(True, Rule.COMPLAINT_RATE, signals)
    if enough and bounced >= sent * STOP_BOUNCES:
        return Finding(True, Rule.BOUNCE_RATE, signals)
    if enough and complained and complained >= sent * WARN_COMPLAINTS:
        return Finding(False, Rule.COMPLAINT_RATE, signals)
    if enough and bounced >= sent * WARN_BOUNCES:
        return Finding(False, Rule.BOUNCE_RATE, signals)
    return None
