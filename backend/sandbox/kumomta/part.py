"""The part of the world: nodes that can be added and stopped, and the routes to do it."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from sandbox.kumomta.admin import application
from sandbox.kumomta.node import Node
from sandbox.kumomta.records import stamp
from sandbox.world import World

PLACES = ("IG_SPOOL_DIR", "IG_LOG_DIR")
"""Folders of a node, as its policy knows them."""


class Machine:
    """One server with kumod on it; ports, spool and identity outlive the process."""

    def __init__(self, world: World, number: int, folder: Path) -> None:
        self.number = number
        self.submission = self.inbound = 0
        self._world, self._folder = world, folder
        self._node: Node | None = None
        self._api = application(lambda: self.node)

    @property
    def node(self) -> Node:
        assert self._node is not None, "the node is stopped"
        return self._node

    @property
    def running(self) -> bool:
        return self._node is not None and self._node.running

    async def boot(self) -> None:
        if self._node is not None:
            return
        environment = self._environment()
        # The policy writes into its spool's and logs' folders, which kumod makes itself.
        for folder in (self._folder, *(Path(environment[name]) for name in PLACES)):
            folder.mkdir(parents=True, exist_ok=True)
        drawer = "kumomta" if self.number == 1 else f"kumomta.{self.number}"
        node = Node(self._world, environment, self._folder, drawer)
        # Set first: init calls the control plane, which may call back.
        self._node = node
        try:
            await node.start()
        except Exception:
            # A policy that does not load must not leave threads and listeners behind.
            await self.stop()
            raise
        self.submission, *rest = node.smtp_ports
        self.inbound = rest[0] if rest else 0
        suffix = "" if self.number == 1 else str(self.number)
        self._world.ports[f"submission{suffix}"] = self.submission
        if self.inbound:
            self._world.ports[f"inbound{suffix}"] = self.inbound

    async def stop(self) -> None:
        if self._node is not None:
            node, self._node = self._node, None
            await node.stop()

    async def tick(self) -> None:
        if self._node is not None:
            await self._node.tick()

    async def api(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The HTTP API; a stopped node's is closed, here told by 502 as a proxy would."""
        answer: ASGIApp = self._api if self._node is not None else PlainTextResponse("down", 502)
        await answer(scope, receive, send)

    def described(self) -> dict[str, object]:
        prefix = "/kumomta" if self.number == 1 else f"/kumomta/nodes/{self.number}"
        return {
            "number": self.number,
            "running": self.running,
            "admin": prefix,
            "submission": self.submission,
            "inbound": self.inbound,
            "online_since": stamp(self._node.online_since) if self._node else None,
        }

    def _environment(self) -> dict[str, str]:
        """What the policy's os.getenv sees: what was given, with the sandbox's own places."""
        config, ports = self._world.config, self._world.ports
        given = {name: value for name, value in config.env.items() if name.startswith("IG_")}
        name = given.get("IG_HOSTNAME", "mx1.mta.inboxgrove.test")
        if self.number > 1:
            name = f"mx{self.number}.{name.partition('.')[2]}"
        # The first node has the port that customers are told; the others take any.
        first = config.submission_port if self.number == 1 else 0
        return {
            "IG_MAIL_ZONE": "mta.inboxgrove.test",
            **given,
            **{name: str(self._place(given.get(name))) for name in PLACES},
            "IG_HOSTNAME": name,
            "IG_SUBMISSION_LISTEN": f"{config.host}:{self.submission or first}",
            # Bounces and complaints come in on a port of their own, as on port 25 of a real node.
            "IG_INBOUND_LISTEN": f"{config.host}:{self.inbound}",
            "IG_ADMIN_LISTEN": f"{config.host}:{ports.get('http', config.http_port)}",
            "IG_EGRESS_PORT": str(ports.get("mx") or config.mx_port),
        }

    def _place(self, given: str | None) -> Path:
        """The machine's own: what was given is the first one's, and the others' lie below it."""
        if given is None:
            return self._folder
        return Path(given) if self.number == 1 else Path(given) / f"node-{self.number}"


