"""The words of a judgement: one check, and the three together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Check:
    """One mechanism's result, in the vocabulary of RFC 8601 section 2.7.

    `properties` is the tail of its Authentication-Results entry ("smtp.mailfrom=…").
    """

    result: str
    reason: str
    domain: str = ""
    selector: str = ""
    properties: str = ""

    @property
    def passed(self) -> bool:
        return self.result == "pass"

    def entry(self, method: str) -> str:
        return f"{method}={self.result} ({_comment(self.reason)}) {self.properties}".rstrip()


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


def _comment(text: str) -> str:
    """A sender's words inside our header: no line breaks, no way out of the comment."""
    kept = "".join(c if c.isprintable() and c not in "()\\" else " " for c in text)
    return " ".join(kept.split())[:300]
