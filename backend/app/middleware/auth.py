"""Reads who claims to ask. It never refuses: the dependencies of api/deps.py decide."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import Unauthenticated
from app.utils import security


class AuthMiddleware:
    """Leaves in `request.state`: `bearer` (the token or None), `claims` (of a valid access token)
    and `auth_error` (why there are no claims).
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            state = scope.setdefault("state", {})
            state["bearer"] = token = _bearer(Headers(scope=scope))
            state["claims"] = state["auth_error"] = None
            if token is None:
                state["auth_error"] = Unauthenticated()
            else:
                try:
                    state["claims"] = security.read_access_token(token)
                except Unauthenticated as error:
                    state["auth_error"] = error
        await self.app(scope, receive, send)


def _bearer(headers: Headers) -> str | None:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    token = token.strip()
    return token if scheme.lower() == "bearer" and token else None
