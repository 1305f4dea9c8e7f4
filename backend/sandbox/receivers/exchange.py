"""The mail exchange: one SMTP listener for every domain of the recipients' side."""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiosmtpd.smtp import SMTP, Session
from aiosmtpd.smtp import Envelope as Transaction

from sandbox.receivers.judge import Envelope, judge
from sandbox.receivers.lookups import LookupFailed, Lookups
from sandbox.receivers.magic import PROVIDERS, manner_of
from sandbox.receivers.mailbox import Mailbox
from sandbox.receivers.mischief import Mischief
from sandbox.store import Document
from sandbox.world import World

log = logging.getLogger("sandbox.mail")
# What Gmail takes.
SIZE_LIMIT = 25 * 1024 * 1024
# RFC 5322 section 2.1.1: 998 characters and the line end.
LINE_LIMIT = 1000
PLATFORM = "inboxgrove.test"
MAX_GREYLISTED = 10_000


class Protocol(SMTP):
    """One connection. aiosmtpd speaks; this adds what happens before the greeting."""

    # Longer lines are read, so that a message with bare line feeds is told so.
    line_length_limit = 256 * 1024
    handling: asyncio.Task[None] | None = None

    async def _handle_client(self) -> None:
        handler: Exchange = self.event_handler
        self.handling = asyncio.current_task()
        handler.connections.add(self)
        try:
            refusal = await handler.connected(self)
            if refusal is not None:
                await self.push(refusal)
                self.close()
                return
            await super()._handle_client()
        finally:
            handler.connections.discard(self)

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """Drop the connection without a word."""
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.abort()


