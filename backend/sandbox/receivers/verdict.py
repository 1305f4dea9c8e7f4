"""The words of a judgement: one check, and the three together."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

# What would end a comment or an entry.
_COMMENT = str.maketrans({"(": " ", ")": " ", "\\": " ", ";": ","})


@dataclass(frozen=True)
class Check:
    """One mechanism's result, in the vocabulary of RFC 8601 section 2.7.

    `properties` are the names and values in its Authentication-Results entry, for example
    ("smtp.mailfrom", "ann@acme.test").
    """

    result: str
    reason: str
    domain: str = ""
    selector: str = ""
    properties: tuple[tuple[str, str], ...] = ()

    @property
    def passed(self) -> bool:
        return self.result == "pass"

    def entry(self, method: str) -> str:
        comment = _plain(self.reason.translate(_COMMENT))
        shown = [f"{name}={_quoted(_plain(value))}" for name, value in self.properties]
        return " ".join([f"{method}={self.result} ({comment})", *shown])


@dataclass(frozen=True)
class Verdict:
    """What a receiver concluded about one message, and what it does about it.

    `action` is "deliver", "spam" or "refuse"; `policy` the DMARC policy that asked for it.
    """

    spf: Check
    dkim: Check
    signatures: tuple[Check, ...]
    dmarc: Check
    policy: str
    action: str

    def authentication_results(self, server: str) -> str:
        """The value of an Authentication-Results field (RFC 8601), folded for reading."""
        signed = self.signatures or (self.dkim,)
        entries = [
            self.spf.entry("spf"),
            *(s.entry("dkim") for s in signed),
            self.dmarc.entry("dmarc"),
        ]
        return ";\r\n\t".join([server, *entries])

    def as_document(self) -> dict[str, Any]:
        return {
            "spf": self.spf.result,
            "spf_reason": self.spf.reason,
            "spf_domain": self.spf.domain,
            "dkim": self.dkim.result,
            "dkim_reason": self.dkim.reason,
            "dkim_domain": self.dkim.domain,
            "dkim_selector": self.dkim.selector,
            "signatures": [
                {
                    "result": s.result,
                    "reason": s.reason,
                    "domain": s.domain,
                    "selector": s.selector,
                }
                for s in self.signatures
            ],
            "dmarc": self.dmarc.result,
            "dmarc_reason": self.dmarc.reason,
            "dmarc_domain": self.dmarc.domain,
            "dmarc_policy": self.policy,
        }


def _quoted(value: str) -> str:
    """Nothing a sender chose may look like another entry: other than plain tokens is quoted."""
    if re.fullmatch(r"[\w!#$%&'*+\-./=?^`{|}~@]+", value):
        return value
    escaped = re.sub(r'(["\\])', r"\\\1", value)
    return f'"{escaped}"'


def _plain(text: str) -> str:
    """A sender's words inside our header field: one line, of limited length."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:300]
