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


ERRORS: dict[int | str, dict[str, Any]] = {
    code: {"model": ErrorEnvelope, "description": description}
    for code, description in {
        400: "The request is not valid.",
        401: "Not signed in.",
        402: "A payment is needed first.",
        403: "Not allowed, suspended, or beyond the plan.",
        404: "There is no such thing, or it is another tenant's.",
        405: "Not with this method.",
        408: "The body did not arrive in time.",
        409: "The present state does not allow it.",
        413: "The request is too large.",
        429: "Too many requests.",
        431: "The headers are too large.",
        500: "A fault of ours.",
        502: "A provider refused.",
        503: "A provider, or a part of ours, is away.",
    }.items()
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
