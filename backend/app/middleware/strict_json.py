"""What we take for JSON: narrower than Python's parser, so that nobody reads a text differently.

Two parsers that disagree about a text are a hole (RFC 8259, 4 and 8): with a repeated name one sees
the first value and another the last. What PostgreSQL cannot store is refused here as well, and what
only serves to exhaust whoever reads it.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from app.errors import Invalid

MAX_DEPTH = 64
_INT64 = 2**63
_NO_JSON = {
    "field": "body",
    "location": "body",
    "message": "This is not JSON.",
    "type": "json_invalid",
}
_DIGITS = 20
"""As many as a 64-bit number can have, with its sign."""


def check(body: bytes) -> None:
    """Raises Invalid unless `body` is UTF-8 JSON with unique names, 64-bit integers, finite numbers
    and text without NUL and unpaired surrogates, nested at most `MAX_DEPTH` deep; or empty.
    """
    if not body:
        return
    try:
        value = json.loads(
            body.decode(),
            object_pairs_hook=_unique,
            parse_int=_integer,
            parse_float=_finite,
            parse_constant=_no_number,
        )
    except UnicodeDecodeError:
        raise Invalid("JSON is sent in UTF-8.") from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError:
        # Not left to the next parser, which would try UTF-16 as well.
        raise Invalid("The request is not valid: body.", fields=[_NO_JSON]) from None
    _walk(value, escaped=b"\\u" in body)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Invalid("A name occurs twice in one object.")
    return members


def _integer(digits: str) -> int:
    if len(digits) > _DIGITS or not -_INT64 <= int(digits) < _INT64:
        raise Invalid("A whole number does not fit into 64 bits.")
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise Invalid("A number is too large.")
    return number


def _no_number(name: str) -> NoReturn:
    raise Invalid(f"{name} is not a number in JSON.")


def _walk(value: Any, *, escaped: bool) -> None:
    """Level by level, because a recursion has a depth of its own."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise _too_deep()
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(item)
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
            elif escaped and isinstance(item, str):
                # Without an escape there is neither: NUL is no JSON, and UTF-8 has no surrogates.
                _storable(item)
        level = below


def _storable(text: str) -> None:
    if "\0" in text:
        raise Invalid("NUL characters are not accepted.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Invalid("Unpaired surrogate characters are not accepted.") from None


def _too_deep() -> Invalid:
    return Invalid(f"JSON is nested more than {MAX_DEPTH} deep.")
