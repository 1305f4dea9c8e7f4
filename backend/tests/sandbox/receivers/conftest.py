"""A small authoritative DNS, the recipients' side against it, and a way to send signed mail."""

from __future__ import annotations

import asyncio
import base64
import smtplib
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import dkim
import dnslib
import dnslib.server
import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.applications import Starlette
from starlette.routing import Mount

from sandbox.config import SandboxConfig
from sandbox.receivers import build
from sandbox.receivers.part import Receivers
from sandbox.world import World


@dataclass
class Names:
    """Records by (name, type); a test writes them, the server answers from them."""

    records: dict[tuple[str, str], list[dnslib.RD]] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    asked: list[tuple[str, str]] = field(default_factory=list)
    port: int = 0

    def txt(self, name: str, text: str) -> None:
        strings = [text[i : i + 255].encode() for i in range(0, len(text), 255)]
        self.records.setdefault((name, "TXT"), []).append(dnslib.TXT(strings))

    def mx(self, name: str, host: str, preference: int = 10) -> None:
        self.records.setdefault((name, "MX"), []).append(dnslib.MX(host, preference))

    def a(self, name: str, address: str = "127.0.0.1") -> None:
        self.records.setdefault((name, "A"), []).append(dnslib.A(address))

    def remove(self, name: str, kind: str) -> None:
        self.records.pop((name, kind), None)

    def resolve(
        self, request: dnslib.DNSRecord, handler: dnslib.server.DNSHandler
    ) -> dnslib.DNSRecord:
        reply = request.reply()
        name = str(request.q.qname).rstrip(".").lower()
        kind = dnslib.QTYPE[request.q.qtype]
        self.asked.append((name, kind))
        if name in self.broken:
            reply.header.rcode = dnslib.RCODE.SERVFAIL
            return reply
        for data in self.records.get((name, kind), []):
            rtype = getattr(dnslib.QTYPE, kind)
            reply.add_answer(dnslib.RR(name, rtype, rdata=data, ttl=300))
        exists = any(known == name or known.endswith(f".{name}") for known, _ in self.records)
        if not exists:
            reply.header.rcode = dnslib.RCODE.NXDOMAIN
        return reply


@pytest.fixture(scope="session")
def dns_server() -> Iterator[Names]:
    """UDP and TCP on one free port for all tests; stopping a server takes half a second."""
    zone = Names()
    servers = _listening(zone)
    for server in servers:
        server.start_thread()
    yield zone
    for server in servers:
        server.stop()
        server.server.server_close()
        server.thread.join(5)


@pytest.fixture
def names(dns_server: Names) -> Names:
    """Empty at first except for the platform's mail host."""
    for collection in (dns_server.records, dns_server.broken, dns_server.asked):
        collection.clear()
    dns_server.a("mx1.mta.inboxgrove.test")
    return dns_server


def _listening(zone: Names) -> list[dnslib.server.DNSServer]:
    """A pair of sockets on the same port; a port taken on the other protocol is tried anew."""
    quiet = dnslib.server.DNSLogger(log="-request,-reply,-truncated,-error,-recv,-send")
    for _ in range(50):
        tcp = dnslib.server.DNSServer(zone, "127.0.0.1", 0, tcp=True, logger=quiet)
        zone.port = tcp.server.server_address[1]
        try:
            return [tcp, dnslib.server.DNSServer(zone, "127.0.0.1", zone.port, logger=quiet)]
        except OSError:
            tcp.server.server_close()
    raise RuntimeError("No port is free for both UDP and TCP.")


@dataclass(frozen=True)
class Signer:
    """One RSA key and its record."""

    pem: bytes
    record: str

    def sign(
        self, raw: bytes, domain: str, selector: str = "s1", headers: tuple[bytes, ...] = ()
    ) -> bytes:
        field_ = dkim.sign(
            raw,
            selector.encode(),
            domain.encode(),
            self.pem,
            canonicalize=(b"relaxed", b"relaxed"),
            include_headers=list(headers) or [b"from", b"to", b"subject"],
        )
        return bytes(field_) + raw


@pytest.fixture(scope="session")
def signer() -> Signer:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    return Signer(pem, f"v=DKIM1; k=rsa; p={base64.b64encode(public).decode()}")


@dataclass
class Side:
    """The part under test, running, with an HTTP client mounted as the server mounts it."""

    world: World
    part: Receivers
    names: Names
    http: httpx.AsyncClient

    @property
    def port(self) -> int:
        return self.world.ports["mx"]

    async def send(
        self,
        raw: bytes,
        to: str = "bob@gmail.test",
        sender: str = "news@acme.test",
        source: str = "127.0.0.1",
        tls: bool = False,
    ) -> tuple[int, str]:
        """One SMTP session in a thread; returns the last answer, also when it is a refusal."""
        return await asyncio.to_thread(self._send, raw, to.split(","), sender, source, tls)

    def _send(
        self, raw: bytes, to: list[str], sender: str, source: str, tls: bool
    ) -> tuple[int, str]:
        with smtplib.SMTP(
            "127.0.0.1", self.port, "client.acme.test", timeout=20, source_address=(source, 0)
        ) as client:
            if tls:
                client.starttls()
            client.ehlo_or_helo_if_needed()
            code, answer = client.mail(sender)
            for address in to:
                if code < 400:
                    code, answer = client.rcpt(address)
            if code < 400:
                code, answer = client.docmd("DATA")
                if code == 354:
                    client.send(raw.replace(b"\r\n.", b"\r\n..") + b".\r\n")
                    code, answer = client.getreply()
            return code, answer.decode()

    async def messages(self, **query: str) -> list[dict[str, object]]:
        answer = await self.http.get("/mail/messages", params=query)
        assert answer.status_code == 200
        return list(answer.json()["messages"])

    async def only(self) -> dict[str, object]:
        """The single kept message in full."""
        (listed,) = await self.messages()
        return dict((await self.http.get(f"/mail/messages/{listed['id']}")).json())


@asynccontextmanager
async def running(names: Names, config: SandboxConfig) -> AsyncIterator[Side]:
    world = World.create(config)
    world.ports["dns"] = names.port
    part = build(world)
    await part.start()
    routes = [Mount("/control/mail", routes=part.control()), Mount("/mail", app=part.asgi())]
    transport = httpx.ASGITransport(app=Starlette(routes=routes))
    async with httpx.AsyncClient(transport=transport, base_url="http://sandbox") as http:
        yield Side(world, part, names, http)
    await part.stop()
    world.store.close()


@pytest.fixture
async def side(names: Names) -> AsyncIterator[Side]:
    async with running(names, SandboxConfig(mx_port=0)) as side:
        yield side


@pytest.fixture
def acme(names: Names, signer: Signer) -> Names:
    """acme.test, set up as the product sets up a customer's domain, with p=reject."""
    names.txt("acme.test", "v=spf1 ip4:127.0.0.1 -all")
    names.txt("s1._domainkey.acme.test", signer.record)
    names.txt("_dmarc.acme.test", "v=DMARC1; p=reject")
    names.mx("acme.test", "mx1.mta.inboxgrove.test")
    return names


def letter(
    sender: str = "News <news@acme.test>", subject: str = "Hello", body: str = "Good day."
) -> bytes:
    """A plain message with CRLF line ends and no signature."""
    return (
        f"From: {sender}\r\nTo: bob@gmail.test\r\nSubject: {subject}\r\n"
        f"Message-ID: <{threading.get_ident()}@acme.test>\r\n\r\n{body}\r\n"
    ).encode()
