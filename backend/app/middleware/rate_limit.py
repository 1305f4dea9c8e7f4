"""Counting requests: in Redis for all processes together, here alone while Redis is away.

The counting is asked for by a dependency, which knows who asks; the middleware only tells the
caller how it stands.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from limits import RateLimitItemPerSecond
from limits.errors import StorageError
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.utils import monitoring

_PAUSE = 5.0
"""Seconds without asking Redis after it failed: a frozen one slows one request and not all."""


@dataclass(frozen=True)
class Standing:
    """How a caller stands against the limit that refused, else the one of the shortest time."""

    allowed: bool
    limit: int
    remaining: int
    reset_seconds: int
    """Until there is room again."""


class RateLimiter:
    """Sliding windows; thread-safe.

    While Redis is away each process counts for itself and allows half, which is counted in
    ig_rate_limit_fallbacks_total.
    """

    def __init__(self, redis_url: str) -> None:
        storage = RedisStorage(
            redis_url,
            key_prefix="ig:rate",
            wrap_exceptions=True,
            socket_timeout=0.5,
            socket_connect_timeout=0.5,
            retry=None,  # type: ignore[arg-type]  # Handed to the client, which takes None.
        )
        self._shared = SlidingWindowCounterRateLimiter(storage)
        self._local = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._away_until = 0.0
        self._lock = threading.Lock()

    def spend(self, who: str, limits: Sequence[tuple[int, int]]) -> Standing:
        """Count one request of `who` against each (number, seconds), the shortest time first."""
        return self._ask(who, limits, spend=True)

    def look(self, who: str, limits: Sequence[tuple[int, int]]) -> Standing:
        """Whether one more would be allowed, without counting it."""
        return self._ask(who, limits, spend=False)

    def _ask(self, who: str, limits: Sequence[tuple[int, int]], *, spend: bool) -> Standing:
        if time.monotonic() >= self._away_until:
            try:
                return _standing(self._shared, who, limits, spend=spend)
            except StorageError:
                with self._lock:
                    self._away_until = time.monotonic() + _PAUSE
        monitoring.LIMITER_FALLBACKS.inc()
        halves = [(max(1, number // 2), seconds) for number, seconds in limits]
        return _standing(self._local, who, halves, spend=spend)


def _standing(
    limiter: SlidingWindowCounterRateLimiter,
    who: str,
    limits: Sequence[tuple[int, int]],
    *,
    spend: bool,
) -> Standing:
    ask = limiter.hit if spend else limiter.test
    items = [RateLimitItemPerSecond(number, seconds) for number, seconds in limits]
    refused = next((item for item in items if not ask(item, who)), None)
    # Each question is a round trip, so only the limit that matters is told: the one that refused,
    # else the one of the shortest time.
    told = refused or items[0]
    stats = limiter.get_window_stats(told, who)
    # The library's windows follow the system's clock, not the business day.
    reset = max(1, math.ceil(stats.reset_time - time.time()))
    return Standing(refused is None, told.amount, 0 if refused else stats.remaining, reset)


class RateLimitMiddleware:
    """Writes RateLimit-Limit, -Remaining and -Reset when the request was counted."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                standing: Standing | None = scope.get("state", {}).get("rate_limit")
                if standing is not None:
                    headers = MutableHeaders(scope=message)
                    headers["RateLimit-Limit"] = str(standing.limit)
                    headers["RateLimit-Remaining"] = str(standing.remaining)
                    headers["RateLimit-Reset"] = str(standing.reset_seconds)
            await send(message)

        await self.app(scope, receive, tell)
