"""Namecheap's limits belong to the key, so all processes share them, in Redis."""

from __future__ import annotations

import time

from redis import Redis
from redis.exceptions import RedisError

from app.errors import ProviderUnavailable

WINDOWS = ((60, 20), (3600, 700), (86_400, 8_000))
"""(seconds, calls), as Namecheap's own SDK documents them."""

# All three windows are looked at before any is counted, in one step that no other process splits.
_SCRIPT = """
for i = 1, #KEYS do
  if tonumber(redis.call('GET', KEYS[i]) or '0') >= tonumber(ARGV[2 * i]) then
    return redis.call('PTTL', KEYS[i])
  end
end
for i = 1, #KEYS do
  if redis.call('INCR', KEYS[i]) == 1 then redis.call('EXPIRE', KEYS[i], ARGV[2 * i - 1]) end
end
return 0
"""


class RateLimit:
    """`take()` before each call."""

    def __init__(
        self, redis: Redis, name: str, windows: tuple[tuple[int, int], ...] = WINDOWS
    ) -> None:
        self._redis, self._windows = redis, windows
        self._keys = [f"{name}:limit:{seconds}" for seconds, _ in windows]

    def take(self, *, patience: float = 5.0) -> None:
        """Wait up to `patience` seconds for room. Raises ProviderUnavailable when there is none.

        Without Redis the call goes ahead: Namecheap's own limiter answers before it acts.
        """
        deadline = time.monotonic() + patience
        while True:
            try:
                arguments = [number for window in self._windows for number in window]
                waits = self._redis.eval(_SCRIPT, len(self._keys), *self._keys, *arguments)
            except RedisError:
                return
            milliseconds = int(str(waits))
            if milliseconds <= 0:
                return
            if time.monotonic() + milliseconds / 1000 > deadline:
                raise ProviderUnavailable(provider="Namecheap", reason="our own rate limit")
            time.sleep(milliseconds / 1000)
