"""How many requests may work at once.

A request keeps its database connection from sign-in to commit and needs a thread several times
between. Let everybody in, and those who hold all connections wait for threads, held by those
who wait for connections. So fewer are let in than there are connections, and fewer still to what
waits for a provider: when that hangs, the others go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request

from app.database.session import POOL_SIZE
from app.errors import Unavailable

WORKING = POOL_SIZE - 6
"""The rest of the pool is for short transactions beside them: claims, sign-ins, event streams."""

WAITING_FOR_PROVIDERS = 6
PATIENCE = 5.0
"""Seconds in the queue before a request is sent away: better a clear 503 than a long silence."""


class Lane:
    """Lets `width` in at a time."""

    def __init__(self, width: int) -> None:
        self._places = asyncio.Semaphore(width)

    @asynccontextmanager
    async def enter(self) -> AsyncIterator[None]:
        """Wait for a place. Raises Unavailable when none comes free in time."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self._places.acquire()
        except TimeoutError:
            raise Unavailable from None
        try:
            yield
        finally:
            self._places.release()


class Lanes:
    """Those of one process."""

    def __init__(self) -> None:
        self.working = Lane(WORKING)
        self.providers = Lane(WAITING_FOR_PROVIDERS)


async def provider_lane(request: Request) -> AsyncIterator[None]:
    """Dependency of routes that wait for a provider."""
    async with request.app.state.lanes.providers.enter():
        yield
