"""The HTTP surface: zones, records, batches; the token at the door."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from sandbox.cloudflare import batch, queries, records
from sandbox.cloudflare.envelope import Refused, failure, page, success
from sandbox.cloudflare.limits import Limits
from sandbox.cloudflare.zones import Zones
from sandbox.namecheap import delegations
from sandbox.world import World

Handler = Callable[[Request], Awaitable[Response]]
BASE = "/client/v4"
ZONE_KEYS = frozenset({"name", "account", "type", "jump_start"})
DOMAIN = re.compile(r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{1,62}$")


class CloudflarePart:
    """Zones of one account, served at /cloudflare/client/v4."""

    name = "cloudflare"

    def __init__(self, world: World) -> None:
        self.world = world
        self.zones = Zones(world, lambda: delegations(world))
        self.limits = Limits(world)

    def asgi(self) -> ASGIApp | None:
        zone, record = "/zones/{zone}", "/zones/{zone}/dns_records/{record}"
        table: list[tuple[str, str, Handler]] = [
            ("GET", "/user/tokens/verify", self._verify),
            ("GET", "/zones", self._list_zones),
            ("POST", "/zones", self._create_zone),
            ("GET", zone, self._get_zone),
            ("DELETE", zone, self._delete_zone),
            ("PUT", zone + "/activation_check", self._check_activation),
            ("GET", zone + "/dns_records", self._list_records),
            ("POST", zone + "/dns_records", self._create_record),
            ("POST", zone + "/dns_records/batch", self._batch),
            ("GET", record, self._get_record),
            ("PUT", record, self._change_record),
            ("PATCH", record, self._change_record),
            ("DELETE", record, self._delete_record),
        ]
        routes = [Route(BASE + path, self._guarded(to), methods=[m]) for m, path, to in table]
        unknown = self._guarded(self._unknown)
        everything = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        return Starlette(routes=[*routes, Route("/{path:path}", unknown, methods=everything)])

    async def start(self) -> None:
        """Nothing runs in the background: everything due is done at the tick."""

    async def stop(self) -> None:
        """Nothing to close."""

    async def tick(self) -> None:
        self.zones.tick()

    def control(self) -> list[BaseRoute]:
        return [
            Route("/settings", self._settings, methods=["GET", "POST"]),
            Route("/zones", self._everything),
            Route("/requests", self._requests),
        ]

    async def _requests(self, _: Request) -> JSONResponse:
        """How many were served since the start, and how many the limiter sent away."""
        return JSONResponse({"served": self.limits.served, "refused": self.limits.refused})

    def _guarded(self, handler: Handler) -> Handler:
        """Limits, then the token, then the work; every refusal in the envelope."""

        async def serve(request: Request) -> Response:
            wait = self.limits.admit()
            if wait:
                message = "Please wait and consider throttling your request speed"
                response = failure(Refused(429, 971, message))
                response.headers["Retry-After"] = str(wait)
                return response
            try:
                self._authenticate(request)
                answer = await handler(request)
            except Refused as refused:
                answer = failure(refused)
            answer.headers.update(self.limits.headers())
            return answer

        return serve

    def _authenticate(self, request: Request) -> None:
        given = request.headers.get("authorization", "")
        if not given:
            message = "Missing X-Auth-Key, X-Auth-Email or Authorization headers"
            raise Refused(400, 9106, message)
        scheme, _, token = given.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Refused(400, 6003, "Invalid request headers")
        if token.strip() != self.world.config.cloudflare_api_token:
            raise Refused(403, 9109, "Invalid access token")

    async def _unknown(self, request: Request) -> Response:
        raise Refused(404, 7000, f"No route for that URI: {request.method} {request.url.path}")

    async def _verify(self, _: Request) -> Response:
        return success({"id": "f" * 32, "status": "active"})

    async def _list_zones(self, request: Request) -> Response:
        params = request.query_params
        docs = self.zones.all()
        for doc in docs:
            self.zones.look(doc)
        account = params.get("account.id")
        if account is not None and account != self.world.config.cloudflare_account_id:
            docs = []
        number, size = queries.bounds(params, 20, 5, 50)
        items, info = page(queries.zones(docs, params), number, size)
        return success([self.zones.shown(doc) for doc in items], info)

    async def _create_zone(self, request: Request) -> Response:
        body = await _body(request)
        unknown = sorted(set(body) - ZONE_KEYS)
        if unknown:
            raise Refused(400, 9207, f"Request body is invalid: unknown key {unknown[0]!r}.")
        account = body.get("account")
        if not isinstance(account, dict) or not account.get("id"):
            raise Refused(400, 1067, "Invalid organization: account.id is required", "/account")
        if account["id"] != self.world.config.cloudflare_account_id:
            raise Refused(403, 10000, "Authentication error")
        if body.get("type", "full") != "full":
            raise Refused(400, 1100, "Only zones of type full are served here.", "/type")
        name = str(body.get("name") or "").strip().lower().rstrip(".")
        if not DOMAIN.match(name):
            raise Refused(400, 1099, f"{name or 'name'} is not a valid domain name", "/name")
        if self.zones.by_name(name) is not None:
            raise Refused(400, 1061, f"{name} already exists")
        if self.limits.require_registered and name not in delegations(self.world):
            raise Refused(400, 1049, f"{name} is not a registered domain")
        cap = self.limits.get("pending_zones")
        if cap is not None and self.zones.pending() >= cap:
            message = (
                "You have exceeded the limit for adding zones. "
                "Please activate some zones before proceeding."
            )
            raise Refused(400, 1118, message)
        return success(self.zones.shown(self.zones.add(name)))

    async def _get_zone(self, request: Request) -> Response:
        doc = self.zones.get(request.path_params["zone"])
        self.zones.look(doc)
        return success(self.zones.shown(doc))

    async def _delete_zone(self, request: Request) -> Response:
        doc = self.zones.get(request.path_params["zone"])
        self.zones.remove(doc)
        return success({"id": doc["id"]})

    async def _check_activation(self, request: Request) -> Response:
        doc = self.zones.get(request.path_params["zone"])
        now = self.world.clock.now().timestamp()
        # Once an hour on the free plan.
        if doc["checked_on"] is not None and now - doc["checked_on"] < 3600:
            message = "You may only perform this action once per hour."
            raise Refused(400, 1224, message)
        doc["checked_on"] = now
        self.zones.save(doc)
        self.zones.look(doc)
        return success({"id": doc["id"]})

    async def _list_records(self, request: Request) -> Response:
        doc = self.zones.get(request.path_params["zone"])
        found = queries.records(list(doc["records"].values()), request.query_params)
        number, size = queries.bounds(request.query_params, 100, 1, 5000)
        items, info = page(found, number, size)
        return success(items, info)

    async def _create_record(self, request: Request) -> Response:
        done = await self._apply(request, "posts", [await _body(request)])
        return success(done["posts"][0])

    async def _get_record(self, request: Request) -> Response:
        doc = self.zones.get(request.path_params["zone"])
        return success(batch.find(doc["records"], request.path_params["record"]))

    async def _change_record(self, request: Request) -> Response:
        step = "puts" if request.method == "PUT" else "patches"
        body = {**await _body(request), "id": request.path_params["record"]}
        done = await self._apply(request, step, [body])
        return success(done[step][0])

    async def _delete_record(self, request: Request) -> Response:
        record = request.path_params["record"]
        await self._apply(request, "deletes", [{"id": record}])
        return success({"id": record})

    async def _batch(self, request: Request) -> Response:
        body = await _body(request)
        steps = batch.check(body, self.limits.get("records_per_batch"))
        doc = self.zones.get(request.path_params["zone"])
        return success(batch.apply(self.zones, doc, steps))

    async def _apply(
        self, request: Request, step: str, items: list[dict[str, Any]]
    ) -> dict[str, list[records.Record]]:
        doc = self.zones.get(request.path_params["zone"])
        return batch.apply(self.zones, doc, {step: items})

    async def _settings(self, request: Request) -> JSONResponse:
        if request.method == "POST":
            try:
                self.limits.change(await request.json())
            except (TypeError, ValueError, AttributeError) as error:
                return JSONResponse({"error": str(error)}, 400)
        return JSONResponse(self.limits.as_json())

    async def _everything(self, _: Request) -> JSONResponse:
        return JSONResponse({"zones": self.zones.all()})


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body())
    except ValueError as error:
        raise Refused(400, 6007, "Malformed JSON in request body") from error
    if not isinstance(body, dict):
        raise Refused(400, 9207, "Request body is invalid.")
    return body
