"""UDP and TCP on one port, inside the sandbox's loop."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import cast

from sandbox.dns.messages import Reply

Replier = Callable[[bytes, bool], Reply]
IDLE_SECONDS = 10.0
ATTEMPTS = 50
log = logging.getLogger("sandbox.dns")


class Datagrams(asyncio.DatagramProtocol):
    """One datagram in, at most one out."""

    def __init__(self, reply: Replier) -> None:
        self._reply = reply
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # The selector loop's class does not inherit from the public one it implements.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        try:
            reply = self._reply(data, False)
        except Exception:  # One odd query must not silence the server.
            log.exception("A query could not be answered")
            return
        if reply.wire is None:
            return
        if reply.seconds:
            loop = asyncio.get_running_loop()
            loop.call_later(reply.seconds, self._send, reply.wire, addr)
        else:
            self._send(reply.wire, addr)

    def _send(self, wire: bytes, addr: tuple[str, int]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(wire, addr)


class Listeners:
    """Both sockets; `open` gives the port they share."""

    def __init__(self, reply: Replier) -> None:
        self._reply = reply
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def open(self, host: str, port: int) -> int:
        """Raises OSError when the port is taken."""
        tcp, udp = _pair(host, port)
        loop = asyncio.get_running_loop()
        self._tcp = await asyncio.start_server(self._connected, sock=tcp)
        self._udp, _ = await loop.create_datagram_endpoint(lambda: Datagrams(self._reply), sock=udp)
        return int(tcp.getsockname()[1])

    async def close(self) -> None:
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        if self._tcp is not None:
            await self._tcp.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            async with asyncio.timeout(None) as patience:
                while True:
                    patience.reschedule(asyncio.get_running_loop().time() + IDLE_SECONDS)
                    length = int.from_bytes(await reader.readexactly(2), "big")
                    await self._one(await reader.readexactly(length), writer)
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            # The client left, idled too long, or the sandbox stops: all end the connection.
            return
        finally:
            self._connections.discard(task)
            writer.close()

    async def _one(self, query: bytes, writer: asyncio.StreamWriter) -> None:
        reply = self._reply(query, True)
        if reply.wire is None:
            return
        if reply.seconds:
            await asyncio.sleep(reply.seconds)
        writer.write(len(reply.wire).to_bytes(2, "big") + reply.wire)
        await writer.drain()


def _pair(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    """Both sockets on one number; any free number for port 0."""
    for attempt in range(ATTEMPTS):
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # A burst of queries waits here while the loop does something else.
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            tcp.bind((host, port))
            udp.bind((host, tcp.getsockname()[1]))
        except OSError:
            tcp.close()
            udp.close()
            # With a free choice, the number may be free for TCP and taken for UDP.
            if port or attempt == ATTEMPTS - 1:
                raise
            continue
        tcp.setblocking(False)
        udp.setblocking(False)
        return tcp, udp
    raise OSError("No port is free for both UDP and TCP.")
