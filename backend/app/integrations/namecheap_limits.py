"""A provider's limits belong to the key, so all processes share them, in Redis."""

from __future__ import annotations

import math
import time
from typing import ClassVar
from uuid import uuid4

from redis import Redis
from redis.exceptions import RedisError

from app import clock
from app.errors import ProviderUnavailable

WINDOWS = ((60, 20), (3600, 700), (86_400, 8_000))
"""(seconds, calls), as Namecheap's own SDK documents them; the longest window stands last."""

RESERVE = 0.25
"""The part of each window that is kept for orders: a purchase takes about five calls."""


def _kept(calls: int) -> int:
    return round(calls * RESERVE)


# The moments of past calls in one sorted set: a window is full while its n-th newest call lies
# inside. Each is a second longer than at the provider, which counts a call when it arrives: later
# than we do. All windows are looked at before the call is noted, in one step no other process
# splits.
_SCRIPT = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2]
local longest = 0
for i = 3, #ARGV, 2 do
  longest = ARGV[i] * 1000 + 1000
  local edge = redis.call('ZRANGE', KEYS[1], -ARGV[i + 1], -ARGV[i + 1], 'WITHSCORES')
  if edge[2] and edge[2] + longest > now then return edge[2] + longest - now end
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - longest)
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('PEXPIRE', KEYS[1], longest)
return 0
"""


class RateLimit:
    """`take()` before each call."""

    patience: ClassVar[float] = 5.0
    """Seconds for which a call waits for room before it is put off."""

    def __init__(
        self,
        redis: Redis,
        key: str,
        windows: tuple[tuple[int, int], ...] = WINDOWS,
        *,
        provider: str = "Namecheap",
    ) -> None:
        self._redis, self._key, self._provider = redis, key, provider
        self._windows = [number for window in windows for number in window]
        self._searching = [
            number
            for seconds, calls in windows
            for number in (seconds, max(1, calls - _kept(calls)))
        ]

    def take(self, *, patience: float | None = None, reserve: bool = False) -> None:
        """Wait up to `patience` seconds for room. Raises ProviderUnavailable when there is none.

        With `reserve` a part of each window is left to others: searches must not hold up orders.
        Without Redis the call goes ahead: the provider's own limiter answers before it acts.
        """
        deadline = time.monotonic() + (self.patience if patience is None else patience)
        windows = self._searching if reserve else self._windows
        while True:
            try:
                # Redis's time is the same for all processes; the days are the product's.
                ahead = round(clock.ahead() * 1000)
                wait = self._redis.eval(_SCRIPT, 1, self._key, uuid4().hex, ahead, *windows)
            except RedisError:
                return
            seconds = int(str(wait)) / 1000
            if seconds <= 0:
                return
            if time.monotonic() + seconds > deadline:
                raise ProviderUnavailable(
                    provider=self._provider,
                    reason="our own rate limit",
                    retry_after=math.ceil(seconds),
                )
            time.sleep(seconds)
