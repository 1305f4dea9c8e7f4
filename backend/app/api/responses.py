"""The envelope of every answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel

T = TypeVar("T")


class Envelope(BaseModel, Generic[T]):
    status: Literal["success"] = "success"
    data: T


class PageMeta(BaseModel):
    next_cursor: str | None
    """Give it as `cursor` to get what follows; null on the last page."""
    has_more: bool


class Page(BaseModel, Generic[T]):
    status: Literal["success"] = "success"
    data: list[T]
    meta: PageMeta


class ErrorEnvelope(BaseModel):
    status: Literal["error"]
    error_code: str
    message: str
    details: dict[str, Any]
    request_id: str | None


_WAIT = {
    "Retry-After": {"required": True, "schema": {"type": "integer"}, "description": "Seconds."}
}
_HEADERS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": {"required": True, "schema": {"const": "Bearer"}}},
    429: _WAIT,
    503: _WAIT,
}
_CODES: dict[int, tuple[str, str]] = {
    400: ("VALIDATION_ERROR", "The request is not valid."),
    401: ("UNAUTHENTICATED", "Not signed in."),
    402: ("PAYMENT_REQUIRED", "A payment is needed first."),
    403: ("FORBIDDEN", "Not allowed, suspended, or beyond the plan."),
    404: ("NOT_FOUND", "There is no such thing, or it is another tenant's."),
    405: ("METHOD_NOT_ALLOWED", "Not with this method."),
    408: ("REQUEST_TIMEOUT", "The body did not arrive in time."),
    409: ("CONFLICT", "The present state does not allow it."),
    413: ("PAYLOAD_TOO_LARGE", "The request is too large."),
    429: ("RATE_LIMITED", "Too many requests."),
    431: ("HEADERS_TOO_LARGE", "The headers are too large."),
    500: ("INTERNAL_ERROR", "A fault of ours."),
    502: ("PROVIDER_FAILED", "A provider refused."),
    503: ("SERVICE_UNAVAILABLE", "A provider, or a part of ours, is away."),
}


def _described(status: int, code: str, description: str) -> dict[str, Any]:
    example = {
        "status": "error",
        "error_code": code,
        "message": description,
        "details": {},
        "request_id": "7da3166e6b3b49c3b79955fadfd5ad34",
    }
    return {
        "model": ErrorEnvelope,
        "description": description,
        "headers": _HEADERS.get(status, {}),
        "content": {"application/json": {"example": example}},
    }


ERRORS: dict[int | str, dict[str, Any]] = {
    status: _described(status, code, description) for status, (code, description) in _CODES.items()
}
"""What any operation may answer besides its success."""


def ok(data: Any) -> dict[str, Any]:
    """`data` in the envelope; the endpoint's response model picks the fields."""
    return {"status": "success", "data": data}


def page(data: Sequence[Any], next_cursor: str | None) -> dict[str, Any]:
    """One page of a list."""
    return {
        "status": "success",
        "data": data,
        "meta": {"next_cursor": next_cursor, "has_more": next_cursor is not None},
    }
