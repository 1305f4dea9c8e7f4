"""The limiter in front of every command: it answers HTTP 405 and executes nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

WINDOWS = {"minute": 60, "hour": 3600, "day": 86400}

# Documented in Namecheap's own SDK; a newcomer would meet them within his first demo.
REAL: dict[str, int | None] = {"minute": 20, "hour": 700, "day": 8000}
GENEROUS: dict[str, int | None] = {"minute": 2000, "hour": 70_000, "day": 800_000}
OFF: dict[str, int | None] = {"minute": None, "hour": None, "day": None}


class Limiter:
    """Sliding windows over one key's accepted calls; times are seconds of the sandbox's clock."""

    def __init__(self) -> None:
        self._calls: dict[str, deque[float]] = {name: deque() for name in WINDOWS}

    def admit(self, now: float, limits: Mapping[str, int | None]) -> bool:
        """Count the call when every window has room for it; a refused call is not counted."""
        for name, seconds in WINDOWS.items():
            calls = self._calls[name]
            while calls and calls[0] <= now - seconds:
                calls.popleft()
        for name in WINDOWS:
            limit = limits.get(name)
            if limit is not None and len(self._calls[name]) >= limit:
                return False
        for name in WINDOWS:
            if limits.get(name) is not None:
                self._calls[name].append(now)
        return True

    def forget(self) -> None:
        for calls in self._calls.values():
            calls.clear()
