"""The recipients' side as a part of the world."""

from __future__ import annotations

import logging

from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from sandbox.receivers.certificate import server_context
from sandbox.receivers.exchange import Exchange
from sandbox.receivers.lookups import Lookups
from sandbox.receivers.magic import PROVIDERS, manner_of
from sandbox.receivers.mailbox import Mailbox
from sandbox.receivers.outgoing import Outgoing
from sandbox.receivers.pages import Pages
from sandbox.store import Document
from sandbox.world import World


class Receivers:
    """Gmail, Outlook, Yahoo and a company, all behind one listener."""

    name = "mail"

    def __init__(self, world: World) -> None:
        self._world = world
        self._lookups = Lookups(lambda: (world.config.host, world.ports["dns"]))
        self._mailbox = Mailbox(world)
        self._outgoing = Outgoing(world, self._lookups)
        self._exchange = Exchange(world, self._lookups, self._mailbox, self._accepted)
        self._pages = Pages(world, self._mailbox, self._outgoing, self._exchange)

    def asgi(self) -> ASGIApp:
        return self._pages.app()

    async def start(self) -> None:
        # aiosmtpd tells every command at INFO, which drowns everything else.
        logging.getLogger("mail.log").setLevel(logging.WARNING)
        tls = server_context([f"mx.{domain}" for domain in PROVIDERS])
        config = self._world.config
        self._world.ports["mx"] = await self._exchange.start(config.host, config.mx_port, tls)

    async def stop(self) -> None:
        await self._outgoing.stop()
        await self._exchange.stop()

    async def tick(self) -> None:
        self._outgoing.tick()

    def control(self) -> list[BaseRoute]:
        return self._pages.control()

    def _accepted(self, document: Document) -> None:
        report = manner_of(document["rcpt_to"]).report
        if report == "arf":
            self._outgoing.complain(document)
        elif report == "dsn":
            self._outgoing.bounce(document)
