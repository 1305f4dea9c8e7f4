"""What we take in at all: hosts we serve, texts without NUL, bodies of a sensible size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import Invalid, TooLarge

_PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
"""Asked by address, not by name."""


class IntakeMiddleware:
    """Raises Invalid or TooLarge before anything else looks at the request.

    `allowed_hosts` may hold `*` (any) and `*.example.com`; `larger` names paths that take more than
    `max_bytes`.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        allowed_hosts: Sequence[str],
        max_bytes: int,
        larger: Mapping[str, int],
    ) -> None:
        self.app = app
        self._hosts = [host.lower() for host in allowed_hosts]
        self._max_bytes, self._larger = max_bytes, dict(larger)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if scope["path"] not in _PROBES and not self._serves(headers.get("host", "")):
            raise Invalid("This host name is not served here.")
        # PostgreSQL stores no NUL, and nobody means one.
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            raise Invalid("NUL characters are not accepted.")
        await self._limited(scope, receive, send, headers)

    def _serves(self, host: str) -> bool:
        name = host.lower().rpartition(":")[0] if ":" in host.rpartition("]")[2] else host.lower()
        return any(
            known in ("*", name) or (known.startswith("*.") and name.endswith(known[1:]))
            for known in self._hosts
        )

    async def _limited(self, scope: Scope, receive: Receive, send: Send, headers: Headers) -> None:
        limit = self._larger.get(scope["path"], self._max_bytes)
        announced = headers.get("content-length", "0")
        if not announced.isdigit() or int(announced) > limit:
            raise TooLarge(limit_bytes=limit)
        taken, exceeded, started = 0, False, False

        async def count() -> Message:
            nonlocal taken, exceeded
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > limit:
                exceeded = True
                raise TooLarge(limit_bytes=limit)
            return message

        async def gate(message: Message) -> None:
            # Whoever read the body may turn our error into another; ours is the true one.
            nonlocal started
            if exceeded and not started:
                return
            started = True
            await send(message)

        try:
            await self.app(scope, count, gate)
        except Exception:
            if not exceeded or started:
                raise
        if exceeded and not started:
            raise TooLarge(limit_bytes=limit)
