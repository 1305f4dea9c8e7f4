"""Request validation against the SDK's own types.

`stripe.params.*` are TypedDicts generated for exactly the API version the SDK pins. Each becomes a
closed pydantic model, so an unknown, removed, misspelt or missing parameter is refused as Stripe
refuses it, without a hand-written schema.
"""

from __future__ import annotations

import importlib
import re
import sys
import types
import typing
from functools import cache
from typing import Annotated, Any

import stripe
import stripe._stripe_context  # The SDK imports it for type checkers only, and its types name it.
import stripe.params
import typing_extensions as te
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model
from stripe._request_options import RequestOptions
from stripe._stripe_object import UntypedStripeObject

from sandbox.stripe import forms
from sandbox.stripe.errors import StripeError

REMOVED = {"payment_method_types": "payment_method_types_no_longer_supported"}
"""Parameters the pinned version took away, and the code Stripe answers with (endive changelog)."""
_TYPE_TAG = re.compile(r"[\[\]().\-]|^C_|^(int|str|bool|float|decimal)$")
_UNIONS: tuple[Any, ...] = (typing.Union, types.UnionType)
_RANK = ("extra_forbidden", "missing", "int_parsing", "literal_error")


class _Names(dict[str, Any]):
    """Names the SDK imports only for type checkers, found in its modules when asked."""

    def __missing__(self, key: str) -> Any:
        for module in list(sys.modules.values()):
            if getattr(module, "__name__", "").startswith("stripe") and key in vars(module):
                return vars(module)[key]
        raise KeyError(key)


def check(path: str, given: dict[str, Any]) -> dict[str, Any]:
    """Typed parameters of `path`, such as "_customer_create_params.CustomerCreateParams".

    Raises StripeError 400 with Stripe's code and the parameter's name.
    """
    try:
        parsed = _params(path).model_validate(given)
    except ValidationError as error:
        raise _refusal(error) from None
    return parsed.model_dump(exclude_unset=True, by_alias=True)


@cache
def _params(path: str) -> type[BaseModel]:
    module, _, name = path.rpartition(".")
    return _model(getattr(importlib.import_module(f"stripe.params.{module}"), name))


@cache
def _model(typed: Any) -> type[BaseModel]:
    names = {**vars(typing), **vars(te), **vars(stripe), **vars(sys.modules[typed.__module__])}
    hints = te.get_type_hints(typed, globalns=names, localns=_Names(), include_extras=True)
    fields: dict[str, Any] = {
        # The prefix keeps parameters such as `validate` apart from pydantic's own methods.
        f"p_{name}": (
            _convert(hint),
            Field(... if name in typed.__required_keys__ else None, alias=name),
        )
        for name, hint in hints.items()
        if name not in RequestOptions.__annotations__
    }
    return create_model(
        "C_" + typed.__name__,
        __config__=ConfigDict(extra="forbid", protected_namespaces=()),
        **fields,
    )


def _convert(hint: Any) -> Any:
    origin, arguments = te.get_origin(hint), te.get_args(hint)
    if origin in (te.NotRequired, te.Required):
        return _convert(arguments[0])
    if te.is_typeddict(hint):
        return _model(hint)
    if origin in _UNIONS:
        # The SDK opens enumerations with `| str`; the server's are closed.
        closed = any(_enumerates(part) for part in arguments)
        return typing.Union[  # noqa: UP007 - built from a tuple
            tuple(_convert(part) for part in arguments if not (closed and part is str))
        ]
    if origin is list:
        return Annotated[list[_convert(arguments[0])], BeforeValidator(forms.as_list)]  # type: ignore[misc]
    if origin is dict:
        return dict[_convert(arguments[0]), _convert(arguments[1])]  # type: ignore[misc]
    if origin is UntypedStripeObject:
        return dict[str, str]
    return hint


def _enumerates(hint: Any) -> bool:
    """A choice of words; a lone "" only says that the value can be unset."""
    origin: Any = te.get_origin(hint)
    return origin is te.Literal and te.get_args(hint) != ("",)


def _refusal(error: ValidationError) -> StripeError:
    """The most telling of the complaints, in Stripe's words."""
    problems = error.errors(include_url=False)
    problem = min(
        problems, key=lambda p: _RANK.index(p["type"]) if p["type"] in _RANK else len(_RANK)
    )
    path = tuple(
        part for part in problem["loc"] if isinstance(part, int) or not _TYPE_TAG.search(part)
    )
    param, kind, value = forms.name(path), problem["type"], problem["input"]
    if kind == "extra_forbidden":
        code = REMOVED.get(str(path[-1]), "parameter_unknown")
        return _refused(f"Received unknown parameter: {param}", param, code)
    if kind == "missing":
        return _refused(f"Missing required param: {param}.", param, "parameter_missing")
    if kind == "literal_error":
        allowed = problem.get("ctx", {}).get("expected", "")
        return _refused(f"Invalid {param}: must be one of {allowed}", param, None)
    if kind.startswith("int"):
        return _refused(f"Invalid integer: {value}", param, "parameter_invalid_integer")
    if kind.startswith("bool"):
        return _refused(f"Invalid boolean: {value}", param, None)
    wanted = {"list_type": "array", "model_type": "object", "dict_type": "object"}
    return _refused(f"Invalid {wanted.get(kind, 'value')} for {param}: {value!r}", param, None)


def _refused(message: str, param: str, code: str | None) -> StripeError:
    return StripeError(message, param=param, code=code, executed=False)
