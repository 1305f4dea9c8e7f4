"""The outermost layer: names each request, measures it, and writes its one log line."""

from __future__ import annotations

import re
import time
from uuid import uuid4

import structlog
from opentelemetry.trace import SpanKind
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.telemetry import tracing
from app.utils import monitoring

_ACCEPTABLE = re.compile(r"[A-Za-z0-9._-]{8,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
log = structlog.get_logger()


class RequestIDMiddleware:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        # A caller's own id is kept when it is harmless in logs and headers.
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _ACCEPTABLE.fullmatch(given) else uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        status = 500
        began = time.perf_counter()

        async def stamp(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        # A trace begins here: the word of strangers that theirs is to be kept is not taken.
        with (
            monitoring.about(request_id=request_id),
            tracing.span(scope["method"], SpanKind.SERVER, request_id=request_id) as span,
        ):
            try:
                await self.app(scope, receive, stamp)
            finally:
                endpoint = _template(scope)
                span.update_name(f"{_method(scope)} {endpoint}")
                span.set_attribute("http.response.status_code", status)
                _measure(scope, endpoint, status, time.perf_counter() - began)


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in _METHODS else "OTHER"


def _measure(scope: Scope, endpoint: str, status: int, seconds: float) -> None:
    method = _method(scope)
    monitoring.REQUESTS.labels(method=method, endpoint=endpoint, status=str(status)).inc()
    monitoring.DURATION.labels(method=method, endpoint=endpoint).observe(seconds)
    log.info(
        "request",
        method=method,
        path=scope["path"],
        status=status,
        ip=scope["client"][0] if scope.get("client") else None,
        ms=round(seconds * 1000, 1),
    )


def _template(scope: Scope) -> str:
    """The route's template, because ids in a label would make a time series each."""
    route = scope.get("route")
    if route is None:
        return "unmatched"
    path = str(getattr(route, "path", "unmatched"))
    for name, value in scope.get("path_params", {}).items():
        filled = str(scope["path"]).replace(f"/{value}", f"/{{{name}}}", 1)
        if filled.endswith(path):
            return filled
    whole = str(scope["path"])
    return whole if whole.endswith(path) else path
