"""Ready queues: one per source and site, each with a few connections that are used again."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import aiosmtplib

from sandbox.clock import VirtualClock
from sandbox.kumomta.lua_object import Config
from sandbox.kumomta.lua_state import MISSING, PolicyFailed, Rejected
from sandbox.kumomta.message import Message
from sandbox.kumomta.mx import DomainFailed, DomainUnknown, Resolver
from sandbox.kumomta.policy import Policy
from sandbox.kumomta.queues import Queues
from sandbox.kumomta.records import Reply

CONFIG_SECONDS = 60.0
# How long an idle connection waits for more mail, in real seconds.
LINGER_SECONDS = 0.5


@dataclass
class Site:
    """What waits for one destination through one source."""

    name: str
    pool: str
    source: Config
    path: Config
    hosts: list[tuple[str, str]]
    resolved_at: datetime
    pending: deque[Message] = field(default_factory=deque)
    connections: int = 0
    idle: int = 0


class Egress:
    """Takes messages from the queues and reports every outcome back to them."""

    def __init__(
        self, clock: VirtualClock, policy: Policy, queues: Queues, resolver: Resolver, port: int
    ) -> None:
        self._clock, self._policy, self._queues = clock, policy, queues
        self._resolver, self._port = resolver, port
        self._sites: dict[tuple[str, str], Site] = {}
        self._opening: dict[tuple[str, str], asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self._tls = ssl.create_default_context()
        self._tls.check_hostname = False
        self._tls.verify_mode = ssl.CERT_NONE

    def submit(self, message: Message, pool: str) -> None:
        self._spawn(self._enqueue(message, pool))

    async def stop(self) -> None:
        """Let the messages in flight finish; what waits stays in the spool."""
        self._closing = True
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=5)
            for task in late:
                task.cancel()

    def forget(self) -> None:
        """Read pools, sources and paths again."""
        for site in self._sites.values():
            site.resolved_at = datetime.min.replace(tzinfo=site.resolved_at.tzinfo)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _enqueue(self, message: Message, pool: str) -> None:
        routing = message.meta.get("routing_domain") or message.recipients[0].rpartition("@")[2]
        domain = str(routing).lower()
        key = (pool, domain)
        try:
            async with self._opening.setdefault(key, asyncio.Lock()):
                site = await self._site(key)
        except DomainUnknown as error:
            reply = Reply(512, f"MxResolution for {domain}: {error}", (5, 1, 2))
            self._queues.failed(message, reply, egress_pool=pool)
            return
        except (DomainFailed, Rejected, PolicyFailed, _NoSources) as error:
            reply = Reply(451, f"KumoMTA internal: {error}", (4, 4, 4))
            self._queues.postponed(message, reply, egress_pool=pool)
            return
        site.pending.append(message)
        limit = _limit(site.path.values.get("connection_limit", 32))
        if site.connections < limit and len(site.pending) > site.idle:
            site.connections += 1
            self._spawn(self._work(site))

    async def _site(self, key: tuple[str, str]) -> Site:
        now = self._clock.now()
        site = self._sites.get(key)
        if site and (now - site.resolved_at).total_seconds() < CONFIG_SECONDS:
            return site
        pool_name, domain = key
        pool = await self._ask("get_egress_pool", pool_name)
        entries = pool.values.get("entries", []) if pool else []
        if not entries:
            raise _NoSources(f"no sources for pool={pool_name}")
        source_name = entries[0]["name"]
        source = await self._ask("get_egress_source", source_name)
        if source is None:
            raise _NoSources(f"unknown source {source_name}")
        hosts = await self._resolver.mail_hosts(domain)
        name = "-".join(sorted(host for host, _ in hosts))
        path = await self._ask("get_egress_path_config", domain, source_name, name)
        fresh = Site(
            f"{source_name}->{name}@smtp_client",
            pool_name,
            source,
            path or Config("path", {}),
            hosts,
            now,
        )
        if site is not None:
            fresh.pending, fresh.connections = site.pending, site.connections
            site.source, site.path, site.hosts = fresh.source, fresh.path, fresh.hosts
            site.resolved_at = now
            return site
        self._sites[key] = fresh
        return fresh

    async def _ask(self, event: str, *arguments: str) -> Config | None:
        made = await self._policy.fire(event, *arguments)
        return None if made is MISSING else made

    # One connection.

    async def _work(self, site: Site) -> None:
        try:
            while site.pending and not self._closing:
                try:
                    client, host, address = await self._connect(site)
                except _Unreachable as error:
                    self._give_up(site, error)
                    return
                try:
                    await self._use(site, client, host, address)
                finally:
                    await _quit(client)
        finally:
            site.connections -= 1

    def _give_up(self, site: Site, error: Exception) -> None:
        waiting = list(site.pending)
        site.pending.clear()
        reply = Reply(400, f"KumoMTA internal: failed to connect to any candidate hosts: {error}")
        for message in waiting:
            self._queues.postponed(
                message, reply, site=site.name, egress_pool=site.pool,
                egress_source=site.source.values["name"], delivery_protocol="ESMTP",
            )  # fmt: skip

    async def _connect(self, site: Site) -> tuple[aiosmtplib.SMTP, str, str]:
        problems = []
        timeout = site.path.values.get("connect_timeout", 60.0)
        for host, address in site.hosts:
            client = aiosmtplib.SMTP(
                hostname=address,
                port=site.source.values.get("remote_port", self._port),
                local_hostname=site.source.values.get("ehlo_domain", "localhost"),
                timeout=timeout,
                use_tls=False,
                start_tls=False,
            )
            try:
                await client.connect()
                await client.ehlo()
                wanted = site.path.values.get("enable_tls", "Opportunistic")
                offered = client.supports_extension("starttls")
                if wanted.startswith("Required") and not offered:
                    raise aiosmtplib.SMTPException("TLS is required, and STARTTLS is not offered")
                if wanted != "Disabled" and offered:
                    await client.starttls(tls_context=self._tls, validate_certs=False)
                    await client.ehlo()
                return client, host, address
            except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
                problems.append(f"{host} ({address}): {error}")
                client.close()
        raise _Unreachable("; ".join(problems) or "no addresses")

    async def _use(self, site: Site, client: aiosmtplib.SMTP, host: str, address: str) -> None:
        """Send what waits over this connection, until it is idle, used up or broken."""
        left = site.path.values.get("max_deliveries_per_connection", 1024)
        while left and not self._closing:
            if not site.pending and not await self._more(site):
                return
            message = site.pending.popleft()
            if self._queues.held(message):
                continue
            left -= 1
            if not await self._send(site, client, host, address, message):
                return

    async def _more(self, site: Site) -> bool:
        """Wait a moment for more mail; kumod does so for idle_timeout."""
        site.idle += 1
        try:
            for _ in range(int(LINGER_SECONDS / 0.02)):
                await asyncio.sleep(0.02)
                if self._closing:
                    return False
                if site.pending:
                    return True
            return False
        finally:
            site.idle -= 1

    async def _send(
        self, site: Site, client: aiosmtplib.SMTP, host: str, address: str, message: Message
    ) -> bool:
        """False when the connection cannot be used for another message."""
        fields = self._fields(site, client, host, address)
        sender, recipient = message.envelope_sender, message.recipients[0]
        command = f"MAIL FROM:<{sender}>\r\n"
        try:
            await client.mail(sender)
            command = f"RCPT TO:<{recipient}>\r\n"
            await client.rcpt(recipient)
            command = ".\r\n"
            answer = await client.data(message.content)
            reply = Reply.parse(answer.code, answer.message, command)
            self._queues.delivered(message, reply, **fields)
            return True
        except aiosmtplib.SMTPResponseException as error:
            reply = Reply.parse(error.code, error.message, command)
            if 500 <= error.code < 600:
                self._queues.failed(message, reply, **fields)
            else:
                self._queues.postponed(message, reply, **fields)
            return await _reset(client, error.code)
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            reply = Reply(421, f"KumoMTA internal: connection lost: {error}", (4, 4, 2), command)
            self._queues.postponed(message, reply, **fields)
            return False

    def _fields(
        self, site: Site, client: aiosmtplib.SMTP, host: str, address: str
    ) -> dict[str, Any]:
        transport = client.transport
        own = transport.get_extra_info("sockname") if transport else None
        fields: dict[str, Any] = {
            "site": site.name,
            "peer_address": {"name": f"{host}.", "addr": address},
            "egress_pool": site.pool,
            "egress_source": site.source.values["name"],
            "source_address": {"address": f"{own[0]}:{own[1]}"} if own else None,
            "delivery_protocol": "ESMTP",
        }
        secured = transport.get_extra_info("ssl_object") if transport else None
        if secured is not None and secured.cipher() is not None:
            fields["tls_cipher"] = secured.cipher()[0]
            fields["tls_protocol_version"] = secured.version()
            fields["tls_peer_subject_name"] = []
        return fields


class _NoSources(Exception):
    pass


class _Unreachable(Exception):
    pass


def _limit(value: object) -> int:
    """connection_limit is a number or a text such as "local:10"."""
    if isinstance(value, str):
        return int(value.removeprefix("local:").replace(",", "").replace("_", ""))
    return int(value) if isinstance(value, int) else 32


async def _reset(client: aiosmtplib.SMTP, code: int) -> bool:
    if code == 421:
        return False
    try:
        await client.rset()
    except (aiosmtplib.SMTPException, OSError, TimeoutError):
        return False
    return True


async def _quit(client: aiosmtplib.SMTP) -> None:
    try:
        await client.quit()
    except (aiosmtplib.SMTPException, OSError, TimeoutError):
        client.close()
