"""Which reports count, which bounces are final, and when a tenant is warned or stopped.

Complaints are a weapon when they can be made up, so only those count that carry a token of ours,
come from an enrolled reporter, and are about mail that we know we sent. The rates are those of
Gmail's and Yahoo's sender guidelines (spam rate below 0.1 %, never 0.3 %); the bounce rates and the
samples are the product's own choice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import timedelta
from enum import StrEnum
from typing import Any

from app.rules.bounces import BounceClass
from app.rules.records import CLASS_COUNTERS

REPORTERS = (
    "aol.com", "comcast.net", "cox.net", "fastmail.com", "hotmail.com", "laposte.net", "libero.it",
    "mail.ru", "microsoft.com", "orange.fr", "outlook.com", "returnpath.net", "seznam.cz",
    "senderscore.net", "uol.com.br", "validity.com", "yahoo.com", "yahooinc.com", "zoho.com",
)  # fmt: skip
"""Domains that run complaint feedback loops, or run them for others; subdomains are included."""

MAX_AGE = timedelta(days=30)
"""Of the message that a report is about."""

LATE_RECORDS = timedelta(days=3)
"""How long after a report the record of its message may still come: a node keeps what it cannot
hand over."""

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


_DEAD = frozenset(CLASS_COUNTERS[kind] for kind in (BounceClass.HARD, BounceClass.UNKNOWN_USER))


def is_hard_bounce(event_type: str, class_counter: str | None) -> bool:
    """Whether the receiver said for good that there is no such mailbox (or domain).

    `class_counter` is that of rules.records.EventRow: what is counted as a hard bounce and what is
    suppressed is one decision.
    """
    return event_type in {"Bounce", "OOB"} and class_counter in _DEAD


# Storms -----------------------------------------------------------------------------------------

STORM_WARN = (5, 0.10)
STORM_STOP = (10, 0.20)
"""Unknown users of one inbox within a day (UTC): at least so many, and this share of its mail.

Who guesses addresses is stopped within the hour, long before the week's rates tell."""


@dataclass(frozen=True)
class Storm:
    """An inbox that mails many people who do not exist."""

    stop: bool
    """Whether the inbox is paused; otherwise its owner is warned."""
    accepted: int
    unknown_users: int

    @property
    def note(self) -> str:
        return (
            f"{self.unknown_users} of {self.accepted} messages of this inbox went to people who do"
            " not exist, within a day."
        )

    def evidence(self) -> dict[str, Any]:
        count, share = STORM_STOP if self.stop else STORM_WARN
        return {
            "rule": Rule.UNKNOWN_USERS.value,
            "sent": self.accepted,
            "unknown_users": self.unknown_users,
            "thresholds": {"unknown_users": count, "unknown_user_share": share},
        }


def storm(accepted: int, unknown_users: int) -> Storm | None:
    """What the counts of one inbox on one day call for."""
    for stop, (count, share) in ((True, STORM_STOP), (False, STORM_WARN)):
        if unknown_users >= count and unknown_users >= accepted * share:
            return Storm(stop, accepted, unknown_users)
    return None


# From signals to warnings and stops -------------------------------------------------------------

COMPLAINERS_TO_STOP = 10
COMPLAINT_DAYS = 30
RATE_DAYS = 7
MIN_SENT = 100
"""Messages within RATE_DAYS below which a rate says nothing."""

MIN_COMPLAINERS = 3
"""One or two people must not be able to stop a small sender by a rate; they can have it warned."""

# Only bounces that say an address is dead count: soft ones and blocks would stop the innocent when
# a receiver is down, or blocks an address that many senders share.
WARN_BOUNCES, STOP_BOUNCES = 0.04, 0.08
WARN_COMPLAINTS, STOP_COMPLAINTS = 0.0008, 0.0030
"""Shares of accepted messages."""


@dataclass(frozen=True)
class Signals:
    """What is recorded about a tenant since it was last let back in."""

    sent: int = 0
    """Accepted messages within RATE_DAYS."""
    bounced: int = 0
    """Hard bounces and unknown users within RATE_DAYS."""
    complainers: int = 0
    """Different recipients with a verified complaint within RATE_DAYS."""
    complainers_long: int = 0
    """The same within COMPLAINT_DAYS."""

    @classmethod
    def of_evidence(cls, evidence: Mapping[str, Any]) -> Signals:
        """What a decision rested on, so that it can be judged again (Finding.evidence)."""
        return cls(**{each.name: evidence[each.name] for each in fields(cls)})


class Rule(StrEnum):
    COMPLAINTS = "complaints"
    COMPLAINT_RATE = "complaint_rate"
    BOUNCE_RATE = "bounce_rate"
    UNKNOWN_USERS = "unknown_users"
    LISTED = "listed"


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
            Rule.BOUNCE_RATE: f"{s.bounced} of {s.sent} messages went to addresses that do not"
            f" exist within {RATE_DAYS} days.",
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
