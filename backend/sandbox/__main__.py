"""`python -m sandbox`: run the internet in a box until SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
import logging
import signal

from sandbox.config import SandboxConfig
from sandbox.server import running
from sandbox.world import World


async def main() -> None:
    world = World.create(SandboxConfig.from_env())
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    async with running(world):
        print(f"sandbox ready {world.ports}", flush=True)
        await stop.wait()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    asyncio.run(main())
