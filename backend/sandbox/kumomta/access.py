"""Who may call the HTTP API: kumod's authentication and access lists, with the policy's handlers.

Source: crates/kumo-server-common/src/http_server/auth.rs and assets/acls/default.toml.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response

from sandbox.clock import VirtualClock
from sandbox.kumomta.lua_object import Config
from sandbox.kumomta.lua_state import MISSING, PolicyFailed, Rejected
from sandbox.kumomta.policy import Policy

TRUSTED = "kumomta:http-listener-trusted-ip"
# kumod caches the outcome per credential, good or bad.
AUTH_SECONDS = 60.0

_ANYONE = {"Any": True}
_TRUSTED = {"Group": TRUSTED}
_LOGGED_IN = {"Authenticated": True}
# assets/acls/default.toml, the entries of the paths that exist here.
_DEFAULTS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "/api/check-liveness": [("GET", _ANYONE)],
    "/api/inject": [("POST", _TRUSTED), ("POST", _LOGGED_IN)],
    "/api/admin": [("GET", _TRUSTED), ("DELETE", _TRUSTED), ("POST", _TRUSTED)],
    "/api/machine-info": [("GET", _TRUSTED)],
    "/metrics": [("GET", _TRUSTED)],
    "/metrics.json": [("GET", _TRUSTED)],
}


@dataclass
class Caller:
    identities: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)

    def matches(self, criteria: dict[str, Any]) -> bool:
        """An Identity criterion of an access list."""
        if "Any" in criteria:
            return True
        if "Authenticated" in criteria:
            return bool(self.identities)
        if "Group" in criteria:
            return criteria["Group"] in self.groups
        return criteria.get("Individual") in self.identities


class Access:
    """`listeners` are the start_http_listener calls of the policy."""

    def __init__(
        self,
        policy: Policy,
        clock: VirtualClock,
        listeners: Callable[[], list[dict[str, Any]]],
    ) -> None:
        self._policy, self._clock, self._listeners = policy, clock, listeners
        self._cache: dict[str, tuple[float, Any]] = {}

    def forget(self) -> None:
        self._cache.clear()

    def guard(
        self, endpoint: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            refusal = await self._refusal(request)
            return refusal if refusal is not None else await endpoint(request)

        return guarded

    async def _refusal(self, request: Request) -> Response | None:
        caller = Caller()
        listener = next(iter(self._listeners()), {})
        if _trusted(request, listener.get("trusted_hosts", ["127.0.0.1", "::1"])):
            caller.groups.append(TRUSTED)
        header = request.headers.get("authorization")
        if header is not None:
            refusal = await self._authenticate(header, caller)
            if refusal is not None:
                return refusal
        path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
        if await self._allowed(path, request.method, caller, listener.get("listen", "*")):
            return None
        return PlainTextResponse("You are not authorized for this request", 401)

    async def _authenticate(self, header: str, caller: Caller) -> Response | None:
        kind, _, contents = header.partition(" ")
        event, arguments, identity = "http_server_validate_auth_bearer", [contents], ""
        if kind == "Basic":
            try:
                user, _, password = base64.b64decode(contents).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                return PlainTextResponse("Malformed Authorization header", 400)
            event, arguments, identity = "http_server_validate_auth_basic", [user, password], user
        elif kind != "Bearer":
            return PlainTextResponse("Malformed or unsupported Authorization header", 400)
        outcome = await self._validated(header, event, arguments)
        if isinstance(outcome, Exception):
            return PlainTextResponse("try again later", 500)
        if outcome is True:
            caller.identities.append(identity)
        elif isinstance(outcome, dict):
            caller.identities += [entry["identity"] for entry in outcome.get("identities", [])]
            caller.groups += outcome.get("groups", [])
        else:
            return PlainTextResponse(f"{kind} Authentication Failed for {identity}", 401)
        return None

    async def _validated(self, header: str, event: str, arguments: list[str]) -> Any:
        now = self._clock.now().timestamp()
        kept = self._cache.get(header)
        if kept is not None and kept[0] > now:
            return kept[1]
        try:
            outcome = await self._policy.fire(event, *arguments)
        except (Rejected, PolicyFailed) as error:
            outcome = error
        self._cache[header] = (now + AUTH_SECONDS, False if outcome is MISSING else outcome)
        return self._cache[header][1]

    async def _allowed(self, path: str, method: str, caller: Caller, listen: str) -> bool:
        """The first rule that fits decides, from the path itself up to its parents; else no."""
        pieces = path.rstrip("/").split("/")
        for length in range(len(pieces), 1, -1):
            part = "/".join(pieces[:length])
            for place in (listen, "*"):
                for privilege, criteria in await self._rules(f"http_listener/{place}{part}", part):
                    if privilege == method and caller.matches(criteria):
                        return True
        return False

    async def _rules(self, resource: str, part: str) -> list[tuple[str, dict[str, Any]]]:
        made = await self._policy.fire("get_acl_definition", resource)
        if isinstance(made, Config):
            return [
                (rule["privilege"], rule["criteria"].get("Identity", {}))
                for rule in made.values["rules"]
                if rule["access"] == "Allow"
            ]
        return _DEFAULTS.get(part, []) if resource.startswith("http_listener/*") else []


def _trusted(request: HTTPConnection, hosts: list[str]) -> bool:
    if request.client is None:
        return False
    try:
        address = ipaddress.ip_address(request.client.host)
    except ValueError:
        return False
    return any(address in ipaddress.ip_network(host, strict=False) for host in hosts)
