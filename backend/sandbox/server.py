"""One process, one loop: the HTTP server and every part's listeners."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib import import_module

import uvicorn
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount

from sandbox import control
from sandbox.faults import FaultyHTTP
from sandbox.world import World

# DNS first: the mail parts look names up as soon as they run.
PARTS = ("dns", "namecheap", "porkbun", "cloudflare", "stripe", "receivers", "kumomta")
TICK_SECONDS = 0.25
log = logging.getLogger("sandbox")


def build(world: World, names: tuple[str, ...] = PARTS) -> Starlette:
    """The whole HTTP surface; fills `world.parts`."""
    for name in names:
        part = import_module(f"sandbox.{name}").build(world)
        world.parts[part.name] = part
    mounts: list[BaseRoute] = [Mount("/control", routes=control.routes(world))]
    for name, part in world.parts.items():
        app = part.asgi()
        if app is not None:
            mounts.append(Mount(f"/{name}", app=FaultyHTTP(app, world.faults, name)))
    return Starlette(routes=mounts)


@asynccontextmanager
async def running(world: World, names: tuple[str, ...] = PARTS) -> AsyncIterator[World]:
    """Everything listening; leaves with every listener closed."""
    app = build(world, names)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=world.config.host,
            port=world.config.http_port,
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=2,
        )
    )
    # `serve` would take the signal handlers, which belong to whoever runs the loop.
    serving = asyncio.create_task(server._serve())
    ticking: asyncio.Task[None] | None = None
    started = []
    try:
        while not server.started:
            if serving.done():
                raise RuntimeError(f"Port {world.config.http_port} could not be bound.")
            await asyncio.sleep(0.01)
        world.ports["http"] = server.servers[0].sockets[0].getsockname()[1]
        for part in world.parts.values():
            await part.start()
            started.append(part)
        ticking = asyncio.create_task(_tick(world))
        yield world
    finally:
        if ticking is not None:
            ticking.cancel()
            with suppress(asyncio.CancelledError):
                await ticking
        for part in reversed(started):
            await part.stop()
        server.should_exit = True
        await serving
        world.store.close()


async def _tick(world: World) -> None:
    while True:
        await asyncio.sleep(TICK_SECONDS)
        for part in world.parts.values():
            try:
                await part.tick()
            except Exception:  # One part's trouble must not stop the clock of the others.
                log.exception("%s failed at its tick", part.name)