class Exchange:
    """Decides about senders, recipients and messages; the methods named handle_* are hooks.

    Rules in `world.faults` for the part "mail" are matched against "CONNECT <ip>",
    "EHLO <name>", "HELO <name>", "MAIL <address>", "RCPT <address>" and
    "DATA <sender> <recipients>\\n<headers>"; mischief.py tells the modes.
    """

    def __init__(
        self,
        world: World,
        lookups: Lookups,
        mailbox: Mailbox,
        accepted: Callable[[Document], None],
    ) -> None:
        """`accepted` is told about each message put into a mailbox."""
        self._world = world
        self._lookups = lookups
        self._mailbox = mailbox
        self._accepted = accepted
        self._refusals = world.store.collection("mail.refusals")
        self._greylisted: set[tuple[str, str, str]] = set()
        self._pool = ThreadPoolExecutor(max_workers=24, thread_name_prefix="judge")
        self._server: asyncio.Server | None = None
        self.connections: set[Protocol] = set()

    async def start(self, host: str, port: int, tls: ssl.SSLContext) -> int:
        """Listen; returns the port that was bound."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Protocol(
                self,
                data_size_limit=SIZE_LIMIT,
                enable_SMTPUTF8=True,
                hostname=f"mx.{PROVIDERS[0]}",
                ident="ESMTP ready",
                tls_context=tls,
                auth_exclude_mechanism=["LOGIN", "PLAIN"],
                timeout=300,
                loop=loop,
            ),
            host,
            port,
            backlog=512,
        )
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        handlers = [connection.handling for connection in self.connections]
        for connection in list(self.connections):
            connection.abort()
        await asyncio.gather(*(task for task in handlers if task), return_exceptions=True)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def forget(self) -> None:
        """Start over: first tries are first tries again, and DNS answers are asked anew."""
        self._greylisted.clear()
        self._lookups.forget()

    async def connected(self, server: Protocol) -> str | None:
        """The refusal to greet with, or None."""
        peer = server.session.peer[0] if server.session and server.session.peer else ""
        return await self._refused(server, f"CONNECT {peer}", 421)

    async def handle_EHLO(
        self,
        server: Protocol,
        session: Session,
        _envelope: Transaction,
        hostname: str,
        responses: list[str],
    ) -> list[str]:
        refusal = await self._refused(server, f"EHLO {hostname}", 550)
        if refusal is not None:
            return [refusal]
        session.host_name = hostname
        # Nobody logs in at a mail exchange.
        return [line for line in responses if not line.startswith("250-AUTH")]

    async def handle_HELO(
        self, server: Protocol, session: Session, _envelope: Transaction, hostname: str
    ) -> str:
        refusal = await self._refused(server, f"HELO {hostname}", 550)
        if refusal is not None:
            return refusal
        session.host_name = hostname
        return f"250 {server.hostname}"

    async def handle_MAIL(
        self,
        server: Protocol,
        _session: Session,
        envelope: Transaction,
        address: str,
        options: list[str],
    ) -> str:
        refusal = await self._refused(server, f"MAIL {address}", 550)
        if refusal is not None:
            return refusal
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(
        self,
        server: Protocol,
        session: Session,
        envelope: Transaction,
        address: str,
        options: list[str],
    ) -> str:
        answer = await self._refused(server, f"RCPT {address}", 550)
        if answer is None:
            answer = await self._refusal_of(address, session, envelope)
        if answer is not None:
            self._mailbox.note_refusal(answer, _facts(session, envelope), address)
            return answer
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: Protocol, session: Session, envelope: Transaction) -> str:
        facts = _facts(session, envelope)
        raw = bytes(envelope.original_content or b"")
        mischief = self._mischief(
            server,
            f"DATA {facts.mail_from} {','.join(facts.rcpt_tos)}\n"
            + raw.partition(b"\r\n\r\n")[0].decode("utf-8", "replace"),
        )
        refusal = await mischief.before(451)
        if refusal is not None:
            return refusal
        return await mischief.after(await self._judge_and_keep(facts, raw))

    async def handle_exception(self, error: Exception) -> str:
        # Our own trouble must never look like a verdict about the message.
        log.error("the mail exchange failed", exc_info=error)
        return "451 4.3.0 Local error in processing"

    async def _refusal_of(
        self, address: str, session: Session, envelope: Transaction
    ) -> str | None:
        domain = address.rpartition("@")[2].lower()
        try:
            ours = await asyncio.get_running_loop().run_in_executor(
                self._pool, self._receives_for, domain
            )
        except LookupFailed:
            return "451 4.4.3 Temporary DNS failure, try again later"
        # For the platform's own letters to people this is the smart host that takes them anywhere.
        sender = str(envelope.mail_from or "").rpartition("@")[2].lower()
        if not ours and sender != PLATFORM:
            return "550 5.7.1 Relaying denied"
        ordered = self._refusals.get(domain)
        if ordered is not None:
            return f"{ordered['code']} {ordered['text']}"
        manner = manner_of(address)
        if manner.once:
            attempt = (_facts(session, envelope).client_ip, str(envelope.mail_from), address)
            if attempt in self._greylisted:
                return None
            if len(self._greylisted) >= MAX_GREYLISTED:
                self._greylisted.clear()
            self._greylisted.add(attempt)
        return manner.refusal

    def _receives_for(self, domain: str) -> bool:
        """Ours are the providers, the platform, and whoever names our hosts as mail exchange."""
        if domain in PROVIDERS or domain == PLATFORM or domain.endswith(f".{PLATFORM}"):
            return True
        zone = self._world.config.env.get("MAIL_ZONE", f"mta.{PLATFORM}")
        hosts = {f"mx1.{zone}", f"mx2.{zone}"}
        answer = self._lookups.ask(domain, "MX")
        return any(host.lower() in hosts for _, host in answer.exchanges)

    async def _judge_and_keep(self, facts: Envelope, raw: bytes) -> str:
        flaw = _flaw(raw)
        if flaw is not None:
            for recipient in facts.rcpt_tos:
                self._mailbox.note_refusal(flaw, facts, recipient)
            return flaw
        wait = max(manner_of(recipient).wait for recipient in facts.rcpt_tos)
        if wait:
            await asyncio.sleep(wait)
        now = self._world.clock.timestamp()
        verdict, head = await asyncio.get_running_loop().run_in_executor(
            self._pool, judge, self._lookups, facts, raw, now
        )
        answer = None
        if not head.author:
            # As Gmail does for messages without exactly one author.
            answer = "550 5.7.1 Messages must have one From field with one valid address"
        elif verdict.action == "refuse":
            answer = (
                f"550 5.7.26 Unauthenticated email from {head.author_domain} is not accepted"
                " due to domain's DMARC policy"
            )
        if answer is not None:
            for recipient in facts.rcpt_tos:
                self._mailbox.note_refusal(answer, facts, recipient, (verdict, head))
            return answer
        kept = [self._mailbox.keep(facts, r, raw, verdict, head) for r in facts.rcpt_tos]
        for document in kept:
            self._accepted(document)
        return f"250 2.0.0 OK {self._world.clock.timestamp()} {kept[0]['id']} - sandbox"

    def _mischief(self, server: Protocol, operation: str) -> Mischief:
        return Mischief(self._world.faults.take("mail", operation), server.abort)

    async def _refused(self, server: Protocol, operation: str, status: int) -> str | None:
        return await self._mischief(server, operation).before(status)


def _flaw(raw: bytes) -> str | None:
    """What no provider takes whoever sends it (RFC 5321 sections 2.3.8 and 4.5.3.1.6)."""
    if re.search(rb"(?<!\r)\n", raw) is not None:
        return "550 5.6.11 Message contains bare linefeeds, which cannot be sent via DATA"
    if any(len(line) > LINE_LIMIT - 2 for line in raw.split(b"\r\n")):
        return "500 5.5.2 Line too long (see RFC 5321 section 4.5.3.1.6)"
    return None


def _facts(session: Session, envelope: Transaction) -> Envelope:
    peer: Any = session.peer
    # aiosmtpd names the null sender "<>".
    sender = (envelope.mail_from or "").removeprefix("<>")
    return Envelope(
        client_ip=str(peer[0]) if peer else "",
        helo=session.host_name or "",
        mail_from=sender,
        rcpt_tos=tuple(envelope.rcpt_tos),
        tls=session.ssl is not None,
    )
