"""The HTTP surface of the registrar: one door, one parameter that says which command."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any
from urllib.parse import parse_qsl
from xml.etree import ElementTree as ET

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from sandbox.namecheap import account, domains, holdings, orders
from sandbox.namecheap.answers import Refusal, document, refuse
from sandbox.namecheap.limits import Limiter
from sandbox.namecheap.registry import Registry
from sandbox.world import World

COMMANDS: dict[str, Callable[[Registry, Mapping[str, str]], list[ET.Element]]] = {
    **domains.COMMANDS,
    **holdings.COMMANDS,
    **account.COMMANDS,
    "namecheap.domains.create": orders.create,
    "namecheap.domains.renew": orders.renew,
    "namecheap.domains.reactivate": orders.reactivate,
}
# Callers spell commands in any case; the answer carries the provider's spelling.
SPELLING = {name.lower(): name for name in COMMANDS}
CALLS_KEPT = 1000


class NamecheapPart:
    """Accounts, names and money of the registrar, served at /namecheap/xml.response."""

    name = "namecheap"

    def __init__(self, world: World) -> None:
        self.world = world
        self.registry = Registry(world)
        self.limiter = Limiter()
        self.calls: deque[dict[str, Any]] = deque(maxlen=CALLS_KEPT)
        self.counted: Counter[tuple[str, str]] = Counter()
        """All calls by command and outcome, those too that are kept no longer."""

    def asgi(self) -> ASGIApp | None:
        return Starlette(routes=[Route("/xml.response", self._serve, methods=["GET", "POST"])])

    async def start(self) -> None:
        """Nothing runs in the background: everything due is done at the tick."""

    async def stop(self) -> None:
        """Nothing to close."""

    async def tick(self) -> None:
        self.registry.tick()

    def control(self) -> list[BaseRoute]:
        return [
            Route("/settings", self._settings, methods=["GET", "POST"]),
            Route("/domains", self._domains),
            Route("/orders", self._orders),
            Route("/calls", self._calls, methods=["GET", "DELETE"]),
            Route("/elsewhere", self._elsewhere, methods=["GET", "POST", "DELETE"]),
        ]

    async def _serve(self, request: Request) -> Response:
        started = perf_counter()
        if not self.limiter.admit(
            self.world.clock.now().timestamp(), self.registry.settings.limits
        ):
            self._note(request.method, {}, "405")
            return Response("Too many requests", 405, media_type="text/html")
        params = dict(request.query_params)
        body = (await request.body()).decode("utf-8", "replace")
        params.update(parse_qsl(body, keep_blank_values=True))
        command = SPELLING.get(params.get("Command", "").strip().lower(), "")
        try:
            self._authenticate(params)
            if not command:
                raise refuse(1050900, f"Unknown command {params.get('Command')}")
            answer = COMMANDS[command](self.registry, params)
        except Refusal as refusal:
            results = [] if refusal.body is None else [refusal.body]
            xml = document(command, results, refusal.errors, perf_counter() - started)
            self._note(request.method, params, ",".join(str(n) for n, _ in refusal.errors))
        else:
            xml = document(command, answer, (), perf_counter() - started)
            self._note(request.method, params, "OK")
        if _is_slow(params):
            # The effect has happened: only the answer is late, as it is at the provider.
            await asyncio.sleep(self.registry.settings.slow_seconds)
        return Response(xml, media_type="text/xml")

    def _authenticate(self, params: Mapping[str, str]) -> None:
        missing = [
            (number, f"Parameter {name} is missing")
            for number, name in (
                (1010101, "ApiUser"),
                (1010102, "ApiKey"),
                (1010103, "UserName"),
                (1010104, "Command"),
                (1010105, "ClientIp"),
            )
            if not params.get(name, "").strip()
        ]
        if missing:
            raise Refusal(*missing)
        config = self.world.config
        if (params["ApiUser"], params["ApiKey"]) != (
            config.namecheap_api_user,
            config.namecheap_api_key,
        ):
            raise refuse(1011102, "API Key is invalid or API access has not been enabled")
        if params["UserName"] != params["ApiUser"]:
            raise refuse(1019103, "UserName is not available")
        if params["ClientIp"] not in self.registry.settings.client_ips:
            raise refuse(1011150, f"Invalid request IP: {params['ClientIp']}")

    def _note(self, method: str, params: Mapping[str, str], outcome: str) -> None:
        """Remember the call for people and tests; never the key nor the contacts."""
        self.counted[params.get("Command", ""), outcome] += 1
        self.calls.append(
            {
                "at": self.world.clock.now().isoformat(),
                "method": method,
                "command": params.get("Command", ""),
                "domain": _subject(params),
                "outcome": outcome,
            }
        )

    async def _settings(self, request: Request) -> JSONResponse:
        if request.method == "POST":
            try:
                self.registry.settings.change(await request.json())
            except (TypeError, ValueError, AttributeError) as error:
                return JSONResponse({"error": str(error)}, 400)
            self.limiter.forget()
        return JSONResponse(self.registry.settings.as_json())

    async def _domains(self, _: Request) -> JSONResponse:
        return JSONResponse({"domains": list(self.registry.domains.values())})

    async def _orders(self, _: Request) -> JSONResponse:
        return JSONResponse({"orders": list(self.registry.orders.values())})

    async def _calls(self, request: Request) -> JSONResponse:
        if request.method == "DELETE":
            self.calls.clear()
            self.counted.clear()
        counted = [
            {"command": command, "outcome": outcome, "count": count}
            for (command, outcome), count in self.counted.most_common()
        ]
        return JSONResponse({"calls": list(self.calls), "counted": counted})

    async def _elsewhere(self, request: Request) -> JSONResponse:
        """Names that somebody holds at another registrar: {"domain", "name_servers": […]}."""
        if request.method != "GET":
            body = await request.json()
            name = str(body.get("domain", "")).strip().lower().rstrip(".")
            if "." not in name or name in self.registry.domains:
                return JSONResponse({"error": "Give a domain that is not registered here."}, 400)
            if request.method == "DELETE":
                self.registry.elsewhere.pop(name, None)
            else:
                servers = [str(host).lower().rstrip(".") for host in body.get("name_servers", [])]
                self.registry.elsewhere[name] = {"name_servers": servers}
            self.registry.refresh()
        return JSONResponse(
            {name: doc["name_servers"] for name, doc in self.registry.elsewhere.items()}
        )


def _subject(params: Mapping[str, str]) -> str:
    if "SLD" in params:
        return f"{params['SLD']}.{params.get('TLD', '')}".lower()
    return (params.get("DomainName") or params.get("DomainList") or "").lower()


def _is_slow(params: Mapping[str, str]) -> bool:
    return any(name.strip().startswith("slow-") for name in _subject(params).split(","))
