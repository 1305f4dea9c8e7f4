"""Headers that make browsers careful with us, and who may call us from a page of theirs."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ALWAYS = {
    "Strict-Transport-Security": "max-age=63072000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_API_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""Of everything that is no page; a page brings its own."""

_DEFAULTS = {**_ALWAYS, "Cache-Control": "no-store", "Content-Security-Policy": _API_POLICY}
_RAW = [(name.lower().encode(), value.encode()) for name, value in _DEFAULTS.items()]
"""As they go out: every answer carries them, and looking each one up costs more than the rest."""


class SecurityHeadersMiddleware:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"]
                own = {name for name, _ in headers}
                message["headers"] = [*headers, *(each for each in _RAW if each[0] not in own)]
            await send(message)

        await self.app(scope, receive, add)


class AllowListCORS(CORSMiddleware):
    """CORS for the origins that are listed; to all others we say nothing of it.

    The library's answer to a foreign preflight names our methods and headers, outside the envelope.
    Here such a request is one like any other: browsers keep its answer from the page.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            origin = Headers(scope=scope).get("origin")
            if origin is None or not self.is_allowed_origin(origin):
                await self.app(scope, receive, send)
                return
        await super().__call__(scope, receive, send)
