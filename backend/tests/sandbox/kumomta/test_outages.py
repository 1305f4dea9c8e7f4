"""What the node does while Redis or the control plane is away or frozen."""

from __future__ import annotations

import asyncio
import smtplib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import urlparse

import pytest

from tests.sandbox.kumomta.plane import ANNA, BOB, Client, Plane, eventually, mail, send


class Cable:
    """A TCP connection to Redis that a test can cut or freeze."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._open = asyncio.Event()
        self._open.set()
        self.port = 0

    async def plug_in(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()

    def freeze(self) -> None:
        self._open.clear()

    def thaw(self) -> None:
        self._open.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
            self._writers |= {writer, far_writer}
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        except OSError:
            writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self._open.wait()
            writer.write(data)
            await writer.drain()
        writer.close()


@pytest.fixture
async def cable(valkey_url: str) -> AsyncIterator[Cable]:
    port = urlparse(valkey_url).port
    assert port is not None
    made = Cable(port)
    await made.plug_in()
    yield made
    made.thaw()
    await made.cut()


@pytest.fixture
async def wired(start_plane: Callable[..., Any], cable: Cable) -> AsyncIterator[Plane]:
    async with start_plane(IG_REDIS_URL=f"redis://127.0.0.1:{cable.port}/0") as plane:
        plane.add_inbox()
        yield plane


def code_of(port: int) -> int:
    try:
        send(port)
    except smtplib.SMTPResponseException as error:
        return error.smtp_code
    return 250


async def test_without_redis_nothing_is_taken_and_all_comes_back(
    wired: Plane, cable: Cable
) -> None:
    client = await asyncio.to_thread(lambda: Client(wired.port).secure().login())
    await cable.cut()
    steps: list[tuple[int, bytes]] = []
    steps.append(await asyncio.to_thread(client.smtp.docmd, f"MAIL FROM:<{ANNA}>"))
    # Who is known still logs in; but without counters nothing is taken.
    assert await asyncio.to_thread(code_of, wired.port) == 451
    await cable.plug_in()
    steps.append(await asyncio.to_thread(client.smtp.docmd, f"MAIL FROM:<{ANNA}>"))
    steps.append(await asyncio.to_thread(client.smtp.docmd, f"RCPT TO:<{BOB}>"))
    await cable.cut()
    steps.append(await asyncio.to_thread(client.smtp.data, mail().as_bytes()))
    client.smtp.close()
    assert [code for code, _ in steps] == [451, 250, 250, 451]
    assert steps[0][1].startswith(b"4.3.0")
    assert wired.receiver.mails == []
    assert wired.redis.keys("ig:q:*") == []
    await cable.plug_in()
    assert await asyncio.to_thread(code_of, wired.port) == 250


async def test_a_frozen_redis_costs_seconds_not_minutes(wired: Plane, cable: Cable) -> None:
    client = await asyncio.to_thread(lambda: Client(wired.port).secure().login())
    cable.freeze()
    started = time.monotonic()
    code, _ = await asyncio.to_thread(client.smtp.docmd, f"MAIL FROM:<{ANNA}>")
    client.smtp.close()
    assert code == 451
    assert time.monotonic() - started < 5
    cable.thaw()
    assert await asyncio.to_thread(code_of, wired.port) == 250


async def test_known_inboxes_and_keys_work_without_the_control_plane(plane: Plane) -> None:
    await asyncio.to_thread(send, plane.port)
    plane.control_plane.dkim = False
    await plane.later(3600)
    await asyncio.to_thread(send, plane.port)
    await eventually(lambda: len(plane.receiver.to(BOB)) == 2)


async def test_a_new_selector_is_used_as_soon_as_the_directory_names_it(plane: Plane) -> None:
    await asyncio.to_thread(send, plane.port)
    plane.control_plane.selector = "ig2"
    plane.redis.hset("ig:domain:acme.test", "selector", "ig2")
    await plane.later(6)
    await asyncio.to_thread(send, plane.port)
    mails = await eventually(lambda: len(plane.receiver.mails) == 2 and plane.receiver.mails)
    assert b"s=ig1" in mails[0].content
    assert b"s=ig2" in mails[1].content


async def test_a_key_that_was_missing_is_found_within_seconds(plane: Plane) -> None:
    plane.control_plane.dkim = False
    assert await asyncio.to_thread(code_of, plane.port) == 451
    plane.control_plane.dkim = True
    await plane.later(21)
    assert await asyncio.to_thread(code_of, plane.port) == 250


async def test_a_bounce_message_waits_at_its_sender_during_an_outage(
    wired: Plane, cable: Cable
) -> None:
    def hand_in() -> int:
        with Client(wired.world.ports["inbound"]) as client:
            client.smtp.mail("")
            return client.smtp.rcpt(ANNA)[0]

    await cable.cut()
    assert await asyncio.to_thread(hand_in) == 421
    await cable.plug_in()
    await wired.later(11)
    assert await asyncio.to_thread(hand_in) == 250
