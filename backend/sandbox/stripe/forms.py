"""Stripe's form encoding: `items[0][price]=p&expand[]=a` to nested dictionaries and back to names.

Lists stay dictionaries with numbers for keys here, because only the parameter's type says whether
`metadata[0]` is a list; `as_list` turns one into the other when the type is known.
"""

from __future__ import annotations

import re
import urllib.parse
from typing import Any

from sandbox.stripe.errors import StripeError

_NAME = re.compile(r"^([^\[\]]+)((?:\[[^\[\]]*\])*)$")
_PART = re.compile(r"\[([^\[\]]*)\]")


def decode(encoded: str) -> dict[str, Any]:
    """Raises StripeError for a name that cannot be read or is used twice in different shapes."""
    root: dict[str, Any] = {}
    for name, value in urllib.parse.parse_qsl(encoded, keep_blank_values=True):
        match = _NAME.match(name)
        if match is None:
            raise StripeError(f"Invalid parameter name: {name}", executed=False)
        path = [match[1], *_PART.findall(match[2])]
        place = root
        for part in path[:-1]:
            place = place.setdefault(part or str(len(place)), {})
            if not isinstance(place, dict):
                raise StripeError(f"Invalid request: {name} has two shapes.", executed=False)
        place[path[-1] or str(len(place))] = value
    return root


def as_list(value: Any) -> Any:
    """{"0": a, "1": b} to [a, b]; anything else is left for the type check to refuse."""
    if isinstance(value, dict) and all(key.isdigit() for key in value):
        return [value[key] for key in sorted(value, key=int)]
    return value


def name(path: tuple[str | int, ...]) -> str:
    """("items", 0, "price") to `items[0][price]`, as Stripe names a parameter in errors."""
    return "".join(str(part) if n == 0 else f"[{part}]" for n, part in enumerate(path))
