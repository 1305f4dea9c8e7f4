"""One SPF record out of those there and ours: a name may have only one (RFC 7208, 4.5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

MAX_LOOKUPS = 10
"""RFC 7208, 4.6.4."""

Resolve = Callable[[str, str], Sequence[str]]
"""(name, type) -> record data as text, TXT joined; empty when there is none."""


def is_spf(text: str) -> bool:
    return text.strip().lower().split(" ")[0] == "v=spf1"


def merge(records: Sequence[str], ours: str) -> str:
    """`records` and ours as one record; `ours` alone when there are none.

    Our terms stand directly before the end of the first record, and its own end is kept: a customer
    who wrote ~all or redirect= meant it. Terms of further records follow in their order, each once.
    """
    if not records:
        return ours
    terms: list[str] = []
    ends: list[str] = []
    for text in (*records, ours):
        for term in text.split()[1:]:
            which = ends if _is_end(term) else terms
            if term.lower() not in (known.lower() for known in which):
                which.append(term)
    # A redirect counts only where no `all` stands (RFC 7208, 6.1): the customer's own end wins.
    return " ".join(["v=spf1", *terms, *ends[:1]])


def _is_end(term: str) -> bool:
    text = term.lower()
    return text.lstrip("+-~?") == "all" or text.startswith("redirect=")


def contains(record: str, ours: str) -> bool:
    """Whether `record` says all that ours does, apart from how it ends."""
    there = [term.lower() for term in record.split()]
    return all(term.lower() in there for term in ours.split() if not _is_end(term))


def lookups(record: str, resolve: Resolve) -> int:
    """The questions that evaluating `record` to its end costs; stops counting beyond the limit."""
    return _count(record, resolve, 0)


def _count(record: str, resolve: Resolve, before: int) -> int:
    total = before
    for term in record.split()[1:]:
        text = term.lower().lstrip("+-~?")
        if total > MAX_LOOKUPS or not _asks(text):
            continue
        total += 1
        target = _nested(text)
        if target is not None and "%" not in target:
            below = next((answer for answer in resolve(target, "TXT") if is_spf(answer)), None)
            total = total if below is None else _count(below, resolve, total)
    return total


def _asks(text: str) -> bool:
    head = text.partition("/")[0]
    return text.startswith(("include:", "exists:", "redirect=", "a:", "mx:", "ptr:")) or head in {
        "a",
        "mx",
        "ptr",
    }


def _nested(text: str) -> str | None:
    for head in ("include:", "redirect="):
        if text.startswith(head):
            return text.removeprefix(head).rstrip(".")
    return None
