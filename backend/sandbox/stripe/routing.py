"""How a request finds its handler: method, address, parameter type."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from sandbox.stripe.account import Object

Handler = Callable[..., Object]
LISTED = "created ending_before limit starting_after "
"""What every list takes."""


@dataclass(frozen=True)
class Route:
    """`accepts` are the parameters of the type that have an effect here (or none by nature).

    `client` marks what a browser may do with the publishable key and the object's secret.
    """

    method: str
    path: str
    handler: Handler
    params: str
    accepts: frozenset[str]
    client: bool = False

    def match(self, method: str, path: str) -> dict[str, str] | None:
        if method != self.method:
            return None
        found = re.fullmatch(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", self.path), path)
        return found.groupdict() if found else None


def route(
    method: str, path: str, handler: Handler, params: str, accepts: str = "", client: bool = False
) -> Route:
    return Route(
        method, f"/v1{path}", handler, params, frozenset(accepts.split()) | {"expand"}, client
    )


def typed_of(name: str) -> Callable[[str], str]:
    """ "customer" and "create" to "_customer_create_params.CustomerCreateParams"."""
    camel = "".join(part.title() for part in name.split("_"))

    def typed(verb: str) -> str:
        return f"_{name}_{verb}_params.{camel}{''.join(p.title() for p in verb.split('_'))}Params"

    return typed
