"""A provider's limits belong to the key, so all processes share them, in Redis."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
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


# The moments of past calls in one sorted set: a window has room for k more while its (n-k+1)-th
# newest call lies outside. Each is a second longer than at the provider, which counts a call when
# it arrives: later than we do. All windows are looked at before the calls are noted, in one step no
# other process splits. ARGV: how far the product's clock is ahead in ms, how many calls, their
# names, then each window.
_SCRIPT = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
local calls, longest = tonumber(ARGV[2]), 0
for i = 3 + calls, #ARGV, 2 do
  longest = ARGV[i] * 1000 + 1000
  local nth = ARGV[i + 1] - calls + 1
  local edge = redis.call('ZRANGE', KEYS[1], -nth, -nth, 'WITHSCORES')
  if edge[2] and edge[2] + longest > now then return edge[2] + longest - now end
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - longest)
for i = 3, 2 + calls do redis.call('ZADD', KEYS[1], now, ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], longest)
return 0
"""

# A call that had its room before counts from the moment at which it is made.
_MADE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
return redis.call('ZADD', KEYS[1], 'XX', now, ARGV[2])
"""


class _Mine(threading.local):
    """What a thread has of the room."""

    def __init__(self) -> None:
        self.together = False
        self.names: list[str] = []


class RateLimit:
    """`take()` before each call; `together()` around several that make sense only whole."""

    patience: ClassVar[float] = 5.0
    """Seconds for which a call waits for room before it is put off."""

    begun_patience: ClassVar[float] = 12.0
    """The same, for a call of several whose first was made."""

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
        self._fewest = min(calls for _, calls in windows)
        self._mine = _Mine()

    def take(self, *, patience: float | None = None, reserve: bool = False) -> None:
        """Wait up to `patience` seconds for room. Raises ProviderUnavailable when there is none.

        With `reserve` a part of each window is left to others: searches must not hold up orders.
        Without Redis the call goes ahead: the provider's own limiter answers before it acts.
        """
        if self._mine.names:
            with suppress(RedisError):
                self._redis.eval(_MADE, 1, self._key, _ahead(), self._mine.names.pop())
            return
        if patience is None:
            patience = self.begun_patience if self._mine.together else self.patience
        self._wait([uuid4().hex], self._searching if reserve else self._windows, patience)

    @contextmanager
    def together(self, calls: int) -> Iterator[None]:
        """Room for so many calls of this thread at once; what is not used is given back.

        Raises ProviderUnavailable before the first. An order that spends half of its calls and is
        put off begins anew: many such orders take all the room there is, and none of them ends.
        """
        if self._mine.together:
            yield  # These calls are a part of others that have their room.
            return
        names = [uuid4().hex for _ in range(min(calls, self._fewest))]
        self._wait(names, self._windows, self.patience)
        self._mine.together, self._mine.names = True, names
        try:
            yield
        finally:
            unused, self._mine.together, self._mine.names = self._mine.names, False, []
            if unused:
                with suppress(RedisError):
                    self._redis.zrem(self._key, *unused)

    def _wait(self, names: Sequence[str], windows: Sequence[int], patience: float) -> None:
        deadline = time.monotonic() + patience
        while True:
            try:
                wait = self._redis.eval(
                    _SCRIPT, 1, self._key, _ahead(), len(names), *names, *windows
                )
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


def _ahead() -> int:
    """Milliseconds: Redis's time is the same for all processes; the days are the product's."""
    return round(clock.ahead() * 1000)
