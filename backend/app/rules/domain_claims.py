"""Whose a name is: the record that proves it, how often it is looked for, and what may be claimed.

The proof is a TXT record below the name with a random token for one tenant and one name, as the
IETF's draft on domain control validation advises (a name of its own, a token that is not reused).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import tldextract

from app.rules import homographs, hostnames, signup
from app.rules.hostnames import BadName

CHALLENGE = "_inboxgrove-challenge"
_VALUE = "inboxgrove-domain-verification="

CLAIM_LIFE = timedelta(days=14)
"""A claim that nobody proves is dropped after this; it holds a place of the plan until then."""

REPROVE = timedelta(days=1)
GRACE = timedelta(days=7)
"""How long a name whose proof is gone goes on sending: time to put the record back."""

_LONGEST_PREFIX = 32
"""Octets that our longest name below a domain needs in front of it, a selector's."""

_extract = tldextract.TLDExtract(
    # The list that comes with the package: no cache to write, no network to ask.
    cache_dir=None,
    suffix_list_urls=(),
    include_psl_private_domains=True,
)


def owned(text: str) -> str:
    """A name that may be connected, in lower case. Raises BadName with what is wrong.

    Names below a registrable one are allowed; public suffixes (com, co.uk, github.io) are not.
    Internationalised names are refused as they are for purchases: look-alikes need a person's eye.
    """
    name = text.strip().lower().removesuffix(".")
    if homographs.is_international(name):
        raise BadName(text, "internationalised names cannot be connected: use a-z, 0-9 and hyphens")
    if len(name) + _LONGEST_PREFIX > hostnames.MAX_NAME:
        room = hostnames.MAX_NAME - _LONGEST_PREFIX
        raise BadName(text, f"a name has at most {room} characters here: records go below it")
    labels = name.split(".")
    if len(labels) < 2:
        raise BadName(text, "add an ending, such as .com")
    for label in labels[:-1]:
        hostnames.check_label(label)
    if labels[-1] in hostnames.RESERVED:
        raise BadName(text, f".{labels[-1]} is reserved, nobody can own a name below it")
    if not registrable(name):
        raise BadName(text, "it is a public ending, below which anybody registers names")
    if registrable(name) in signup.FREE_MAIL:
        raise BadName(text, "it belongs to a mail provider, and so to nobody here")
    return name


def registrable(name: str) -> str:
    """The name that was registered: `example.co.uk` of `a.example.co.uk`; "" for a bare suffix.

    An ending that the list does not know counts as one label, as its rule `*` says.
    """
    found = _extract(name)
    if found.suffix:
        return f"{found.domain}.{found.suffix}" if found.domain else ""
    labels = name.split(".")
    return ".".join(labels[-2:]) if len(labels) > 1 else ""


def above(name: str) -> tuple[str, ...]:
    """Every name above `name` up to the registrable one, the nearest first."""
    top = registrable(name)
    labels = name.split(".")
    parents = (".".join(labels[at:]) for at in range(1, len(labels)))
    return tuple(parent for parent in parents if parent == top or parent.endswith(f".{top}"))


def challenge_name(domain: str) -> str:
    return f"{CHALLENGE}.{domain}"


def challenge_value(token: str) -> str:
    return f"{_VALUE}{token}"


def proves(answers: Sequence[str], token: str) -> bool:
    """Whether one of the TXT records there is ours; others may stand beside it."""
    return challenge_value(token) in {answer.strip() for answer in answers}


def pause(claimed_at: datetime, now: datetime) -> timedelta:
    """Until the next look for a proof that was not seen yet: often at first, then hourly."""
    age = now - claimed_at
    if age < timedelta(hours=1):
        return timedelta(minutes=1)
    return timedelta(minutes=10) if age < timedelta(days=1) else timedelta(hours=1)