class KumoMTA:
    """Runs the machines: one, or as many as SANDBOX_KUMOMTA_NODES says."""

    name = "kumomta"

    def __init__(self, world: World) -> None:
        self._world = world
        self._machines: dict[int, Machine] = {}
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    @property
    def node(self) -> Node:
        """The first node's process."""
        return self.machine(1).node

    def machine(self, number: int) -> Machine:
        return self._machines[number]

    def asgi(self) -> ASGIApp | None:
        async def numbered(scope: Scope, receive: Receive, send: Send) -> None:
            number, _, _ = scope["path"].removeprefix(scope["root_path"]).strip("/").partition("/")
            machine = self._machines.get(int(number)) if number.isdigit() else None
            if machine is None:
                await PlainTextResponse("no such node", 404)(scope, receive, send)
                return
            # Below its own root, as if the node were mounted there.
            await machine.api(
                {**scope, "root_path": f"{scope['root_path']}/{number}"}, receive, send
            )

        async def first(scope: Scope, receive: Receive, send: Send) -> None:
            await self._machines[1].api(scope, receive, send)

        return Starlette(routes=[Mount("/nodes", numbered), Mount("/", first)])

    async def start(self) -> None:
        if self._world.config.data_dir is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="sandbox-kumomta-")
        for _ in range(int(self._world.config.env.get("SANDBOX_KUMOMTA_NODES", "1"))):
            await self.add()

    async def stop(self) -> None:
        for machine in self._machines.values():
            await machine.stop()
        if self._scratch is not None:
            self._scratch.cleanup()

    async def tick(self) -> None:
        for machine in list(self._machines.values()):
            await machine.tick()

    async def add(self) -> Machine:
        number = len(self._machines) + 1
        folder = self._folder() if number == 1 else self._folder() / f"node-{number}"
        machine = self._machines[number] = Machine(self._world, number, folder)
        try:
            await machine.boot()
        except Exception:
            del self._machines[number]
            raise
        return machine

    def control(self) -> list[BaseRoute]:
        return [
            Route("/nodes", self._list, methods=["GET"]),
            Route("/nodes", self._add, methods=["POST"]),
            Route("/nodes/{number:int}/stop", self._on(_stop), methods=["POST"]),
            Route("/nodes/{number:int}/start", self._on(_start), methods=["POST"]),
            Route("/nodes/{number:int}/restart", self._on(_restart), methods=["POST"]),
            Route("/restart", self._restart_first, methods=["POST"]),
            Route("/queues", self._queues),
            Route("/events", self._events),
        ]

    def _folder(self) -> Path:
        if self._scratch is not None:
            return Path(self._scratch.name)
        assert self._world.config.data_dir is not None
        return self._world.config.data_dir / "kumomta"

    async def _list(self, _: Request) -> JSONResponse:
        return JSONResponse({"nodes": [m.described() for m in self._machines.values()]})

    async def _add(self, _: Request) -> JSONResponse:
        return JSONResponse((await self.add()).described(), 201)

    def _on(
        self, work: Callable[[Machine], Awaitable[None]]
    ) -> Callable[[Request], Awaitable[JSONResponse]]:
        async def endpoint(request: Request) -> JSONResponse:
            machine = self._machines.get(request.path_params["number"])
            if machine is None:
                return JSONResponse({"error": "no such node"}, 404)
            await work(machine)
            return JSONResponse(machine.described())

        return endpoint

    async def _restart_first(self, _: Request) -> JSONResponse:
        await _restart(self.machine(1))
        return JSONResponse(self.machine(1).described())

    async def _queues(self, request: Request) -> JSONResponse:
        node = self._asked(request)
        backlog = sum(hook.backlog for hook in node.hooks)
        return JSONResponse({"queues": node.queues.summary(), "log_hook_backlog": backlog})

    async def _events(self, request: Request) -> JSONResponse:
        wanted = request.query_params.get("type")
        recent = self._asked(request).journal.recent
        records = [record for record in recent if wanted in (None, record["type"])]
        limit = int(request.query_params.get("limit", "100"))
        return JSONResponse({"records": records[-limit:], "count": len(records)})

    def _asked(self, request: Request) -> Node:
        return self.machine(int(request.query_params.get("node", "1"))).node


async def _stop(machine: Machine) -> None:
    await machine.stop()


async def _start(machine: Machine) -> None:
    await machine.boot()


async def _restart(machine: Machine) -> None:
    """As `systemctl restart kumomta`: memory is lost, the spool is read again."""
    await machine.stop()
    await machine.boot()
