"""Small rules every write follows: metadata, empty strings, months."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime
from typing import Any

from sandbox.stripe.errors import invalid

MAX_KEYS, MAX_KEY, MAX_VALUE = 50, 40, 500
"""Limits of metadata (docs.stripe.com/api/metadata)."""


def metadata(present: dict[str, str], given: dict[str, str] | str | None) -> dict[str, str]:
    """`present` with `given` merged in: an empty value removes a key, "" removes them all."""
    if given is None:
        return dict(present)
    if isinstance(given, str):
        return {}
    merged = {**present, **given}
    for key, value in given.items():
        if len(key) > MAX_KEY:
            raise invalid(f"Metadata keys can have up to {MAX_KEY} characters.", "metadata")
        if len(value) > MAX_VALUE:
            raise invalid(
                f"Metadata values can have up to {MAX_VALUE} characters, but you passed in a value"
                f" that is {len(value)} characters.",
                f"metadata[{key}]",
            )
        if value == "":
            merged.pop(key, None)
    if len(merged) > MAX_KEYS:
        raise invalid(f"You can have up to {MAX_KEYS} metadata keys.", "metadata")
    return merged


def merge(target: dict[str, Any], given: dict[str, Any], *names: str) -> None:
    """Take over the `names` that were given; an empty string unsets, as everywhere at Stripe."""
    for name in names:
        if name in given:
            target[name] = None if given[name] == "" else given[name]


def period_end(anchor: int, start: int, interval: str, count: int) -> int:
    """The first end of a billing period after `start`, counted from `anchor` (seconds).

    A month is a calendar month; an anchor on the 31st ends on the last day of shorter months
    (docs.stripe.com/billing/subscriptions/billing-cycle).
    """
    n = 1
    while (end := _step(anchor, n * count, interval)) <= start:
        n += 1
    return end


def _step(anchor: int, n: int, interval: str) -> int:
    if interval in {"day", "week"}:
        return anchor + n * (86_400 if interval == "day" else 7 * 86_400)
    at = datetime.fromtimestamp(anchor, UTC)
    months = at.year * 12 + at.month - 1 + n * (12 if interval == "year" else 1)
    year, month = divmod(months, 12)
    day = min(at.day, calendar.monthrange(year, month + 1)[1])
    return int(at.replace(year=year, month=month + 1, day=day).timestamp())
