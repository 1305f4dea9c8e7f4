"""Counting requests: in Redis for all processes together, here alone while Redis is away.

The counting is asked for by a dependency, which knows who asks; the middleware only tells the
caller how it stands.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis import asyncio as redis_asyncio
from redis.exceptions import RedisError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.rules.throttles import HOUR, MINUTE, room, wait
from app.utils import monitoring

Limits = Sequence[tuple[int, int]]
"""(number, seconds), the shortest time first."""

_PAUSE = 5.0
"""Seconds without asking Redis after it failed: a frozen one slows one request and not all."""

_LOCAL_CALLERS = 10_000
"""Callers remembered while Redis is away, so that a flood of addresses fills no memory."""

_NAMES = {MINUTE: "minute", HOUR: "hour"}

# All windows are looked at before one is counted, in one step that no other process splits; the
# time is Redis's own, so that processes need not agree on theirs. A hash holds for each limit the
# number of the fixed window (w), its count (c) and that of the window before (p).
_SCRIPT = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local allowed, longest, answer, next = 1, 0, {1}, {}
for i = 1, #ARGV, 2 do
  local number, seconds = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
  local length = seconds * 1000000
  local window = math.floor(now / length)
  local elapsed = now - window * length
  local seen = redis.call('HMGET', KEYS[1], seconds .. 'w', seconds .. 'c', seconds .. 'p')
  local current, previous = 0, 0
  if tonumber(seen[1]) == window then
    current, previous = tonumber(seen[2]), tonumber(seen[3])
  elseif tonumber(seen[1]) == window - 1 then
    previous = tonumber(seen[2])
  end
  if current >= math.floor(number - previous * (1 - elapsed / length)) then allowed = 0 end
  longest = math.max(longest, seconds)
  for _, value in ipairs({current, previous, elapsed}) do answer[#answer + 1] = value end
  for _, value in ipairs({seconds .. 'w', window, seconds .. 'c', current + 1,
                          seconds .. 'p', previous}) do next[#next + 1] = value end
end
answer[1] = allowed
if allowed == 1 then
  redis.call('HSET', KEYS[1], unpack(next))
  redis.call('EXPIRE', KEYS[1], longest * 2)
end
return answer
"""


@dataclass(frozen=True)
class Window:
    """How a caller stands against one limit."""

    limit: int
    seconds: int
    remaining: int
    reset_seconds: int
    """Until there is room again, or, when there is some, until the present window ends."""

    @property
    def name(self) -> str:
        return _NAMES.get(self.seconds, f"{self.seconds}s")


@dataclass(frozen=True)
class Standing:
    """How a caller stands against all of its limits, the shortest time first."""

    allowed: bool
    windows: tuple[Window, ...]

    @property
    def told(self) -> Window:
        """The window that refused for longest, else the shortest one."""
        if self.allowed:
            return self.windows[0]
        full = [window for window in self.windows if window.remaining == 0]
        return max(full, key=lambda window: window.reset_seconds)

    @property
    def limit(self) -> int:
        return self.told.limit

    @property
    def remaining(self) -> int:
        return self.told.remaining

    @property
    def reset_seconds(self) -> int:
        return self.told.reset_seconds


