"""TCP proxies that can be out of order: one before each dependency, all on one loop in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from app.embedded.ports import HOST

OPEN, REFUSED, FROZEN, FAILING, SLOW = "open", "refused", "frozen", "failing", "slow"
CHUNK = 1 << 16
T = TypeVar("T")


def postgres_error() -> bytes:
    """What a server in recovery says to everybody (PostgreSQL manual, "Message Formats")."""
    fields = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is in recovery mode\0\0"
    return b"E" + (len(fields) + 4).to_bytes(4, "big") + fields


FAILURES: dict[str, bytes] = {
    "http": b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 5\r\nConnection: close\r\n\r\ndown\n",
    "postgresql": postgres_error(),
    "redis": b"-LOADING Redis is loading the dataset in memory\r\n",
    "smtp": b"421 4.3.2 Service not available\r\n",
}
SPEAKS_FIRST = frozenset({"smtp"})


class Proxy:
    """From a port of its own to a server; call `be` from any thread."""

    def __init__(self, house: House, port: int, target: int, protocol: str, delay: float) -> None:
        """`delay`: seconds before each piece of an answer is passed on while it is slow."""
        self._house, self._target, self._protocol, self._delay = house, target, protocol, delay
        self.port = port
        self.mode = OPEN
        self._connections: set[asyncio.StreamWriter] = set()
        self._thawed = asyncio.Event()
        self._thawed.set()
        self._server: asyncio.Server | None = None

    def be(self, mode: str) -> None:
        self._house.run(self._be(mode))

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, HOST, self.port)

    async def close(self) -> None:
        self._thawed.set()
        if self._server is not None:
            self._server.close()
            self._server = None
        self._cut()

    async def _be(self, mode: str) -> None:
        was, self.mode = self.mode, mode
        if mode == FROZEN:
            self._thawed.clear()
        else:
            self._thawed.set()
        if mode == REFUSED:
            await self.close()
        elif was == REFUSED:
            await self.open()
        if mode == FAILING and self._protocol != "http":
            # Who is in the middle of something is thrown out; HTTP has its answer at the next call.
            self._cut()

    def _cut(self) -> None:
        for writer in list(self._connections):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            await self._thawed.wait()
            if self.mode == FAILING and self._protocol in SPEAKS_FIRST:
                await self._fail(writer)
                return
            await self._between(reader, writer)
        except OSError:
            # The other side is gone, and so is this one.
            return
        finally:
            self._connections.discard(writer)
            writer.close()

    async def _between(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, onward = await asyncio.open_connection(HOST, self._target)
        self._connections.add(onward)
        answering = asyncio.create_task(self._answers(back, writer))
        try:
            while chunk := await reader.read(CHUNK):
                await self._thawed.wait()
                if self.mode == FAILING:
                    await self._fail(writer)
                    return
                onward.write(chunk)
                await onward.drain()
            onward.write_eof()
            await answering
        finally:
            answering.cancel()
            self._connections.discard(onward)
            onward.close()

    async def _fail(self, writer: asyncio.StreamWriter) -> None:
        writer.write(FAILURES[self._protocol])
        with suppress(OSError):
            await writer.drain()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(CHUNK):
                await self._thawed.wait()
                if self.mode == SLOW:
                    await asyncio.sleep(self._delay)
                writer.write(chunk)
                await writer.drain()
        writer.close()


class House:
    """The loop that all proxies live on."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.proxies: list[Proxy] = []

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def add(self, port: int, target: int, protocol: str, delay: float) -> Proxy:
        async def make() -> Proxy:
            proxy = Proxy(self, port, target, protocol, delay)
            await proxy.open()
            return proxy

        proxy = self.run(make())
        self.proxies.append(proxy)
        return proxy


@contextmanager
def house() -> Iterator[House]:
    made = House()
    thread = threading.Thread(target=made.loop.run_forever, name="proxies", daemon=True)
    thread.start()
    try:
        yield made
    finally:
        for proxy in made.proxies:
            made.run(proxy.close())
        made.loop.call_soon_threadsafe(made.loop.stop)
        thread.join(10)
