"""The Stripe part: one account, its API, its pages, its clockwork, its webhooks."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from sandbox.stripe import catalog, clockwork, endpoints
from sandbox.stripe.account import Account
from sandbox.stripe.control import Control
from sandbox.stripe.deliveries import Deliveries
from sandbox.stripe.hosted import Hosted
from sandbox.stripe.http import Api
from sandbox.world import World

SCRIPT = Path(__file__).with_name("stripe.js")


class StripePart:
    name = "stripe"

    def __init__(self, world: World) -> None:
        self.account = Account(world)
        self._deliveries = Deliveries(self.account)
        self._api = Api(self.account)

    def asgi(self) -> ASGIApp | None:
        api = self._api

        async def call(request: Request) -> Response:
            return await api(request)

        async def script(_: Request) -> Response:
            return Response(SCRIPT.read_text(), media_type="text/javascript")

        return Starlette(
            routes=[
                Route("/v1/{path:path}", call, methods=["GET", "POST", "DELETE"]),
                Route("/v3/stripe.js", script),
                *Hosted(self.account).routes(),
            ],
            # Browsers call from the shop's own origin, as they do at Stripe.
            middleware=[
                Middleware(
                    CORSMiddleware, allow_origins=["*"], allow_methods=["*"], allow_headers=["*"]
                )
            ],
        )

    async def start(self) -> None:
        catalog.seed(self.account)
        endpoints.seed(self.account)
        self._deliveries.start()

    async def stop(self) -> None:
        await self._deliveries.stop()

    async def tick(self) -> None:
        clockwork.run(self.account)

    def control(self) -> list[BaseRoute]:
        return Control(self.account).routes()
