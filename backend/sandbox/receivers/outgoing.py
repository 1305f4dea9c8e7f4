"""Reports on their way back to the sender, by SMTP through the MX of their address."""

from __future__ import annotations

import asyncio
import logging
import random
from datetime import datetime, timedelta
from typing import Any

import aiosmtplib

from sandbox.receivers import reports
from sandbox.receivers.lookups import LookupFailed, Lookups
from sandbox.store import Collection, Document
from sandbox.world import World

log = logging.getLogger("sandbox.mail")
# Waits after a failed try, in seconds of the sandbox's clock; then the report is given up.
RETRIES = (5, 60, 900)
TIMEOUT = 15.0
MAX_REPORTS = 2_000


class Outgoing:
    """Reports in the store, each waiting, delivered, undeliverable or dropped on request."""

    def __init__(self, world: World, lookups: Lookups) -> None:
        self._world = world
        self._lookups = lookups
        self.reports: Collection = world.store.collection("mail.reports")
        self._sending: dict[str, asyncio.Task[None]] = {}

    def complain(self, document: Document) -> list[str]:
        """Queue an abuse report about a kept message; returns the ids of the reports."""
        zone = self._world.config.env.get("MAIL_ZONE", "mta.inboxgrove.test")
        to = f"fbl@fbl.{zone}"
        raw = reports.complaint(document, to, self._world.clock.now())
        domain = document["rcpt_to"].rpartition("@")[2]
        return self._queue("arf", to, raw, document, sender=f"fbl@feedback.{domain}")

    def bounce(self, document: Document) -> list[str]:
        """Queue a late bounce to the envelope sender; none for the null sender (RFC 5321 4.5.5)."""
        if not document["mail_from"]:
            return []
        raw = reports.late_bounce(document, self._world.clock.now())
        return self._queue("dsn", document["mail_from"], raw, document)

    def tick(self) -> None:
        """Start sending what is due; a slow host must not hold the clock of the other parts."""
        now = self._world.clock.now()
        due = [
            key
            for key, report in self.reports.items()
            if report["status"] == "waiting"
            and key not in self._sending
            and datetime.fromisoformat(report["due_at"]) <= now
        ]
        if self._world.faults.deliveries("mail").shuffle:
            random.shuffle(due)
        for key in due:
            task = asyncio.create_task(self._send(key))
            self._sending[key] = task

    def forget(self) -> None:
        for key in self.reports:
            del self.reports[key]

    async def stop(self) -> None:
        tasks = list(self._sending.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _queue(
        self, kind: str, to: str, raw: bytes, about: Document, *, sender: str = ""
    ) -> list[str]:
        manner = self._world.faults.deliveries("mail")
        now = self._world.clock.now()
        dropped = random.random() < manner.drop
        keys = []
        for _ in range(1 + manner.duplicate):
            key = str(self.reports.next_id())
            self.reports[key] = {
                "id": key,
                "kind": kind,
                "sender": sender,
                "to": to,
                "message_id": about["id"],
                "about": about["rcpt_to"],
                "created_at": now.isoformat(),
                "due_at": (now + timedelta(seconds=manner.delay_seconds)).isoformat(),
                "status": "dropped" if dropped else "waiting",
                "attempts": 0,
                "detail": "",
                "raw": raw.decode("latin-1"),
            }
            keys.append(key)
        while len(self.reports) > MAX_REPORTS:
            del self.reports[next(iter(self.reports))]
        return keys

    async def _send(self, key: str) -> None:
        report = self.reports[key]
        report["attempts"] += 1
        try:
            await self._attempt(report)
        finally:
            self._sending.pop(key, None)
        if key in self.reports:
            self.reports.save(key)

    async def _attempt(self, report: Document) -> None:
        try:
            host, port = await asyncio.to_thread(self._destination, report["to"])
            answer = await _deliver(host, port, report)
            report |= {"status": "delivered", "detail": f"{host}:{port} answered {answer}"}
        except (LookupFailed, OSError, aiosmtplib.SMTPException) as error:
            self._postpone(report, error)

    def _postpone(self, report: Document, error: Exception) -> None:
        report["detail"] = f"{type(error).__name__}: {error}"
        tried = report["attempts"]
        permanent = isinstance(error, aiosmtplib.SMTPResponseException) and error.code >= 500
        if permanent or tried > len(RETRIES):
            report["status"] = "undeliverable"
            log.warning("report %s to %s given up: %s", report["id"], report["to"], error)
            return
        due = self._world.clock.now() + timedelta(seconds=RETRIES[tried - 1])
        report["due_at"] = due.isoformat()

    def _destination(self, address: str) -> tuple[str, int]:
        """Where the first mail host of a domain listens (blocking).

        On loopback one port per machine stands for port 25. Hosts of the platform's zone are
        the relay, which takes reports at its port `inbound` when it has one; every other host
        is ours.
        """
        domain = address.rpartition("@")[2]
        zone = self._world.config.env.get("MAIL_ZONE", "mta.inboxgrove.test")
        ports = self._world.ports
        for host in self._lookups.exchanges(domain):
            relay = host.lower().endswith(f".{zone}")
            for ip in self._lookups.addresses(host):
                return ip, ports.get("inbound", ports["mx"]) if relay else ports["mx"]
        raise LookupFailed(f"{domain} has no mail host")


async def _deliver(host: str, port: int, report: Document) -> str:
    """One SMTP session; an untrusted certificate is taken, as between mail hosts (RFC 7435)."""
    client = aiosmtplib.SMTP(
        hostname=host,
        port=port,
        timeout=TIMEOUT,
        validate_certs=False,
        local_hostname=f"mx.{report['about'].rpartition('@')[2]}",
    )
    raw: Any = str(report["raw"]).encode("latin-1")
    async with client:
        options = ["BODY=8BITMIME"] if client.supports_extension("8bitmime") else []
        _, answer = await client.sendmail(
            report.get("sender", ""), [report["to"]], raw, mail_options=options
        )
    return str(answer)
