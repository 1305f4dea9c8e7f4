"""Which passwords people may choose (NIST SP 800-63B 5.1.1.2, OWASP ASVS 5.0 6.2).

Length is what counts: no demands on kinds of characters, but none of those that guessers try first.
"""

from __future__ import annotations

import string
from importlib import resources
from itertools import pairwise

SHORTEST, LONGEST = 8, 128

COMMON = frozenset(
    (resources.files("app.rules") / "data" / "common_passwords.txt").read_text("utf-8").split("\n")
) - {""}
"""What breaches brought up most often, of at least eight characters and in lower case: ASVS 6.2.4
asks for the first 3,000. data/README.md says where it comes from."""

_OURS = ("inboxgrove",)
"""Words that a guesser would try here and nowhere else (ASVS 6.2.11)."""

_PADDING = string.digits + string.punctuation + string.whitespace


def fault(password: str, *, personal: tuple[str, ...] = ()) -> str | None:
    """What is wrong with `password`, in words; None when it may be used.

    `personal` are words that a guesser knows of this person: address, name, company.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        return f"Use {SHORTEST} to {LONGEST} characters."
    lowered = password.lower()
    # "Password2026!" is tried right after "password".
    forms = {lowered, lowered.strip(_PADDING)}
    if forms & COMMON or len(set(lowered)) < 3 or _is_run(lowered):
        return "This password is one of the first that a guesser tries."
    known = {word.lower() for entry in personal for word in (entry, entry.partition("@")[0])}
    if forms & (known - {""}) or forms.intersection(_OURS):
        return "Do not use your own name, company or address, nor ours."
    return None


def _is_run(text: str) -> bool:
    """Whether each character follows the one before, upwards or downwards, as in 23456789."""
    steps = {ord(b) - ord(a) for a, b in pairwise(text)}
    return steps in ({1}, {-1})
