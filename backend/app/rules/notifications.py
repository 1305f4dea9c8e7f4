"""Which of our mails a person may do without, and which they get whatever they choose."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Topic(StrEnum):
    """What can be switched off, by each person for themselves."""

    RECEIPTS = "receipts"
    RENEWALS = "renewals"
    USAGE = "usage"
    DOMAINS = "domains"


TITLES: dict[Topic, str] = {
    Topic.RECEIPTS: "Receipts for what was paid, and refunds",
    Topic.RENEWALS: "That the plan renews in a few days, and at what price",
    Topic.USAGE: "That 90 % of a limit of the plan is used",
    Topic.DOMAINS: "DNS that differs, records that are wanted, blocklists that name a domain",
}

TOPIC_OF: dict[str, Topic] = {
    "receipt": Topic.RECEIPTS,
    "purchase_receipt": Topic.RECEIPTS,
    "refunded": Topic.RECEIPTS,
    "renewal": Topic.RENEWALS,
    "limit_near": Topic.USAGE,
    "domain_dns_differs": Topic.DOMAINS,
    "domain_listed": Topic.DOMAINS,
    "domain_ownership": Topic.DOMAINS,
    "dkim_record_needed": Topic.DOMAINS,
}
"""By kind of notice. Of the others nobody can opt out: that a trial turns into a charge (the card
networks ask for it), that a payment failed or wants its holder, that a name ends (ICANN's Expired
Registration Recovery Policy, section 2.1) or leaves, that sending was stopped and why."""

NEAR_PERCENT = 90
SMALLEST_COUNT = 10
"""Of a limit of things: "all of one domain is used" is no news to who bought it."""


def wants(choices: Mapping[str, bool], kind: str, *, by_default: bool) -> bool:
    """Whether somebody with these choices gets this kind of notice.

    `by_default` holds where nothing was chosen, and for kinds that nobody can opt out of.
    """
    topic = TOPIC_OF.get(kind)
    return by_default if topic is None else choices.get(topic, by_default)


def is_near(used: int, limit: int) -> bool:
    """Whether at least 90 % of a limit is used."""
    return limit > 0 and used * 100 >= limit * NEAR_PERCENT
