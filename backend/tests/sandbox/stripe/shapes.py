"""Does an object look as the SDK's classes say it does?"""

from __future__ import annotations

import builtins
import typing
from typing import Any, Literal, Union, get_args, get_origin

import stripe
from stripe._object_classes import get_object_class
from stripe._stripe_object import StripeObject

LEFT_OUT = {"deleted"}
"""Members that only other states of an object have."""


def complaints(item: dict[str, Any], where: str = "") -> list[str]:
    """Unknown members, missing ones that are not optional, and words that are not in the list."""
    return list(_object(item, get_object_class("V1", item["object"]), where or item["object"]))


def _object(item: dict[str, Any], kind: type, where: str) -> Any:
    hints = _hints(kind)
    for name in item:
        if name not in hints and name != "object":
            yield f"{where}.{name} is unknown"
    for name, hint in hints.items():
        if name not in item:
            if not _optional(hint) and name not in LEFT_OUT:
                yield f"{where}.{name} is missing"
            continue
        yield from _value(item[name], hint, f"{where}.{name}")


def _value(value: Any, hint: Any, where: str) -> Any:
    if value is None:
        if not _optional(hint):
            yield f"{where} is null"
        return
    parts = [part for part in _flat(hint) if part is not type(None)]
    words = [word for part in parts if get_origin(part) is Literal for word in get_args(part)]
    if words and isinstance(value, str) and value not in words:
        yield f"{where} = {value!r} is not one of {words}"
    if isinstance(value, dict):
        if isinstance(value.get("object"), str) and value["object"] != "list":
            yield from complaints(value, where)
            return
        for part in parts:
            if isinstance(part, type) and issubclass(part, StripeObject) and _hints(part):
                yield from _object(value, part, where)
                return
        if value.get("object") == "list":
            for n, one in enumerate(value["data"]):
                yield from complaints(one, f"{where}[{n}]")
    elif isinstance(value, list):
        inner = [get_args(part)[0] for part in parts if get_origin(part) is list]
        for n, one in enumerate(value):
            if inner:
                yield from _value(one, inner[0], f"{where}[{n}]")
    elif int in parts and (isinstance(value, bool) or not isinstance(value, int)):
        yield f"{where} = {value!r} is not an integer"


class _Names(dict[str, Any]):
    """Names inside a class, then those of the SDK, which loads its own when asked."""

    def __missing__(self, name: str) -> Any:
        if hasattr(typing, name) or hasattr(builtins, name):
            raise KeyError(name)
        return getattr(stripe, name)


def _hints(kind: type) -> dict[str, Any]:
    """Of this class only; the annotations of the base are the SDK's own affairs."""
    found: dict[str, Any] = {}
    for name, hint in vars(kind).get("__annotations__", {}).items():
        if name.startswith("_") or get_origin(hint) is typing.ClassVar or name == "OBJECT_NAME":
            continue
        found[name] = (
            eval(hint, dict(vars(typing)), _Names(vars(kind))) if isinstance(hint, str) else hint
        )
    return found


def _flat(hint: Any) -> list[Any]:
    if get_origin(hint) is Union:
        return [inner for part in get_args(hint) for inner in _flat(part)]
    return [hint]


def _optional(hint: Any) -> bool:
    return type(None) in _flat(hint)