class RateLimiter:
    """Sliding windows; thread-safe. A refused request is not counted.

    While Redis is away each process counts for itself and allows half, which is counted in
    ig_rate_limit_fallbacks_total and shown by ig_rate_limit_local.
    """

    def __init__(self, redis_url: str) -> None:
        # One try of half a second: with the library's own patience a frozen Redis takes a minute.
        self._redis = Redis.from_url(
            redis_url, socket_timeout=0.5, socket_connect_timeout=0.5, retry=None
        )
        self._script = self._redis.register_script(_SCRIPT)
        # Its connections belong to the one event loop of this process.
        self._redis_of_loop = redis_asyncio.Redis.from_url(
            redis_url, socket_timeout=0.5, socket_connect_timeout=0.5, retry=None
        )
        self._script_of_loop = self._redis_of_loop.register_script(_SCRIPT)
        self._local = _LocalCounts()
        self._away_until = 0.0
        self._known_shared = False
        """Whether the gauge says so; another process may have left it otherwise."""
        self._lock = threading.Lock()

    def spend(self, who: str, limits: Limits) -> Standing:
        """Count one request of `who` against every limit, or, when one is reached, against none.

        One round trip to Redis.
        """
        shared = None
        if self._may_ask():
            try:
                shared = self._shared(limits, self._script(*_call(who, limits)))
            except RedisError as error:
                self._is_away(error)
        return shared or self._alone(who, limits)

    async def ask(self, who: str, limits: Limits) -> Standing:
        """As `spend`, for the event loop."""
        shared = None
        if self._may_ask():
            try:
                shared = self._shared(limits, await self._script_of_loop(*_call(who, limits)))
            except RedisError as error:
                self._is_away(error)
        return shared or self._alone(who, limits)

    async def aclose(self) -> None:
        """The event loop's part of `close`."""
        await self._redis_of_loop.aclose()

    def close(self) -> None:
        self._redis.close()

    def _may_ask(self) -> bool:
        """Always while Redis answers; one caller in five seconds while it does not."""
        if self._away_until == 0.0:
            return True
        with self._lock:
            if time.monotonic() < self._away_until:
                return False
            self._away_until = time.monotonic() + _PAUSE
            return True

    def _is_away(self, error: RedisError) -> None:
        with self._lock:
            self._away_until = time.monotonic() + _PAUSE
            self._known_shared = False
        monitoring.LIMITER_LOCAL.set(1)
        monitoring.log.warning("rate limits are counted locally", error=str(error))

    def _shared(self, limits: Limits, answer: Any) -> Standing:
        if not self._known_shared:
            with self._lock:
                self._away_until = 0.0
                self._known_shared = True
            monitoring.LIMITER_LOCAL.set(0)
        allowed, *counts = answer
        seen = zip(*[iter(counts)] * 3, strict=True)
        return _standing(
            bool(allowed),
            limits,
            [(current, previous, elapsed / 1e6) for current, previous, elapsed in seen],
        )

    def _alone(self, who: str, limits: Limits) -> Standing:
        monitoring.LIMITER_FALLBACKS.inc()
        halves = [(max(1, number // 2), seconds) for number, seconds in limits]
        return self._local.spend(who, halves)


def _call(who: str, limits: Limits) -> tuple[list[str], list[int]]:
    """Keys and arguments of the script."""
    return [f"ig:rate:{who}"], [number for limit in limits for number in limit]


class _LocalCounts:
    """The same windows in the memory of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, int], tuple[int, int, int]] = {}
        """By caller and seconds: number of the window, its count, the count of the one before."""

    def spend(self, who: str, limits: Limits) -> Standing:
        # Durations only: which windows these are is nobody else's business.
        now = time.monotonic()
        with self._lock:
            seen = [self._look(who, seconds, now) for _, seconds in limits]
            allowed = all(
                current < room(number, seconds, previous, elapsed)
                for (number, seconds), (current, previous, elapsed) in zip(
                    limits, seen, strict=True
                )
            )
            if allowed:
                for (_, seconds), (current, previous, _elapsed) in zip(limits, seen, strict=True):
                    # Put last, so that the first of all is who was quiet for longest.
                    self._counts.pop((who, seconds), None)
                    self._counts[who, seconds] = (int(now // seconds), current + 1, previous)
                while len(self._counts) > _LOCAL_CALLERS * len(limits):
                    del self._counts[next(iter(self._counts))]
        return _standing(allowed, limits, seen)

    def _look(self, who: str, seconds: int, now: float) -> tuple[int, int, float]:
        window, elapsed = int(now // seconds), now % seconds
        seen, current, previous = self._counts.get((who, seconds), (window, 0, 0))
        if seen == window:
            return current, previous, elapsed
        return 0, current if seen == window - 1 else 0, elapsed


def _standing(allowed: bool, limits: Limits, seen: Sequence[tuple[int, int, float]]) -> Standing:
    windows = []
    for (number, seconds), (before, previous, elapsed) in zip(limits, seen, strict=True):
        current = before + allowed
        remaining = max(0, room(number, seconds, previous, elapsed) - current)
        reset = wait(number, seconds, previous, current, elapsed) or max(1, -int(elapsed - seconds))
        windows.append(Window(number, seconds, remaining, reset))
    return Standing(allowed, tuple(windows))


class RateLimitMiddleware:
    """Tells how the caller stands when the request was counted.

    RateLimit-Limit, -Remaining and -Reset as in the sixth draft of the IETF, which clients know,
    about one window; RateLimit-Policy and RateLimit as in the eleventh
    (draft-ietf-httpapi-ratelimit-headers-11), about all of them.
    """

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
                    message["headers"] = [*message["headers"], *_headers(standing)]
            await send(message)

        await self.app(scope, receive, tell)


def _headers(standing: Standing) -> list[tuple[bytes, bytes]]:
    told = standing.told
    policy, left = [], []
    for window in standing.windows:
        policy.append(f'"{window.name}";q={window.limit};w={window.seconds}')
        left.append(f'"{window.name}";r={window.remaining};t={window.reset_seconds}')
    return [
        (b"ratelimit-limit", b"%d" % told.limit),
        (b"ratelimit-remaining", b"%d" % told.remaining),
        (b"ratelimit-reset", b"%d" % told.reset_seconds),
        (b"ratelimit-policy", ", ".join(policy).encode()),
        (b"ratelimit", ", ".join(left).encode()),
    ]
