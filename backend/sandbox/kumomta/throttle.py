"""kumo.make_throttle: a generic cell rate algorithm in the node's memory."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

from sandbox.kumomta.lua_object import LuaObject
from sandbox.kumomta.options import PolicyError, seconds

_SPEC = re.compile(r"local:([\d,_]+)/(\d*)\s*([a-z]+)(?:,max_burst=(\d+))?")


class Throttle(LuaObject):
    """Only `local:` throttles; those in Redis are another module of kumod."""

    lua_name = "Throttle"
    lua_methods = ("throttle",)

    def __init__(self, spec: str, now: Callable[[], float]) -> None:
        match = _SPEC.fullmatch(spec)
        if match is None:
            raise PolicyError(f"make_throttle: only local:N/period is understood, not {spec}")
        self._limit = int(re.sub("[,_]", "", match[1]))
        self._every = seconds(f"{match[2] or 1}{match[3]}") / self._limit
        self._burst = int(match[4] or self._limit)
        self._now, self._lock = now, threading.Lock()
        self._arrival = 0.0

    def throttle(self) -> dict[str, Any]:
        """Take one if there is room."""
        with self._lock:
            now = self._now()
            arrival = max(self._arrival, now)
            wait = arrival - (self._burst - 1) * self._every - now
            # A billionth of a second is rounding, not waiting.
            if wait <= 1e-9:
                self._arrival = arrival + self._every
            room = self._burst - (self._arrival - now) / self._every
        return {
            "throttled": wait > 1e-9,
            "limit": self._burst,
            "remaining": max(0, int(room)),
            "reset_after": max(0.0, self._arrival - now),
            "retry_after": wait if wait > 1e-9 else None,
        }
