"""What we take in at all: hosts we serve, heads and bodies of a sensible size, honest JSON."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import HeadTooLarge, InboxGroveError, Invalid, TooLarge, TooSlow
from app.middleware import strict_json
from app.rules import mta_sts

_PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
"""Asked by address, not by name."""

MAX_HEAD_BYTES = 32 * 1024
"""Of the target and all headers; nginx takes as much by default."""

_BODY_SECONDS = 30.0
"""Until a body must be complete: who sends a byte a minute holds a connection and memory."""

_HOST = re.compile(r"([a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(?::\d{1,5})?")
_JSON = re.compile(r"application/(?:[\w.-]{1,64}\+)?json", re.A)


class IntakeMiddleware:
    """Raises Invalid, TooLarge, HeadTooLarge or TooSlow before anything else sees the request.

    `allowed_hosts` may hold `*` (any) and `*.example.com`; `larger` names paths that take more than
    `max_bytes`. Only the Host header says which host is meant; X-Forwarded-Host is never read.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        allowed_hosts: Sequence[str],
        max_bytes: int,
        larger: Mapping[str, int],
        body_seconds: float = _BODY_SECONDS,
    ) -> None:
        self.app = app
        self._hosts = [host.lower() for host in allowed_hosts]
        self._max_bytes, self._larger = max_bytes, dict(larger)
        self._body_seconds = body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        _require_small(scope)
        headers = Headers(scope=scope)
        # Nodes call us by whatever name the platform's own network has for us.
        asked_by_name = scope["path"] not in _PROBES and not scope.get("state", {}).get("inside")
        if asked_by_name and not self._serves(headers, scope["path"]):
            raise Invalid("This host name is not served here.")
        # PostgreSQL stores no NUL, and nobody means one.
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            raise Invalid("NUL characters are not accepted.")
        limit = self._larger.get(scope["path"], self._max_bytes)
        announced = headers.get("content-length", "0")
        if not (announced.isascii() and announced.isdigit()) or int(announced[:20]) > limit:
            raise TooLarge(limit_bytes=limit)
        # Webhooks are signed as they came, and read by their own rules.
        strict = scope["path"].startswith("/api/") and _is_json(headers)
        await _Body(receive, limit, self._body_seconds, strict=strict).serve(self.app, scope, send)

    def _serves(self, headers: Headers, path: str) -> bool:
        hosts = headers.getlist("host")
        match = _HOST.fullmatch(hosts[0].lower()) if len(hosts) == 1 else None
        if match is None:
            return False
        name = match[1]
        if path == mta_sts.PATH and mta_sts.domain_of(name) is not None:
            # Asked below each tenant's domain; the route decides whose policy there is.
            return True
        return any(
            known in ("*", name) or (known.startswith("*.") and name.endswith(known[1:]))
            for known in self._hosts
        )


class _Body:
    """One request's body, looked at while it passes."""

    def __init__(self, receive: Receive, limit: int, seconds: float, *, strict: bool) -> None:
        self._receive, self._limit, self._seconds, self._strict = receive, limit, seconds, strict
        self._taken = 0
        self._chunks: list[bytes] = []
        self._complete = self._started = False
        self._refusal: InboxGroveError | None = None
        self._deadline = asyncio.get_running_loop().time() + seconds

    async def serve(self, app: ASGIApp, scope: Scope, send: Send) -> None:
        async def gate(message: Message) -> None:
            # Whoever read the body may turn our error into another; ours is the true one.
            if self._refusal is not None and not self._started:
                return
            self._started = True
            await send(message)

        try:
            await app(scope, self._take, gate)
        except Exception:
            if self._refusal is None or self._started:
                raise
        if self._refusal is not None and not self._started:
            raise self._refusal

    async def _take(self) -> Message:
        if self._complete:
            # From here on it is waited for the client to leave, which may take as long as it likes.
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
            self._look(message)
        except TimeoutError:
            self._refusal = TooSlow(seconds=round(self._seconds))
            raise self._refusal from None
        except InboxGroveError as refusal:
            self._refusal = refusal
            raise
        return message

    def _look(self, message: Message) -> None:
        chunk = message.get("body", b"")
        self._taken += len(chunk)
        if self._taken > self._limit:
            raise TooLarge(limit_bytes=self._limit)
        if self._strict:
            self._chunks.append(chunk)
        self._complete = not message.get("more_body", False)
        if self._complete and self._strict:
            strict_json.check(b"".join(self._chunks))
            self._chunks.clear()


def _require_small(scope: Scope) -> None:
    size = len(scope.get("raw_path") or b"") + len(scope["query_string"])
    size += sum(len(name) + len(value) + 4 for name, value in scope["headers"])
    if size > MAX_HEAD_BYTES:
        raise HeadTooLarge(limit_bytes=MAX_HEAD_BYTES)


def _is_json(headers: Headers) -> bool:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return _JSON.fullmatch(kind) is not None
