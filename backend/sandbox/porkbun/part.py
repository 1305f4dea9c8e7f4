"""The HTTP surface of the second registrar: JSON, keys in headers or in the body."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from sandbox.porkbun.books import Books, Refusal
from sandbox.world import World

PREFIX = "/api/json/v3"
KEEP_ANSWERS_SECONDS = 24 * 3600


class PorkbunPart:
    """Served at /porkbun/api/json/v3."""

    name = "porkbun"

    def __init__(self, world: World) -> None:
        self.world = world
        self.books = Books(world)
        self.calls: deque[str] = deque(maxlen=1000)
        self._checks: deque[float] = deque()

    def asgi(self) -> ASGIApp | None:
        return Starlette(
            routes=[
                Route(f"{PREFIX}/{{area}}/{{verb}}", self._serve, methods=["GET", "POST"]),
                Route(f"{PREFIX}/{{area}}/{{verb}}/{{name}}", self._serve, methods=["GET", "POST"]),
            ]
        )

    async def start(self) -> None:
        """Nothing runs in the background."""

    async def stop(self) -> None:
        """Nothing to close."""

    async def tick(self) -> None:
        """Nothing is due by itself."""

    def control(self) -> list[BaseRoute]:
        return [
            Route("/settings", self._settings, methods=["GET", "POST"]),
            Route("/domains", self._domains),
            Route("/orders", self._orders),
            Route("/calls", self._calls, methods=["GET", "DELETE"]),
        ]

    async def _serve(self, request: Request) -> Response:
        area, verb = request.path_params["area"], request.path_params["verb"]
        name = request.path_params.get("name", "")
        self.calls.append(f"{request.method} {area}/{verb}")
        try:
            body = await _body(request)
            self._authenticate(request, body)
            told = self._answer(request, area, verb, name, body)
        except Refusal as error:
            fields = {"status": "ERROR", "code": error.code, "message": error.message}
            return JSONResponse(fields, error.status)
        return JSONResponse({"status": "SUCCESS", **told})

    def _answer(
        self, request: Request, area: str, verb: str, name: str, body: dict[str, Any]
    ) -> dict[str, Any]:
        match (request.method, area, verb):
            case ("POST", "domain", "checkDomain"):
                return {"response": self.books.check(name), "limits": self._check_limit()}
            case ("POST", "domain", "create"):
                return self._once(request, name, body, self.books.create)
            case ("POST", "domain", "renew"):
                return self._once(request, name, body, self.books.renew)
            case ("GET", "domain", "get"):
                return {"domain": self.books.owned(name)}
            case ("GET", "domain", "getNs"):
                return {"ns": self.books.owned(name)["ns"]}
            case ("POST", "domain", "updateNs"):
                return self.books.set_servers(name, body)
            case ("GET", "account", "balance"):
                cents = self.books.settings["balance"]
                return {"balance": cents, "display": f"${cents / 100:.2f}"}
            case _:
                raise Refusal("NOT_FOUND", "No such endpoint.", 404)

    def _once(
        self,
        request: Request,
        name: str,
        body: dict[str, Any],
        order: Callable[[str, dict[str, Any]], dict[str, Any]],
    ) -> dict[str, Any]:
        """An order with a key that was used within a day is answered as it was then."""
        key, now = request.headers.get("idempotency-key"), self.world.clock.timestamp()
        kept = self.books.answers.get(key) if key else None
        if kept is not None and kept["at"] > now - KEEP_ANSWERS_SECONDS:
            return dict(kept["told"])
        told = order(name, body)
        if key:
            self.books.answers[key] = {"at": now, "told": told}
        return told

    def _check_limit(self) -> dict[str, Any]:
        """One check in ten seconds when the setting says 1; none when it is null."""
        allowed, now = self.books.settings["checks"], self.world.clock.now().timestamp()
        while self._checks and self._checks[0] <= now - 10:
            self._checks.popleft()
        if allowed is not None and len(self._checks) >= allowed:
            raise Refusal("RATE_LIMIT", "Too many checks within 10 seconds.", 429)
        self._checks.append(now)
        return {"TTL": "10", "limit": str(allowed or 1000), "used": len(self._checks)}

    def _authenticate(self, request: Request, body: dict[str, Any]) -> None:
        given = (
            request.headers.get("x-api-key") or body.get("apikey"),
            request.headers.get("x-secret-api-key") or body.get("secretapikey"),
        )
        env = self.world.config.env
        wanted = (
            env.get("PORKBUN_API_KEY") or "pk1_sandbox",
            env.get("PORKBUN_SECRET_API_KEY") or "sk1_sandbox",
        )
        if given != wanted:
            raise Refusal("INVALID_API_KEYS", "Invalid API key.", 403)

    async def _settings(self, request: Request) -> JSONResponse:
        if request.method == "POST":
            changed = await request.json()
            self.books.change(**{k: v for k, v in changed.items() if k in self.books.settings})
            self._checks.clear()
        return JSONResponse(self.books.settings)

    async def _domains(self, _: Request) -> JSONResponse:
        return JSONResponse({"domains": list(self.books.domains.values())})

    async def _orders(self, _: Request) -> JSONResponse:
        return JSONResponse({"orders": list(self.books.orders.values())})

    async def _calls(self, request: Request) -> JSONResponse:
        if request.method == "DELETE":
            self.calls.clear()
        return JSONResponse({"calls": list(self.calls)})


async def _body(request: Request) -> dict[str, Any]:
    text = await request.body()
    try:
        body = json.loads(text or b"{}")
    except ValueError:
        raise Refusal("INVALID_JSON", "The body is not JSON.") from None
    if not isinstance(body, dict):
        raise Refusal("INVALID_JSON", "The body is not an object.")
    return body
