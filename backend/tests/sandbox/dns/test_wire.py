"""Sockets, sizes, odd packets, faults and speed."""

from __future__ import annotations

import asyncio
import socket
import time

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.resolver
import pytest

from sandbox.config import SandboxConfig
from sandbox.server import running
from sandbox.world import World
from tests.sandbox.dns.conftest import HOST, record

KEY = "v=DKIM1; k=rsa; p=" + "A" * 392  # As long as that of a 2048-bit key.
DKIM = f'"{KEY[:255]}" "{KEY[255:]}"'


async def test_udp_and_tcp_share_a_port_and_an_answer(net):
    assert net.world.ports["dns"] == net.port > 0
    udp, tcp = await net.udp("gmail.test", "MX"), await net.tcp("gmail.test", "MX")
    assert udp.answer == tcp.answer
    assert udp.answer


async def test_a_long_answer_is_cut_over_udp_and_whole_over_tcp(net):
    twins = (record("TXT", "big", f'"{n}{"x" * 200}"') for n in range(8))
    await net.zone("acme.com", record("TXT", "ig202611._domainkey", DKIM), *twins)
    short = await net.udp("big.acme.com", "TXT")
    assert short.flags & dns.flags.TC
    assert not short.answer
    whole = await net.tcp("big.acme.com", "TXT")
    assert not whole.flags & dns.flags.TC
    assert len(whole.answer[0]) == 8
    # The resolver does the same by itself.
    assert len(await net.texts("big.acme.com", "TXT")) == 8


async def test_edns_makes_room_for_a_key(net):
    await net.zone(
        "acme.com",
        record("TXT", "s._domainkey", DKIM),
        record("TXT", "s._domainkey", DKIM.replace("AAAA", "BBBB", 1)),
    )
    name = "s._domainkey.acme.com"
    assert (await net.udp(name, "TXT", use_edns=False)).flags & dns.flags.TC
    roomy = await net.udp(name, "TXT", use_edns=0, payload=1232)
    assert len(roomy.answer[0]) == 2
    assert roomy.edns == 0
    one = next(rdata for rdata in roomy.answer[0] if b"BBBB" not in rdata.strings[0])
    assert b"".join(one.strings).decode() == KEY
    assert [len(part) for part in one.strings] == [255, len(KEY) - 255]


async def test_many_questions_over_one_connection(net):
    reader, writer = await asyncio.open_connection(HOST, net.port)
    names = ["gmail.test", "corp.test", "nothing.example"]
    for name in names:
        wire = dns.message.make_query(name, "MX").to_wire()
        writer.write(len(wire).to_bytes(2, "big") + wire)
    for name in names:
        length = int.from_bytes(await reader.readexactly(2), "big")
        answer = dns.message.from_wire(await reader.readexactly(length))
        assert answer.question[0].name.to_text() == f"{name}."
    writer.close()
    await writer.wait_closed()


async def test_odd_packets_are_survived(net):
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        await loop.sock_connect(client, (HOST, net.port))
        # Garbage with a readable header is a format error, all else is not worth an answer.
        await loop.sock_sendall(client, b"")
        await loop.sock_sendall(client, b"\x01\x02\x80" + b"\xff" * 20)
        await loop.sock_sendall(client, b"\x01\x02\x01" + b"\xff" * 20)
        answer = dns.message.from_wire(await asyncio.wait_for(loop.sock_recv(client, 4096), 5))
        assert (answer.id, answer.rcode()) == (0x0102, dns.rcode.FORMERR)
    assert (await net.udp("gmail.test", "MX", rdclass="CH")).rcode() == dns.rcode.REFUSED
    assert (await net.udp("gmail.test", "MX")).answer


async def test_servfail_as_often_as_asked(net):
    await net.fault("servfail", r"gmail\.test MX", times=2)
    assert (await net.udp("corp.test", "MX")).rcode() == dns.rcode.NOERROR
    assert (await net.udp("gmail.test", "MX")).rcode() == dns.rcode.SERVFAIL
    assert (await net.tcp("gmail.test", "MX")).rcode() == dns.rcode.SERVFAIL
    assert (await net.udp("gmail.test", "MX")).rcode() == dns.rcode.NOERROR


async def test_silence(net):
    await net.fault("timeout", "gmail.test")
    with pytest.raises(dns.exception.Timeout):
        await net.udp("gmail.test", "MX", within=0.3)
    assert (await net.udp("gmail.test", "MX")).answer


async def test_a_truncation_is_healed_by_tcp(net):
    await net.fault("truncate", "gmail.test MX udp")
    assert (await net.udp("gmail.test", "MX")).flags & dns.flags.TC
    await net.fault("truncate", "gmail.test MX udp")
    assert await net.texts("gmail.test", "MX") == ["10 mx.gmail.test."]


async def test_lies(net):
    await net.fault("lie", "gmail.test MX", content="evil.test")
    assert await net.texts("gmail.test", "MX") == ["10 evil.test."]
    await net.fault("lie", "gmail.test MX")
    with pytest.raises(dns.resolver.NXDOMAIN):
        await net.texts("gmail.test", "MX")
    await net.fault("lie", "gmail.test MX", rcode="NOERROR")
    assert (await net.udp("gmail.test", "MX")).answer == []
    await net.fault("lie", "gmail.test TXT", content=["one", "two"])
    assert await net.texts("gmail.test", "TXT") == ['"one"', '"two"']
    assert await net.texts("gmail.test", "MX") == ["10 mx.gmail.test."]


async def test_a_stall_delays_one_answer_and_no_other(net):
    await net.fault("stall", "gmail.test", seconds=0.4)
    started = time.perf_counter()
    slow = asyncio.create_task(net.udp("gmail.test", "MX"))
    await asyncio.sleep(0)
    assert (await net.udp("corp.test", "MX")).answer
    assert time.perf_counter() - started < 0.4
    assert (await slow).answer
    assert time.perf_counter() - started >= 0.4


async def test_thousands_of_questions_a_second(net):
    """Well below what it does (10,000 new names, 30,000 known ones), far above what mail needs."""
    await net.zone("acme.com", record("TXT", "*", DKIM))
    reply = net.world.parts["dns"].messages.reply
    asked = 2000
    new = [dns.message.make_query(f"n{n}.acme.com", "TXT").to_wire() for n in range(asked)]
    for queries in (new, new):
        started = time.process_time()
        for query in queries:
            assert reply(query, True).wire is not None
        assert asked / (time.process_time() - started) > 2000


async def test_a_burst_over_the_socket_is_answered_in_full(net):
    answers = await asyncio.gather(*(net.udp(f"n{n}.gmail.test", "A") for n in range(300)))
    assert {answer.rcode() for answer in answers} == {dns.rcode.NXDOMAIN}


async def test_a_taken_port_is_told_at_the_start():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((HOST, 0))
        config = SandboxConfig(http_port=0, dns_port=taken.getsockname()[1])
        with pytest.raises(OSError, match="in use"):
            async with running(World.create(config), ("dns",)):
                pytest.fail("It started on a port that is taken.")


async def test_the_port_is_free_again_after_a_stop():
    config = SandboxConfig(http_port=0, dns_port=0)
    async with running(World.create(config), ("dns",)) as world:
        port = world.ports["dns"]
        _, writer = await asyncio.open_connection(HOST, port)
    writer.close()
    again = SandboxConfig(http_port=0, dns_port=port)
    async with running(World.create(again), ("dns",)) as world:
        assert world.ports["dns"] == port
