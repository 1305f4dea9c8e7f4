"""What surrounds the node under test: a control plane, DNS, a receiving host, mail programs."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import smtplib
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import EmailMessage
from functools import cache
from typing import Any, cast

import httpx
import redis
from aiosmtpd.smtp import SMTP, Envelope, Session
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from dnslib import MX, QTYPE, RR, TXT, A, DNSRecord
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.kumomta.part import KumoMTA
from sandbox.world import World

PEPPER = "pepper-for-tests"
TRACE_KEY = "trace-key-for-tests"
MTA_TOKEN = "token-of-the-node"
ADMIN_TOKEN = "token-of-the-control-plane"
DOMAIN = "acme.test"
SELECTOR = "ig1"
TENANT = "0190a000-0000-7000-8000-000000000001"
INBOX = "0190a000-0000-7000-8000-0000000000aa"
PASSWORD = "correct-horse-battery-staple-0001"
ANNA = f"anna@{DOMAIN}"
BOB = "bob@corp.test"

Fields = dict[Any, Any]


@cache
def dkim_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def digest(password: str) -> str:
    return hmac.new(PEPPER.encode(), password.encode(), "sha256").hexdigest()


async def eventually(check: Callable[[], Any], seconds: float = 10.0) -> Any:
    """The first true value of `check`; fails the test when there is none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = check()
        if value:
            return value
        await asyncio.sleep(0.02)
    raise AssertionError(f"did not become true within {seconds} s")


