"""List answers: newest first, cursors, filters on `created`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sandbox.stripe.account import Object
from sandbox.stripe.errors import invalid, missing

_COMPARE = {
    "gt": int.__gt__,
    "gte": int.__ge__,
    "lt": int.__lt__,
    "lte": int.__le__,
}


def envelope(items: list[Object], url: str, has_more: bool = False) -> Object:
    return {"object": "list", "data": items, "has_more": has_more, "url": url}


def page(items: Iterable[Object], params: dict[str, Any], url: str) -> Object:
    """One page of `items` (given oldest first). `limit` is 1 to 100, 10 by default.

    Raises StripeError for a cursor that names nothing in the list or a limit out of range.
    """
    newest = [item for item in reversed(list(items)) if _created(item, params.get("created"))]
    limit = params.get("limit", 10)
    if not 1 <= limit <= 100:
        raise invalid("Invalid limit: must be between 1 and 100.", "limit")
    if after := params.get("starting_after"):
        newest = newest[_position(newest, after, "starting_after") + 1 :]
    if before := params.get("ending_before"):
        newest = newest[: _position(newest, before, "ending_before")]
        # Going backwards, a page is the items nearest to the cursor.
        return envelope(newest[-limit:], url, len(newest) > limit)
    return envelope(newest[:limit], url, len(newest) > limit)


def _position(items: list[Object], wanted: str, param: str) -> int:
    for n, item in enumerate(items):
        if item["id"] == wanted:
            return n
    raise missing("object", wanted, param)


def _created(item: Object, wanted: int | dict[str, int] | None) -> bool:
    if wanted is None:
        return True
    if isinstance(wanted, int):
        return bool(item["created"] == wanted)
    return all(_COMPARE[name](item["created"], bound) for name, bound in wanted.items())
