"""From errors to HTTP: the only place that knows both."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import structlog
from fastapi import FastAPI
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DataError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import errors
from app.utils import monitoring

log = structlog.get_logger()

STATUS: dict[type[errors.InboxGroveError], int] = {
    errors.Invalid: 400,
    errors.Unauthenticated: 401,
    errors.PaymentRequired: 402,
    errors.Forbidden: 403,
    errors.LimitReached: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.TooSlow: 408,
    errors.TooLarge: 413,
    errors.RateLimited: 429,
    errors.HeadTooLarge: 431,
    errors.ProviderFailed: 502,
    errors.ProviderUnavailable: 503,
    errors.Unavailable: 503,
}
"""Kind to status; a leaf has its kind's."""

_RETRY_SECONDS = 5
"""What a client is told to wait when something is away and we know no better."""

_FRAMEWORK_CODES = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 413: "PAYLOAD_TOO_LARGE"}


def status_of(error: errors.InboxGroveError) -> int:
    """The status of the nearest kind; 500 for an error that has none."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def translate(error: Exception) -> errors.InboxGroveError | None:
    """What an error of the database means to a caller; None for one that is a fault of ours."""
    match error:
        case errors.InboxGroveError():
            return error
        case IntegrityError():
            return errors.Conflict("Somebody else did this at the same moment, or it exists.")
        case DataError():
            return errors.Invalid("A value is out of range.")
        case OperationalError() | PoolExhausted():
            return errors.Unavailable()
        case _:
            return None


def install(app: FastAPI) -> None:
    """Have `app` answer every error in the envelope."""

    async def known(request: Request, error: Exception) -> Response:
        meaning = translate(error)
        if meaning is None:
            raise error
        return respond(meaning, request.scope)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101  # Registered for it.
        return respond(_invalid(error), request.scope)

    async def framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101  # Registered for it.
        return _envelope(
            request.scope,
            error.status_code,
            _FRAMEWORK_CODES.get(error.status_code, "VALIDATION_ERROR"),
            str(error.detail),
            {},
            error.headers,
        )

    for kind in (errors.InboxGroveError, IntegrityError, DataError, OperationalError):
        app.add_exception_handler(kind, known)
    app.add_exception_handler(PoolExhausted, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, framework)


class ErrorMiddleware:
    """Catches what middleware below raises, and every fault of ours: a 500 without its inside."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watch)
        except Exception as error:
            meaning = translate(error)
            if meaning is None or status_of(meaning) == 500:
                monitoring.report(error)
                meaning = errors.InboxGroveError(
                    "Something went wrong on our side. Tell support the request id."
                )
            if started:
                # Half an answer is out: cutting the connection is the only honest thing left.
                raise
            await respond(meaning, scope)(scope, receive, send)


def respond(error: errors.InboxGroveError, scope: Scope) -> Response:
    """The answer to `error`."""
    message, details = error.message, error.details
    if isinstance(error, errors.ProviderFailed | errors.ProviderUnavailable):
        # What a provider said is for the log and the operator: it may name accounts and hosts.
        name = str(details.get("provider", "A provider")).partition(" at ")[0]
        details = {"provider": name}
        if isinstance(error, errors.ProviderFailed):
            message = f"{name} refused this. Support can see why by the request id."
        log.warning("provider", error=error.message, code=error.code)
    return _envelope(scope, status_of(error), error.code, message, details, _headers(error))


def _headers(error: errors.InboxGroveError) -> dict[str, str]:
    if isinstance(error, errors.Unauthenticated):
        return {"WWW-Authenticate": "Bearer"}
    wait = error.details.get("retry_after")
    if isinstance(error, errors.ProviderUnavailable | errors.Unavailable) and wait is None:
        wait = _RETRY_SECONDS
    return {} if wait is None else {"Retry-After": str(math.ceil(wait))}


def _envelope(
    scope: Scope,
    status: int,
    code: str,
    message: str,
    details: Mapping[str, Any],
    headers: Mapping[str, str] | None,
) -> Response:
    body = {
        "status": "error",
        "error_code": code,
        "message": message,
        "details": jsonable_encoder(details),
        "request_id": scope.get("state", {}).get("request_id"),
    }
    return Response(
        json.dumps(body, separators=(",", ":")),
        status,
        dict(headers or {}),
        media_type="application/json",
    )


def _invalid(error: RequestValidationError) -> errors.Invalid:
    # The offending input is never repeated: it may be a password.
    fields = []
    for fault in error.errors():
        location, *path = fault["loc"] or ("body",)
        broken = fault["type"] == "json_invalid"
        fields.append(
            {
                "field": location if broken or not path else ".".join(map(str, path)),
                "location": location,
                "message": "This is not JSON." if broken else fault["msg"],
                "type": fault["type"],
            }
        )
    names = ", ".join(dict.fromkeys(field["field"] for field in fields))
    return errors.Invalid(f"The request is not valid: {names}.", fields=fields)
