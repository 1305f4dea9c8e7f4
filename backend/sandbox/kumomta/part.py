"""The part of the world: one node that can be restarted, and the routes to look at it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from sandbox.kumomta.admin import application
from sandbox.kumomta.node import Node
from sandbox.kumomta.records import stamp
from sandbox.world import World


class KumoMTA:
    """Runs the node; the ports stay the same over a restart."""

    name = "kumomta"

    def __init__(self, world: World) -> None:
        self._world = world
        self._node: Node | None = None
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    @property
    def node(self) -> Node:
        assert self._node is not None, "the node has not been started"
        return self._node

    def asgi(self) -> ASGIApp | None:
        return application(lambda: self.node)

    async def start(self) -> None:
        if self._world.config.data_dir is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="sandbox-kumomta-")
        await self._boot()

    async def stop(self) -> None:
        if self._node is not None:
            await self._node.stop()
        if self._scratch is not None:
            self._scratch.cleanup()

    async def tick(self) -> None:
        if self._node is not None:
            await self._node.tick()

    def control(self) -> list[BaseRoute]:
        return [
            Route("/restart", self._restart, methods=["POST"]),
            Route("/queues", self._queues),
            Route("/events", self._events),
        ]

    async def _boot(self) -> None:
        folder = self._folder()
        folder.mkdir(parents=True, exist_ok=True)
        node = Node(self._world, self._environment(folder), folder)
        # Set first: init calls the control plane, which may call back.
        self._node = node
        try:
            await node.start()
        except Exception:
            # A policy that does not load must not leave threads and listeners behind.
            await node.stop()
            raise
        self._world.ports["submission"] = node.smtp_ports[0]
        for port in node.smtp_ports[1:]:
            self._world.ports["inbound"] = port

    def _folder(self) -> Path:
        if self._scratch is not None:
            return Path(self._scratch.name)
        assert self._world.config.data_dir is not None
        return self._world.config.data_dir / "kumomta"

    def _environment(self, folder: Path) -> dict[str, str]:
        """What the policy's os.getenv sees: what was given, with the sandbox's own places."""
        config, ports = self._world.config, self._world.ports
        host = config.host
        submission = ports.get("submission", config.submission_port)
        return {
            "IG_HOSTNAME": "mx1.mta.inboxgrove.test",
            "IG_MAIL_ZONE": "mta.inboxgrove.test",
            "IG_SPOOL_DIR": str(folder),
            "IG_LOG_DIR": str(folder),
            **{name: value for name, value in config.env.items() if name.startswith("IG_")},
            "IG_SUBMISSION_LISTEN": f"{host}:{submission}",
            # Bounces and complaints come in on a port of their own, as on port 25 of a real node.
            "IG_INBOUND_LISTEN": f"{host}:{ports.get('inbound', 0)}",
            "IG_ADMIN_LISTEN": f"{host}:{ports.get('http', config.http_port)}",
            "IG_EGRESS_PORT": str(ports.get("mx") or config.mx_port),
        }

    async def _restart(self, _: Request) -> JSONResponse:
        """As `systemctl restart kumomta`: memory is lost, the spool is read again."""
        await self.node.stop()
        await self._boot()
        return JSONResponse({"online_since": stamp(self.node.online_since)})

    async def _queues(self, _: Request) -> JSONResponse:
        return JSONResponse(
            {
                "queues": self.node.queues.summary(),
                "log_hook_backlog": sum(hook.backlog for hook in self.node.hooks),
            }
        )

    async def _events(self, request: Request) -> JSONResponse:
        wanted = request.query_params.get("type")
        records = [r for r in self.node.journal.recent if wanted in (None, r["type"])]
        limit = int(request.query_params.get("limit", "100"))
        return JSONResponse({"records": records[-limit:], "count": len(records)})
