"""The name servers as a part of the world, and what a test may change in them."""

from __future__ import annotations

from dnslib import DNSError
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from sandbox.dns.listeners import Listeners
from sandbox.dns.messages import Messages
from sandbox.world import World


class DnsPart:
    """Answers on `world.ports["dns"]`, the same number for UDP and TCP."""

    name = "dns"

    def __init__(self, world: World) -> None:
        self.world = world
        self.messages = Messages(world)
        self._listeners = Listeners(self.messages.reply)

    def asgi(self) -> ASGIApp | None:
        return None

    async def start(self) -> None:
        config = self.world.config
        self.world.ports["dns"] = await self._listeners.open(config.host, config.dns_port)

    async def stop(self) -> None:
        await self._listeners.close()

    async def tick(self) -> None:
        """Nothing is ever due: every answer is made when it is asked for."""

    def control(self) -> list[BaseRoute]:
        return [
            Route("/list", self._list, methods=["GET", "POST"]),
            Route("/unlist", self._unlist, methods=["POST"]),
            Route("/zones", self._zones, methods=["GET", "POST", "DELETE"]),
        ]

    async def _list(self, request: Request) -> JSONResponse:
        """{"entry": address or domain, "zone"?, "code"?, "reason"?} puts it on a blocklist."""
        lists = self.messages.authority.blocklists
        if request.method == "POST":
            body = await request.json()
            try:
                lists.add(
                    str(body.get("entry", "")),
                    body.get("zone"),
                    body.get("code"),
                    body.get("reason"),
                )
            except ValueError as error:
                return JSONResponse({"error": str(error)}, 400)
        return JSONResponse({"entries": lists.entries()})

    async def _unlist(self, request: Request) -> JSONResponse:
        body = await request.json()
        lists = self.messages.authority.blocklists
        try:
            found = lists.remove(str(body.get("entry", "")), body.get("zone"))
        except ValueError as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse({"removed": found, "entries": lists.entries()})

    async def _zones(self, request: Request) -> JSONResponse:
        """{"zone", "records": [{type, name, content, ttl?, priority?}]}: DNS hosted elsewhere."""
        authority = self.messages.authority
        if request.method != "GET":
            body = await request.json()
            name = str(body.get("zone", "")).strip().lower().rstrip(".")
            if "." not in name:
                return JSONResponse({"error": "Give the name of a zone."}, 400)
            records = body.get("records", []) if request.method == "POST" else None
            try:
                authority.host(name, records)
            except (ValueError, KeyError, TypeError, DNSError) as error:
                return JSONResponse({"error": f"Not a record: {error}"}, 400)
        return JSONResponse({"zones": authority.hosted()})
