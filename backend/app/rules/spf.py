"""SPF records as receivers evaluate them: how many questions one costs, and what breaks it.

RFC 7208, 4.6.4: the terms include, a, mx, ptr, exists and redirect ask the DNS; more than ten of
them, counted through all that is included, are a permanent error, and so are more than two that
find nothing ("void lookups"), and more than ten hosts of one mx.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network

MAX_LOOKUPS = 10
MAX_VOID = 2
MAX_MX = 10

Resolve = Callable[[str, str], Sequence[str]]
"""(name, type) -> record data as text, MX as `10 host`, TXT joined; empty when there is none."""

_ASKING = frozenset({"include", "a", "mx", "ptr", "exists"})
_SILENT = frozenset({"all", "ip4", "ip6"})
_CIDR = re.compile(r"(?:/(?:3[0-2]|[12]?[0-9]))?(?://(?:12[0-8]|1[01][0-9]|[1-9]?[0-9]))?\Z")
_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._-")


@dataclass(frozen=True)
class Term:
    """One mechanism, or the redirect modifier."""

    name: str
    target: str | None = None
    """The name it asks about; None for the name of the record itself."""

    @property
    def asks(self) -> bool:
        return self.name in _ASKING or self.name == "redirect"

    @property
    def is_known(self) -> bool:
        """Whether what it asks about is known before a mail comes: macros need one."""
        return "%" not in (self.target or "")


@dataclass(frozen=True)
class Count:
    """What evaluating a record to its end costs, when nothing in it matches before."""

    lookups: int = 0
    """Terms that ask; at most one more than STOP is counted of a record that has too many."""
    voids: int = 0
    faults: tuple[str, ...] = field(default=())
    """Why receivers give up on it, in words; with none it may be published."""

    @property
    def ok(self) -> bool:
        return not self.faults


class BadSPF(ValueError):
    """A text that RFC 7208 does not allow as an SPF record."""


STOP = 100
"""So many lookups end the count: a record that asks this much is broken whatever follows."""


def is_spf(text: str) -> bool:
    """Whether receivers take a TXT record for SPF (RFC 7208, 4.5)."""
    return re.match(r"v=spf1(?: |\Z)", text, re.IGNORECASE) is not None


def terms(record: str) -> tuple[Term, ...]:
    """What is evaluated, in its order: up to `all`, or with redirect as the last one.

    Raises BadSPF for anything that receivers answer with a permanent error.
    """
    if not is_spf(record):
        raise BadSPF("an SPF record begins with v=spf1")
    found: list[Term] = []
    redirects: list[Term] = []
    ended = False
    for text in record.split()[1:]:
        modifier, is_one, value = text.lower().partition("=")
        if is_one and modifier[:1].isalpha() and _NAME.issuperset(modifier):
            if modifier == "redirect":
                redirects.append(Term(modifier, _target(value, text)))
            continue
        term = _mechanism(text)
        if not ended:
            # What stands behind `all` is never reached (RFC 7208, 5.1), but must be well-formed.
            found.append(term)
        ended = ended or term.name == "all"
    if len(redirects) > 1:
        raise BadSPF("redirect stands there twice")
    return tuple(found if ended else found + redirects)


def _mechanism(text: str) -> Term:
    body = text.lower().removeprefix(text[0] if text[0] in "+?~-" else "")
    end = min((at for at in map(body.find, ":/") if at >= 0), default=len(body))
    name, rest = body[:end], body[end:]
    value, cidr = (rest[1:], "") if rest.startswith(":") else (None, rest)
    if name in {"ip4", "ip6"}:
        _check_network(name, (value or "") + cidr, text)
        return Term(name)
    if name not in _ASKING | _SILENT:
        raise BadSPF(f"{text} is no term of SPF")
    if name == "all":
        if value is not None or cidr:
            raise BadSPF(f"{text}: all stands alone")
        return Term(name)
    if name in {"a", "mx"}:
        value, cidr = _without_length(value, cidr)
        if _CIDR.match(cidr) is None:
            raise BadSPF(f"{text} has a length that no network has")
    elif name in {"include", "exists"} and value is None:
        raise BadSPF(f"{text} names no domain")
    elif cidr:
        raise BadSPF(f"{text} has a length where none belongs")
    return Term(name, None if value is None else _target(value, text))


def _without_length(value: str | None, cidr: str) -> tuple[str | None, str]:
    if value is None:
        return None, cidr
    # Only what ends it is a length: a macro may have a slash inside.
    head = value.rstrip("0123456789/")
    digits, slash, length = value[len(head) :].partition("/")
    return head + digits, slash + length


def _check_network(name: str, value: str, text: str) -> None:
    kind = IPv4Network if name == "ip4" else IPv6Network
    try:
        kind(value, strict=False)
    except ValueError:
        raise BadSPF(f"{text} is no network") from None


def _target(value: str, text: str) -> str:
    name = value.rstrip(".").lower()
    # A macro becomes a name only when a mail comes.
    labels = ["macro"] if "%" in name else name.split(".")
    is_name = name.isascii() and "/" not in "".join(labels)
    if len(name) > 253 or not is_name or not all(0 < len(label) < 64 for label in labels):
        raise BadSPF(f"{text} names no domain")
    return name


# Counting ---------------------------------------------------------------------------------------


def lookups(record: str, resolve: Resolve, *, name: str = "") -> Count:
    """What `record`, which stands at `name`, costs a receiver at most.

    Asks for what is included, nested as deep as it goes, and for what a and mx point at. Errors of
    `resolve` pass through: without an answer the cost is not known.
    """
    walk = _Walk(resolve)
    walk.through(record, name.lower().rstrip("."), ())
    faults = walk.faults
    if walk.lookups > MAX_LOOKUPS:
        many = f"more than {STOP}" if walk.lookups > STOP else str(walk.lookups)
        faults.append(f"it takes {many} DNS lookups, and {MAX_LOOKUPS} are allowed")
    if walk.voids > MAX_VOID:
        faults.append(f"{walk.voids} of its lookups find nothing, and {MAX_VOID} may")
    return Count(walk.lookups, walk.voids, tuple(dict.fromkeys(faults)))


class _Walk:
    """One evaluation, as if no mechanism but the last one matched."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self.lookups = self.voids = 0
        self.faults: list[str] = []

    def through(self, record: str, name: str, above: tuple[str, ...]) -> None:
        try:
            parts = terms(record)
        except BadSPF as error:
            self.faults.append(f"{error} ({name})" if above else str(error))
            return
        for term in parts:
            if self.lookups > STOP:
                return
            if term.asks:
                self.lookups += 1
                self._ask(term, term.target or name, (*above, name))

    def _ask(self, term: Term, target: str, above: tuple[str, ...]) -> None:
        if not term.is_known or not target:
            return
        match term.name:
            case "include" | "redirect":
                self._enter(term, target, above)
            case "a":
                self._addresses(target)
            case "mx":
                hosts = self._resolve(target, "MX")
                self.voids += not hosts
                if len(hosts) > MAX_MX:
                    self.faults.append(f"mx of {target} has {len(hosts)} hosts, {MAX_MX} may be")
            case "exists":
                self.voids += not self._resolve(target, "A")

    def _addresses(self, target: str) -> None:
        # A receiver asks for the family of the sender; void is what has neither.
        self.voids += not (self._resolve(target, "A") or self._resolve(target, "AAAA"))

    def _enter(self, term: Term, target: str, above: tuple[str, ...]) -> None:
        if target in above:
            self.faults.append(f"{term.name} of {target} leads back to itself")
            return
        texts = self._resolve(target, "TXT")
        self.voids += not texts
        found = [text for text in texts if is_spf(text)]
        if len(found) != 1:
            count = len(found) or "no"
            plural = "" if count == "no" else "s"
            self.faults.append(f"{term.name} of {target}: {count} SPF record{plural} there")
            return
        self.through(found[0], target, above)
