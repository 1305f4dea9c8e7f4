"""Namecheap's limits belong to the key, so all processes share them, in Redis."""

from __future__ import annotations

import time
from uuid import uuid4

from redis import Redis
from redis.exceptions import RedisError

from app.errors import ProviderUnavailable

WINDOWS = ((60, 20), (3600, 700), (86_400, 8_000))
"""(seconds, calls), as Namecheap's own SDK documents them; the longest window stands last."""

# The moments of past calls in one sorted set: a window is full while its n-th newest call lies
# inside. All windows are looked at before the call is noted, in one step no other process splits.
_SCRIPT = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local longest = 0
for i = 2, #ARGV, 2 do
  longest = ARGV[i] * 1000
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

    def __init__(
        self, redis: Redis, key: str, windows: tuple[tuple[int, int], ...] = WINDOWS
    ) -> None:
        self._redis, self._key = redis, key
        self._windows = [number for window in windows for number in window]

    def take(self, *, patience: float = 5.0) -> None:
        """Wait up to `patience` seconds for room. Raises ProviderUnavailable when there is none.

        Without Redis the call goes ahead: Namecheap's own limiter answers before it acts.
        """
        deadline = time.monotonic() + patience
        while True:
            try:
                wait = self._redis.eval(_SCRIPT, 1, self._key, uuid4().hex, *self._windows)
            except RedisError:
                return
            seconds = int(str(wait)) / 1000
            if seconds <= 0:
                return
            if time.monotonic() + seconds > deadline:
                raise ProviderUnavailable(provider="Namecheap", reason="our own rate limit")
            time.sleep(seconds)