@dataclass
class ControlPlane:
    """Section of the product that nodes talk to, with its memory open to the tests."""

    inboxes: dict[str, dict[str, str]] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=lambda: {INBOX: TENANT})
    kills: dict[str, list[str]] = field(default_factory=lambda: {"tenants": [], "inboxes": []})
    posts: list[list[dict[str, Any]]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    lookups: list[str] = field(default_factory=list)
    snapshots: list[int] = field(default_factory=list)
    dkim: bool = True
    broken: bool = False
    selector: str = SELECTOR
    damaged_key: bool = False
    url: str = ""

    @property
    def records(self) -> list[dict[str, Any]]:
        """Every accepted record, doubles dropped by event id as the product does."""
        seen = {item["event_id"]: item["record"] for post in self.posts for item in post}
        return list(seen.values())

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [record for record in self.records if record["type"] == kind]

    def app(self) -> Starlette:
        async def inbox(request: Request) -> JSONResponse:
            if self.broken:
                return JSONResponse({"status": "error"}, 503)
            name = request.path_params["name"]
            self.lookups.append(name)
            entry = self.inboxes.get(name)
            return _answer(entry) if entry else JSONResponse({"status": "error"}, 404)

        async def key(request: Request) -> JSONResponse:
            if not self.dkim or request.path_params["domain"] != DOMAIN:
                return JSONResponse({"status": "error"}, 404)
            pem = dkim_key().private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            return _answer(
                {
                    "domain": DOMAIN,
                    "selector": self.selector,
                    "private_key": "damaged" if self.damaged_key else pem.decode(),
                }
            )

        async def owner(request: Request) -> JSONResponse:
            if self.broken:
                return JSONResponse({"status": "error"}, 503)
            tenant = self.owners.get(request.path_params["inbox"])
            if tenant is None:
                return JSONResponse({"status": "error"}, 404)
            return _answer({"tenant": tenant, "inbox": request.path_params["inbox"]})

        async def snapshot(request: Request) -> Response:
            if self.broken:
                return JSONResponse({"status": "error"}, 503)
            lines = [f"{name}\t{json.dumps(entry)}\n" for name, entry in self.inboxes.items()]
            body = "".join(sorted(lines))
            etag = hashlib.sha256((body + json.dumps(self.kills)).encode()).hexdigest()
            if request.headers.get("if-none-match") == f'"{etag}"':
                self.snapshots.append(304)
                return Response(status_code=304)
            self.snapshots.append(200)
            head = json.dumps({"etag": etag, **self.kills})
            return Response(f"{head}\n{body}end\t{etag}\n", headers={"ETag": f'"{etag}"'})

        async def kills(_: Request) -> JSONResponse:
            if self.broken:
                return JSONResponse({"status": "error"}, 503)
            return _answer(self.kills)

        async def events(request: Request) -> JSONResponse:
            body = await request.json()
            status = self.answers.pop(0) if self.answers else 200
            if status == 200:
                self.posts.append(body["records"])
                return _answer({"accepted": len(body["records"])})
            return JSONResponse({"status": "error"}, status)

        def guarded(endpoint: Any) -> Any:
            async def call(request: Request) -> Response:
                if request.headers.get("authorization") != f"Bearer {MTA_TOKEN}":
                    return JSONResponse({"status": "error"}, 401)
                answer: Response = await endpoint(request)
                return answer

            return call

        return Starlette(
            routes=[
                Route("/internal/mta/v1/inboxes/{name}", guarded(inbox)),
                Route("/internal/mta/v1/domains/{domain}/dkim", guarded(key)),
                Route("/internal/mta/v1/owners/{inbox}", guarded(owner)),
                Route("/internal/mta/v1/snapshot", guarded(snapshot)),
                Route("/internal/mta/v1/kills", guarded(kills)),
                Route("/webhooks/kumomta", guarded(events), methods=["POST"]),
            ]
        )


def _answer(data: Any) -> JSONResponse:
    return JSONResponse({"status": "success", "data": data})


class Names(asyncio.DatagramProtocol):
    """A DNS server that knows mx.<domain> for every name below .test except void.test."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # The selector loop's datagram transports do not derive from DatagramTransport.
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        query = DNSRecord.parse(data)
        name, kind = str(query.q.qname).rstrip("."), QTYPE[query.q.qtype]
        reply = query.reply()
        if name.endswith("void.test"):
            reply.header.rcode = 3
        elif kind == "MX":
            reply.add_answer(RR(name, QTYPE.MX, ttl=60, rdata=MX(f"mx.{name}", 10)))
        elif kind == "A":
            reply.add_answer(RR(name, QTYPE.A, ttl=60, rdata=A("127.0.0.1")))
        elif kind == "TXT" and name.startswith("dark."):
            reply.header.rcode = 2
        elif kind == "TXT":
            reply.add_answer(RR(name, QTYPE.TXT, ttl=60, rdata=TXT(self._text(name))))
        self.transport.sendto(reply.pack(), addr)

    @staticmethod
    def _text(name: str) -> str | list[str]:
        """feedback.<domain> has an SPF record, fbl._domainkey.<domain> the public key."""
        if name.startswith("feedback."):
            return "v=spf1 ip4:127.0.0.1 -all"
        if name.startswith("fbl._domainkey."):
            spki = (
                dkim_key()
                .public_key()
                .public_bytes(
                    serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
                )
            )
            text = "v=DKIM1; k=rsa; p=" + base64.b64encode(spki).decode()
            return [text[at : at + 200] for at in range(0, len(text), 200)]
        return "none"


@dataclass
class Delivered:
    sender: str
    recipient: str
    content: bytes
    tls: bool


@dataclass
class Receiver:
    """The recipients' host. `refusals` maps a local part to the answer at RCPT TO."""

    mails: list[Delivered] = field(default_factory=list)
    refusals: dict[str, str] = field(default_factory=dict)

    async def handle_RCPT(
        self, _s: SMTP, _session: Session, envelope: Envelope, address: str, _o: list[str]
    ) -> str:
        refusal = self.refusals.get(address.partition("@")[0])
        if refusal:
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:
        content = envelope.content
        assert isinstance(content, bytes)
        tls = server._tls_protocol is not None
        self.mails += [
            Delivered(envelope.mail_from or "", recipient, content, tls)
            for recipient in envelope.rcpt_tos
        ]
        return "250 2.0.0 OK queued"

    def to(self, recipient: str) -> list[Delivered]:
        return [mail for mail in self.mails if mail.recipient == recipient]


@dataclass
class Plane:
    """The node under test and the hands to reach it."""

    world: World
    control_plane: ControlPlane
    receiver: Receiver
    redis: redis.Redis
    http: httpx.AsyncClient

    @property
    def port(self) -> int:
        return self.world.ports["submission"]

    @property
    def part(self) -> KumoMTA:
        part = self.world.parts["kumomta"]
        assert isinstance(part, KumoMTA)
        return part

    def add_inbox(self, email: str = ANNA, inbox: str = INBOX, **changes: Any) -> None:
        entry: Fields = {
            "inbox": inbox, "tenant": TENANT, "domain": DOMAIN, "email": email,
            "h": digest(PASSWORD), "status": "active", "day_limit": 100000, "month_limit": 1000000,
        }  # fmt: skip
        entry.update(changes)
        self.redis.hset(f"ig:inbox:{email}", mapping=entry)
        fields: Fields = {"tenant": TENANT, "selector": SELECTOR, "status": "active"}
        self.redis.hset(f"ig:domain:{DOMAIN}", mapping=fields)

    async def later(self, seconds: float) -> None:
        """Move the world's clock and do all that is due."""
        self.world.clock.advance(seconds)
        await self.part.tick()

    async def admin(self, method: str, path: str, **extra: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        return await self.http.request(method, f"/kumomta{path}", headers=headers, **extra)


class Client:
    """A customer's mail program, on smtplib."""

    def __init__(self, port: int) -> None:
        self.smtp = smtplib.SMTP("127.0.0.1", port, timeout=30)
        self.smtp.ehlo("client.test")

    def secure(self) -> Client:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.smtp.starttls(context=context)
        self.smtp.ehlo("client.test")
        return self

    def login(self, user: str = ANNA, password: str = PASSWORD) -> Client:
        self.smtp.login(user, password)
        return self

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.smtp.close()


def mail(sender: str = ANNA, recipient: str = BOB, subject: str = "Hello") -> EmailMessage:
    message = EmailMessage()
    message["From"] = f"Anna <{sender}>"
    message["To"] = recipient
    message["Subject"] = subject
    message.set_content("Good morning,\n\n.a line that starts with a dot\n\nAnna\n\n\n")
    return message


def send(port: int, *messages: EmailMessage, user: str = ANNA, password: str = PASSWORD) -> None:
    """Log in, send and leave; raises what smtplib raises."""
    with Client(port) as client:
        client.secure().login(user, password)
        for message in messages or (mail(),):
            client.smtp.send_message(message)
        client.smtp.quit()
