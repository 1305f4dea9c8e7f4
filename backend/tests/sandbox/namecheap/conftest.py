"""A registrar on a real socket, and a client that speaks its XML."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element

import httpx
import pytest
from defusedxml import ElementTree

from sandbox.config import SandboxConfig
from sandbox.server import running
from sandbox.world import World

PERSON = {
    "FirstName": "Ann",
    "LastName": "Lee",
    "Address1": "1 Main St",
    "City": "Phoenix",
    "StateProvince": "AZ",
    "PostalCode": "85284",
    "Country": "US",
    "Phone": "+1.6613102107",
    "EmailAddress": "ann@corp.test",
}
BLOCKS = ("Registrant", "Tech", "Admin", "AuxBilling")
SPACE = "{http://api.namecheap.com/xml.response}"


@dataclass
class Answer:
    status: str
    errors: list[int]
    root: Element

    def first(self, tag: str) -> dict[str, str]:
        found = self.root.find(f".//{SPACE}{tag}")
        assert found is not None, tag
        return dict(found.attrib)

    def all(self, tag: str) -> list[Element]:
        return self.root.findall(f".//{SPACE}{tag}")

    def text(self, tag: str) -> str:
        return self.all(tag)[0].text or ""


class Registrar:
    """Calls commands as the product would, by POST."""

    def __init__(self, world: World, http: httpx.AsyncClient) -> None:
        self.world, self.http = world, http
        self.account = {
            "ApiUser": "sandbox",
            "ApiKey": "sandbox-key",
            "UserName": "sandbox",
            "ClientIp": "127.0.0.1",
        }

    async def raw(self, command: str, **params: str) -> httpx.Response:
        form = {**self.account, "Command": f"namecheap.{command}", **params}
        return await self.http.post("/namecheap/xml.response", data=form)

    async def call(self, command: str, **params: str) -> Answer:
        response = await self.raw(command, **params)
        assert response.status_code == 200
        root = ElementTree.fromstring(response.text)
        errors = [int(error.attrib["Number"]) for error in root.iter(f"{SPACE}Error")]
        return Answer(root.attrib["Status"], errors, root)

    def order(self, name: str, years: int = 1, **more: str) -> dict[str, str]:
        people = {block + key: value for block in BLOCKS for key, value in PERSON.items()}
        return {**people, "DomainName": name, "Years": str(years), **more}

    async def create(self, name: str, years: int = 1, **more: str) -> Answer:
        return await self.call("domains.create", **self.order(name, years, **more))

    async def settings(self, **wanted: Any) -> httpx.Response:
        return await self.http.post("/control/namecheap/settings", json=wanted)

    async def balance(self) -> str:
        answer = await self.call("users.getBalances")
        return answer.first("UserGetBalancesResult")["AvailableBalance"]

    async def advance(self, **step: float) -> None:
        (await self.http.post("/control/clock/advance", json=step)).raise_for_status()


@pytest.fixture
async def registrar() -> AsyncIterator[Registrar]:
    config = SandboxConfig(http_port=0, dns_port=0)
    async with running(World.create(config), ("namecheap",)) as world:
        base = f"http://127.0.0.1:{world.ports['http']}"
        async with httpx.AsyncClient(base_url=base, timeout=10) as http:
            yield Registrar(world, http)
