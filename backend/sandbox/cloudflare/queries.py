"""Filters and pages of the two lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sandbox.cloudflare.envelope import Refused

Params = Mapping[str, str]
TESTS: dict[str, Callable[[str, str], bool]] = {
    "exact": lambda value, wanted: value == wanted,
    "contains": lambda value, wanted: wanted in value,
    "startswith": lambda value, wanted: value.startswith(wanted),
    "endswith": lambda value, wanted: value.endswith(wanted),
}
FIELDS = ("name", "content", "comment")


def bounds(params: Params, default: int, low: int, high: int) -> tuple[int, int]:
    """(page, per_page); refuses what is not a number or out of range."""
    try:
        page, size = int(params.get("page", 1)), int(params.get("per_page", default))
    except ValueError as error:
        raise Refused(400, 9207, "page and per_page are numbers.") from error
    if page < 1 or not low <= size <= high:
        raise Refused(400, 9207, f"per_page is between {low} and {high}, page starts at 1.")
    return page, size


def records(items: list[dict[str, Any]], params: Params) -> list[dict[str, Any]]:
    """Filters such as `type=`, `name.exact=`, `content.contains=`, `search=` and `match=any`."""
    tests = _tests(params)
    agree = any if params.get("match") == "any" and tests else all
    found = [item for item in items if agree(test(item) for test in tests)]
    order = params.get("order", "")
    if order in {"type", "name", "content", "ttl", "proxied"}:
        found.sort(key=lambda item: str(item[order]), reverse=params.get("direction") == "desc")
    return found


def _tests(params: Params) -> list[Callable[[dict[str, Any]], bool]]:
    tests: list[Callable[[dict[str, Any]], bool]] = []
    for given, wanted in params.items():
        field, _, how = given.partition(".")
        if field in FIELDS and (how or "exact") in TESTS:
            tests.append(_compare(field, TESTS[how or "exact"], wanted))
        elif given == "type":
            tests.append(_compare("type", TESTS["exact"], wanted))
        elif given == "proxied":
            tests.append(_compare("proxied", TESTS["exact"], wanted))
        elif given == "search":
            tests.append(lambda item, wanted=wanted: _anywhere(item, wanted))  # type: ignore[misc]
    return tests


def _compare(
    field: str, test: Callable[[str, str], bool], wanted: str
) -> Callable[[dict[str, Any]], bool]:
    # Names and texts are compared without regard to case, as the API says.
    return lambda item: test(str(item[field] or "").lower(), wanted.lower())


def _anywhere(item: dict[str, Any], wanted: str) -> bool:
    return any(wanted.lower() in str(item[field] or "").lower() for field in FIELDS)


def zones(items: list[dict[str, Any]], params: Params) -> list[dict[str, Any]]:
    found = items
    for name in ("name", "status"):
        if name in params:
            found = [item for item in found if item[name] == params[name].lower()]
    return found
