"""Two listeners: what is for the platform's own network is not on the public one."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import NotFound

_OURS = ("/internal", "/metrics", "/webhooks/kumomta")
_BOTH = frozenset({"/healthz", "/readyz"})


class DoorsMiddleware:
    """Answers NotFound at the wrong one of two listeners.

    `internal_port` is the local port at which nodes and Prometheus ask; with 0 there is one
    listener, which answers everything. The port is that of the socket: no caller can name another.
    What came by the internal one has `state["inside"]`.
    """

    def __init__(self, app: ASGIApp, *, internal_port: int) -> None:
        self.app = app
        self._internal_port = internal_port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._internal_port and scope["path"] not in _BOTH:
            local = scope.get("server")
            inside = local is not None and local[1] == self._internal_port
            if inside != _is_ours(scope["path"]):
                raise NotFound("There is nothing at this address.")
            scope.setdefault("state", {})["inside"] = inside
        await self.app(scope, receive, send)


def _is_ours(path: str) -> bool:
    return any(path == ours or path.startswith(f"{ours}/") for ours in _OURS)
