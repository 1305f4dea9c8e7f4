"""DMARC (RFC 9989): find the policy by the DNS tree walk, compare identifiers, decide."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from sandbox.receivers.lookups import LookupFailed, Lookups
from sandbox.receivers.verdict import Check

POLICIES = ("none", "quarantine", "reject")
# RFC 9989 section 4.10: names of more than eight labels are cut to seven after the first query.
MAX_LABELS = 8


@dataclass(frozen=True)
class Record:
    """One DMARC policy record and the name (without `_dmarc.`) where it was found."""

    location: str
    tags: dict[str, str]

    @property
    def psd(self) -> str:
        return self.tags.get("psd", "u").lower()

    def policy_for(self, domain: str, exists: bool) -> str | None:
        """The policy this record asks for at `domain`; None when it is unusable.

        Section 4.7: a missing or unknown `p` counts as "none" when reports are wanted (`rua`),
        and makes the record void otherwise.
        """
        wanted = self.tags.get("p", "")
        if domain != self.location:
            wanted = self.tags.get("sp", wanted)
            if not exists:
                wanted = self.tags.get("np", wanted)
        wanted = wanted.lower()
        if wanted not in POLICIES:
            return "none" if "mailto:" in self.tags.get("rua", "").lower() else None
        return wanted

    @property
    def testing(self) -> bool:
        """`t=y`: the domain owner asks to apply one level less (section 4.7)."""
        return self.tags.get("t", "n").lower() == "y"


@dataclass(frozen=True)
class Outcome:
    """DMARC's result, the policy in force, and whether it is in test mode."""

    check: Check
    policy: str = "none"


class Walk:
    """Tree walks for one message; each name is asked at most once."""

    def __init__(self, lookups: Lookups) -> None:
        self._lookups = lookups
        self._seen: dict[str, Record | None] = {}

    def record_at(self, domain: str) -> Record | None:
        """The one valid record at `_dmarc.{domain}`; several cancel each other (step 2)."""
        if domain not in self._seen:
            texts = self._lookups.texts(f"_dmarc.{domain}")
            valid = [tags for tags in map(parse, texts) if tags is not None]
            self._seen[domain] = Record(domain, valid[0]) if len(valid) == 1 else None
        return self._seen[domain]

    def records(self, domain: str) -> list[Record]:
        """Every record on the way up, longest name first; stops at psd=y or psd=n."""
        found = []
        for name in path(domain):
            record = self.record_at(name)
            if record is not None:
                found.append(record)
                if record.psd in {"y", "n"}:
                    break
        return found

    def organizational_domain(self, domain: str) -> str:
        """Section 4.10.2."""
        found = self.records(domain)
        if not found:
            return domain
        last = found[-1]
        if last.psd == "y" and last.location != domain:
            labels = domain.split(".")
            return ".".join(labels[-(last.location.count(".") + 2) :])
        return last.location

    def policy_record(self, domain: str) -> Record | None:
        """Section 4.10.1: the author domain's own, else its organization's, else the PSD's."""
        own = self.record_at(domain)
        if own is not None:
            return own
        found = self.records(domain)
        if not found:
            return None
        wanted = self.organizational_domain(domain)
        return next((record for record in found if record.location == wanted), found[-1])

    def exists(self, domain: str) -> bool:
        """Section 3.2.13: a name without address and mail host counts as non-existent."""
        return any(self._lookups.ask(domain, kind) for kind in ("A", "AAAA", "MX"))


def path(domain: str) -> list[str]:
    """The names of a tree walk, from the domain itself up to its last label."""
    labels = domain.split(".")
    start = 1 if len(labels) <= MAX_LABELS else len(labels) - MAX_LABELS + 1
    return [domain, *(".".join(labels[i:]) for i in range(start, len(labels)))]


def parse(text: bytes) -> dict[str, str] | None:
    """Tags of a record in lower case, or None when it is no DMARC record (section 4.8)."""
    if re.match(rb"\s*v\s*=\s*DMARC1\s*(;|$)", text) is None:
        return None
    pairs = (part.partition("=") for part in text.decode("ascii", "replace").split(";"))
    return {name.strip().lower(): value.strip() for name, sign, value in pairs if sign}


def check_dmarc(
    lookups: Lookups, author_domain: str, spf: Check, signatures: Iterable[Check]
) -> Outcome:
    """Judge the domain of the From field; `author_domain` is in lower case, in ASCII."""
    if not author_domain:
        return Outcome(Check("permerror", "From names no single domain"))
    claims = [("SPF", "aspf", spf), *(("DKIM", "adkim", signature) for signature in signatures)]
    walk = Walk(lookups)
    policy = "none"
    try:
        record = walk.policy_record(author_domain)
        if record is None:
            result, reason = "none", f"{author_domain} publishes no DMARC record"
        else:
            result, reason, policy = _apply(walk, record, author_domain, claims)
    except LookupFailed as error:
        result, reason = "temperror", str(error)
    properties = (("header.from", author_domain),)
    return Outcome(Check(result, reason, author_domain, properties=properties), policy)


def _apply(
    walk: Walk, record: Record, author: str, claims: list[tuple[str, str, Check]]
) -> tuple[str, str, str]:
    """Result, reason and the policy in force."""
    exists = record.location == author or walk.exists(author)
    policy = record.policy_for(author, exists)
    if policy is None:
        return "permerror", f"the record at _dmarc.{record.location} has no valid policy", "none"
    modes = {name: record.tags.get(name, "r").lower() for name in ("aspf", "adkim")}
    stated = f"p={policy} aspf={modes['aspf']} adkim={modes['adkim']}"
    proofs = [
        f"{method} of {check.domain}"
        for method, tag, check in claims
        if check.passed and aligned(walk, check.domain, author, strict=modes[tag] == "s")
    ]
    if proofs:
        return "pass", f"{stated}, aligned by {' and '.join(proofs)}", policy
    reason = f"{stated}, neither SPF nor DKIM passes in alignment with {author}"
    if record.testing:
        reason += ", test mode"
        policy = POLICIES[max(POLICIES.index(policy) - 1, 0)]
    return "fail", reason, policy


def aligned(walk: Walk, authenticated: str, author: str, strict: bool) -> bool:
    """Section 4.4: equal names, or in relaxed mode equal organizational domains."""
    if not authenticated:
        return False
    if authenticated == author:
        return True
    if strict:
        return False
    return walk.organizational_domain(authenticated) == walk.organizational_domain(author)
