"""1,200 requests in five minutes, then five minutes of HTTP 429."""

from __future__ import annotations

from typing import Any

from sandbox.world import World

WINDOW = 300
REAL_REQUESTS = 1200
# The real allowance would stop a load test; the real number is one call away.
DEFAULTS: dict[str, Any] = {
    "requests": 12_000,
    "pending_zones": 50,
    "records_per_batch": 200,
    "require_registered": False,
}


class Limits:
    """The allowances in force, kept in the store, and the window now running."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._kept = world.store.collection("cloudflare.settings")
        if "limits" not in self._kept:
            self._kept["limits"] = dict(DEFAULTS)
        self._from = 0.0
        self._used = 0
        self.served = 0
        self.refused = 0
        self._blocked_until = 0.0

    def as_json(self) -> dict[str, Any]:
        return dict(self._kept["limits"])

    def change(self, wanted: dict[str, Any]) -> None:
        """None lifts a limit, "real" is the provider's; raises ValueError for an unknown name."""
        changed = self.as_json()
        for name, value in wanted.items():
            if name not in DEFAULTS:
                raise ValueError(f"Unknown setting {name!r}.")
            if name == "require_registered":
                changed[name] = bool(value)
            elif value == "real":
                changed[name] = REAL_REQUESTS if name == "requests" else DEFAULTS[name]
            else:
                changed[name] = None if value is None else int(value)
        self._kept["limits"] = changed
        self._used, self._blocked_until = 0, 0.0

    def get(self, name: str) -> int | None:
        value: int | None = self._kept["limits"][name]
        return value

    @property
    def require_registered(self) -> bool:
        return bool(self._kept["limits"]["require_registered"])

    def admit(self) -> int:
        """Count one request; 0 when it may pass, otherwise the seconds to wait."""
        now = self._world.clock.now().timestamp()
        if now < self._blocked_until:
            self.refused += 1
            return round(self._blocked_until - now) or 1
        if now - self._from >= WINDOW:
            self._from, self._used = now, 0
        limit = self.get("requests")
        if limit is not None and self._used >= limit:
            self._blocked_until = now + WINDOW
            self.refused += 1
            return WINDOW
        self._used += 1
        self.served += 1
        return 0

    def headers(self) -> dict[str, str]:
        """The two headers of draft-ietf-httpapi-ratelimit-headers that the API sends."""
        limit = self.get("requests")
        if limit is None:
            return {}
        left = max(0, limit - self._used)
        reset = max(0, round(self._from + WINDOW - self._world.clock.now().timestamp()))
        return {
            "Ratelimit": f'"default";r={left};t={reset}',
            "Ratelimit-Policy": f'"default";q={limit};w={WINDOW}',
        }
