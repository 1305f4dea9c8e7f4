"""The SMTP listener: every decision is an event of the policy, as in kumod's smtp_server.rs."""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import ssl
import uuid
from collections.abc import Awaitable, Callable
from email.utils import format_datetime
from typing import Any, AnyStr

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from sandbox.clock import VirtualClock
from sandbox.faults import Faults
from sandbox.kumomta.lua_object import Address, Config
from sandbox.kumomta.lua_state import MISSING, PolicyFailed, Rejected
from sandbox.kumomta.message import ConnectionMeta, Message
from sandbox.kumomta.policy import Policy
from sandbox.kumomta.records import Journal, Reply
from sandbox.kumomta.reports import Reports, trace_header

log = logging.getLogger("sandbox.kumomta.submission")
# aiosmtpd tells every command at INFO; clients' addresses are of no use there.
logging.getLogger("mail.log").setLevel(logging.WARNING)

TROUBLE = "421 4.3.0 technical difficulties"


class Connection(SMTP):
    """aiosmtpd's protocol plus kumod's per-connection state."""

    def __init__(self, listener: Listener) -> None:
        super().__init__(
            listener,
            hostname=listener.hostname,
            ident="KumoMTA",
            tls_context=listener.tls,
            auth_require_tls=True,
            auth_exclude_mechanism=["LOGIN"],
            data_size_limit=listener.options.get("max_message_size", 20 * 1024 * 1024),
            timeout=listener.options.get("client_timeout", 60.0),
            loop=asyncio.get_running_loop(),
        )
        self.meta = ConnectionMeta({})
        self.session_id = str(uuid.uuid4())
        self.helo = "unspecified"
        self.domains: dict[str, Config | None] = {}
        self.recipients = 0

    async def push(self, status: AnyStr) -> None:
        await super().push(status)
        # aiosmtpd answers in text, its own AUTH challenges in bytes.
        if str(status).startswith("421") and self.transport is not None:
            self.transport.close()


