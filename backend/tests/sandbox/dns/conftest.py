"""Name servers, registrar and DNS provider together, and a resolver that asks them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import dns.asyncquery
import dns.asyncresolver
import dns.message
import dns.rdatatype
import dns.resolver
import httpx
import pytest

from sandbox.config import SandboxConfig
from sandbox.server import running
from sandbox.world import World

HOST = "127.0.0.1"


class Net:
    """Asks over real sockets; writes zones through the provider's API."""

    def __init__(self, world: World, http: httpx.AsyncClient) -> None:
        self.world, self.http = world, http
        self.port = world.ports["dns"]

    def resolver(self, *, blocking: bool = False) -> Any:
        kind = dns.resolver.Resolver if blocking else dns.asyncresolver.Resolver
        made = kind(configure=False)
        made.nameservers, made.port, made.lifetime = [HOST], self.port, 5.0
        return made

    async def texts(self, name: str, kind: str) -> list[str]:
        """The records as text, sorted; raises as dnspython does for "no"."""
        return sorted(record.to_text() for record in await self.resolver().resolve(name, kind))

    async def udp(self, name: str, kind: str, *, within: float = 5, **how: Any) -> Any:
        query = dns.message.make_query(name, kind, **how)
        return await dns.asyncquery.udp(query, HOST, port=self.port, timeout=within)

    async def tcp(self, name: str, kind: str) -> Any:
        query = dns.message.make_query(name, kind)
        return await dns.asyncquery.tcp(query, HOST, port=self.port, timeout=5)

    async def control(self, path: str, **body: Any) -> Any:
        return (await self.http.post(f"/control/{path}", json=body)).raise_for_status().json()

    async def fault(self, mode: str, match: str = "", **more: Any) -> None:
        await self.control("faults", part="dns", match=match, mode=mode, **more)

    async def zone(self, name: str, *records: dict[str, Any], delegate: bool = True) -> list[str]:
        """A zone with records at the provider, delegated by the registrar; its name servers."""
        base, headers = "/cloudflare/client/v4", {"Authorization": "Bearer sandbox-token"}
        body = {"name": name, "account": {"id": "sandbox-account"}}
        made = await self.http.post(f"{base}/zones", json=body, headers=headers)
        zone = made.raise_for_status().json()["result"]
        path = f"{base}/zones/{zone['id']}/dns_records/batch"
        done = await self.http.post(path, json={"posts": list(records)}, headers=headers)
        assert done.status_code == 200, done.text
        if delegate:
            await self.delegate(name, zone["name_servers"])
        servers: list[str] = zone["name_servers"]
        return servers

    async def delegate(self, name: str, servers: list[str]) -> None:
        await self.control("namecheap/elsewhere", domain=name, name_servers=servers)


def record(kind: str, name: str, content: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "name": name, "content": content, "ttl": 300, **more}


@pytest.fixture
async def net() -> AsyncIterator[Net]:
    config = SandboxConfig(http_port=0, dns_port=0)
    parts = ("dns", "namecheap", "cloudflare")
    async with running(World.create(config), parts) as world:
        base = f"http://{HOST}:{world.ports['http']}"
        async with httpx.AsyncClient(base_url=base, timeout=10) as http:
            yield Net(world, http)
