"""The DNS provider and the registrar on real sockets, and a client with a token."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from sandbox.config import SandboxConfig
from sandbox.server import running
from sandbox.world import World

BASE = "/cloudflare/client/v4"


class Provider:
    """Calls of API v4; each gives (status, body)."""

    def __init__(self, world: World, http: httpx.AsyncClient) -> None:
        self.world, self.http = world, http
        self.headers = {"Authorization": "Bearer sandbox-token"}

    async def call(
        self, method: str, path: str, body: Any = None, **query: str
    ) -> tuple[int, dict[str, Any]]:
        response = await self.http.request(
            method, BASE + path, json=body, params=query, headers=self.headers
        )
        answer = response.json()
        assert answer["success"] == (response.status_code == 200)
        return response.status_code, answer

    async def result(self, method: str, path: str, body: Any = None, **query: str) -> Any:
        status, answer = await self.call(method, path, body, **query)
        assert status == 200, answer
        return answer["result"]

    async def code(self, method: str, path: str, body: Any = None, **query: str) -> tuple[int, int]:
        """(HTTP status, number of the first error) of a call that must be refused."""
        status, answer = await self.call(method, path, body, **query)
        assert answer["result"] is None
        return status, answer["errors"][0]["code"]

    async def zone(self, name: str = "acme.com") -> dict[str, Any]:
        body = {"name": name, "account": {"id": "sandbox-account"}, "type": "full"}
        made: dict[str, Any] = await self.result("POST", "/zones", body)
        return made

    async def delegate(self, zone: dict[str, Any], *servers: str) -> None:
        wanted = list(servers or zone["name_servers"])
        await self.control("namecheap/elsewhere", domain=zone["name"], name_servers=wanted)

    async def control(self, path: str, **body: Any) -> None:
        (await self.http.post(f"/control/{path}", json=body)).raise_for_status()


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    config = SandboxConfig(http_port=0, dns_port=0)
    async with running(World.create(config), ("namecheap", "cloudflare")) as world:
        base = f"http://127.0.0.1:{world.ports['http']}"
        async with httpx.AsyncClient(base_url=base, timeout=10) as http:
            yield Provider(world, http)