class Listener:
    """One start_esmtp_listener; `accept` takes the finished messages of a transaction."""

    def __init__(
        self,
        options: dict[str, Any],
        tls: ssl.SSLContext,
        policy: Policy,
        journal: Journal,
        clock: VirtualClock,
        faults: Faults,
        accept: Callable[[list[Message]], Awaitable[None]],
        reports: Reports,
        verify: Callable[[Message], list[dict[str, Any]]],
    ) -> None:
        self.options = options
        self.tls = tls
        self.hostname: str = options.get("hostname", "localhost")
        self.port = 0
        self._policy, self._journal, self._clock = policy, journal, clock
        self._faults, self._accept, self._reports = faults, accept, reports
        self._verify = verify
        self._server: asyncio.Server | None = None
        self._open: set[Connection] = set()

    async def start(self, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), host, port, backlog=512)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in list(self._open):
            if connection.transport is not None:
                connection.transport.close()
        if self._server is not None:
            await self._server.wait_closed()

    # Hooks of aiosmtpd. Each returns the answer.

    async def handle_EHLO(
        self, server: Connection, session: Session, _e: Envelope, name: str, answers: list[str]
    ) -> list[str]:
        session.host_name = name
        server.helo = name
        self._greet(server, session)
        kept = [line for line in answers if not line.upper().startswith(("250 HELP", "250-SIZE"))]
        limit = server.data_size_limit
        return [*kept, "250-PIPELINING", "250-ENHANCEDSTATUSCODES", f"250 SIZE {limit}"]

    async def handle_HELO(
        self, server: Connection, session: Session, _e: Envelope, name: str
    ) -> str:
        session.host_name = name
        server.helo = name
        self._greet(server, session)
        return f"250 Hello {name}!"

    def _greet(self, server: Connection, session: Session) -> None:
        self._open = {c for c in self._open if c.transport is not None}
        self._open.add(server)
        peer = session.peer or ("127.0.0.1", 0)
        server.meta.values.setdefault("reception_protocol", "ESMTP")
        server.meta.values.setdefault("received_from", f"{peer[0]}:{peer[1]}")
        server.meta.values.setdefault("received_via", self.options["listen"])
        server.meta.values.setdefault("hostname", self.hostname)

    async def auth_PLAIN(self, server: Connection, args: list[str]) -> AuthResult:
        """AUTH PLAIN (RFC 4616); `response` is what a real node would write into its log."""
        if len(args) == 2:
            response = args[1]
            try:
                payload = base64.b64decode("" if response == "=" else response, validate=True)
            except binascii.Error:
                await self._refuse(server, 501, "5.5.2 Invalid base64 response", response)
                return AuthResult(success=False, handled=True)
        else:
            answer = await server.challenge_auth("")
            if not isinstance(answer, bytes):
                return AuthResult(success=False, handled=True)
            payload, response = answer, base64.b64encode(answer).decode()
        pieces = payload.split(b"\0")
        try:
            authz, authc, password = (piece.decode("utf-8") for piece in pieces)
        except ValueError:
            await self._refuse(server, 501, "5.5.2 Invalid decoded PLAIN response", response)
            return AuthResult(success=False, handled=True)
        authz = authz or authc
        outcome = await self._ask(
            server, response, "smtp_server_auth_plain", authz, authc, password, server.meta
        )
        if isinstance(outcome, str):
            await server.push(outcome)
            return AuthResult(success=False, handled=True)
        if outcome is MISSING or not outcome:
            await self._refuse(server, 535, "5.7.8 AUTH invalid", response)
            return AuthResult(success=False, handled=True)
        server.meta.values.update(authz_id=authz, authn_id=authc)
        server.domains.clear()
        return AuthResult(success=True, message="235 2.7.0 AUTH OK!")

    async def handle_MAIL(
        self, server: Connection, _s: Session, envelope: Envelope, sender: str, _o: list[str]
    ) -> str:
        fault = self._faults.take("kumomta", f"SMTP MAIL FROM:<{sender}>")
        if fault is not None and fault.mode in ("stall", "timeout_after"):
            await asyncio.sleep(fault.seconds)
        elif fault is not None:
            return TROUBLE if fault.mode == "reset" else "451 4.3.0 temporarily unavailable"
        sender = sender or ""
        command = f"MAIL FROM:<{sender}>"
        outcome = await self._ask(
            server, command, "smtp_server_mail_from", Address(sender), server.meta
        )
        if isinstance(outcome, str):
            return outcome
        envelope.mail_from = sender
        return "250 OK"

    async def handle_RCPT(
        self, server: Connection, _s: Session, envelope: Envelope, recipient: str, _o: list[str]
    ) -> str:
        command = f"RCPT TO:<{recipient}>"
        address = Address(recipient)
        fields = {
            "sender": envelope.mail_from or "",
            "recipient": envelope.rcpt_tos[-1] if envelope.rcpt_tos else "",
        }
        domain = await self._listener_domain(server, address.domain)
        if isinstance(domain, str):
            return domain
        if domain is None or not self._admits(domain):
            text = f"5.7.1 relaying not permitted for {server.meta.values['received_from']}"
            return self._rejection(server, 550, text, command, **fields)
        if len(envelope.rcpt_tos) >= self.options.get("max_recipients_per_message", 1024):
            return self._rejection(server, 452, "4.5.3 too many recipients", command, **fields)
        outcome = await self._ask(
            server, command, "smtp_server_rcpt_to", address, server.meta, **fields
        )
        if isinstance(outcome, str):
            return outcome
        envelope.rcpt_tos.append(recipient)
        return "250 OK"

    async def handle_DATA(self, server: Connection, _s: Session, envelope: Envelope) -> str:
        content = envelope.content if isinstance(envelope.content, bytes) else b""
        base = Message(
            envelope.mail_from or "",
            list(envelope.rcpt_tos),
            content,
            dict(server.meta.values),
            self._clock.now,
        )
        outcome = await self._ask(server, "DATA", "smtp_server_data", base, server.meta)
        if isinstance(outcome, str):
            return outcome
        messages = []
        for recipient in base.recipients:
            message = Message(
                base.envelope_sender,
                [recipient],
                base.content,
                {**base.meta, **server.meta.values},
                self._clock.now,
            )
            message.verifier = self._verify
            trace = self.options["trace_headers"]
            if trace.get("received_header", True):
                message.content = self._received(server, message) + message.content
            outcome = await self._ask(
                server, "DATA", "smtp_server_message_received", message, server.meta
            )
            if isinstance(outcome, str):
                return outcome
            if trace.get("supplemental_header", True):
                message.content = trace_header(message, trace) + message.content
            messages.append(message)
        return await self._finish(server, messages, envelope.mail_from or "")

    async def _finish(self, server: Connection, messages: list[Message], sender: str) -> str:
        # Faults are chosen by the sender that the client named, whatever the policy made of it.
        fault = self._faults.take("kumomta", f"SMTP DATA {sender}")
        if fault is not None and fault.mode in ("fail_before", "rate_limit"):
            return "451 4.3.0 temporarily unavailable"
        kept = []
        for message in messages:
            domain = await self._listener_domain(server, message.recipients[0].rpartition("@")[2])
            settings = domain.values if isinstance(domain, Config) else {"relay_to": True}
            # A complaint is logged as Feedback in place of its Reception.
            if settings.get("relay_to") or not self._reports.read(message, settings):
                self._received_record(server, message)
            if settings.get("relay_to"):
                kept.append(message)
        await self._accept(kept)
        if fault is not None:
            await asyncio.sleep(0 if fault.mode == "reset" else min(fault.seconds, 300))
            return TROUBLE
        return "250 OK ids=" + ",".join(message.spool_id for message in messages)

    # Help.

    async def _ask(
        self, server: Connection, command: str, event: str, *arguments: Any, **fields: Any
    ) -> Any:
        """The handler's value, or the text of a refusal, which is logged as a Rejection."""
        try:
            return await self._policy.fire(event, *arguments)
        except Rejected as refusal:
            code, text = refusal.code, refusal.message
            answer = self._rejection(server, code, text, command, **fields)
            if refusal.disposition == "FollowWith421" and code != 421:
                await server.push(answer)
                return f"421 {self.hostname} disconnecting due to previous error"
            if refusal.disposition == "ForceDisconnect" and server.transport is not None:
                await server.push(answer)
                server.transport.close()
            return answer
        except PolicyFailed:
            log.exception("policy failed in %s", event)
            return self._rejection(server, 421, TROUBLE.removeprefix("421 "), command, **fields)

    async def _refuse(self, server: Connection, code: int, text: str, command: str) -> None:
        await server.push(self._rejection(server, code, text, command))

    def _rejection(
        self, server: Connection, code: int, text: str, command: str, **fields: Any
    ) -> str:
        self._journal.write(
            "Rejection",
            Reply.parse(code, text, command),
            None,
            peer_address=self._peer(server),
            meta=dict(server.meta.values),
            session_id=server.session_id,
            **fields,
        )
        return f"{code} {text}"

    def _peer(self, server: Connection) -> dict[str, str]:
        address = str(server.meta.values.get("received_from", "")).rpartition(":")[0]
        return {"name": server.helo, "addr": address}

    async def _listener_domain(self, server: Connection, domain: str) -> Config | str | None:
        """Cached per session, as in kumod; a text is a refusal."""
        if domain not in server.domains:
            found = await self._ask(
                server,
                "RCPT",
                "get_listener_domain",
                domain,
                self.options["listen"],
                server.meta,
            )
            if isinstance(found, str):
                return found
            server.domains[domain] = found if isinstance(found, Config) else None
        return server.domains[domain]

    def _admits(self, domain: Config) -> bool:
        values = domain.values
        logs = {"LogThenDrop", "LogThenRelay", True}
        return bool(
            values.get("relay_to") or values.get("log_oob") in logs or values.get("log_arf") in logs
        )

    def _received(self, server: Connection, message: Message) -> bytes:
        tls = server.session is not None and server.session.ssl is not None
        authenticated = "authn_id" in server.meta.values
        protocol = "ESMTPSA" if tls and authenticated else "ESMTPS" if tls else "ESMTP"
        address = self._peer(server)["addr"]
        return (
            f"Received: from {server.helo} ({address})\r\n"
            f"  by {self.hostname} (KumoMTA)\r\n"
            f"  with {protocol} id {message.spool_id} for <{message.recipients[0]}>;\r\n"
            f"  {format_datetime(self._clock.now())}\r\n"
        ).encode()

    def _received_record(self, server: Connection, message: Message) -> None:
        extra: dict[str, Any] = {}
        transport = server.transport
        ssl_object = transport.get_extra_info("ssl_object") if transport is not None else None
        if ssl_object is not None and ssl_object.cipher() is not None:
            extra = {
                "tls_cipher": ssl_object.cipher()[0],
                "tls_protocol_version": ssl_object.version(),
                "tls_peer_subject_name": [],
            }
        self._journal.write(
            "Reception",
            Reply(250, ""),
            message,
            peer_address=self._peer(server),
            session_id=server.session_id,
            **extra,
        )
