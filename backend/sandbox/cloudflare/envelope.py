"""The JSON envelope of API v4, and how a call is refused."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse


class Refused(Exception):
    """Answered with `success: false`; nothing was changed."""

    def __init__(self, status: int, code: int, message: str, pointer: str = "") -> None:
        super().__init__(f"{code} {message}")
        self.status = status
        self.error: dict[str, Any] = {"code": code, "message": message}
        if pointer:
            self.error["source"] = {"pointer": pointer}


def success(result: Any, info: dict[str, int] | None = None) -> JSONResponse:
    body: dict[str, Any] = {"result": result, "success": True, "errors": [], "messages": []}
    if info is not None:
        body["result_info"] = info
    return JSONResponse(body)


def failure(refused: Refused) -> JSONResponse:
    body = {"result": None, "success": False, "errors": [refused.error], "messages": []}
    return JSONResponse(body, refused.status)


def page(items: list[Any], number: int, size: int) -> tuple[list[Any], dict[str, int]]:
    """One page and its `result_info`; a page after the last is empty, so a client's loop ends."""
    part = items[(number - 1) * size : number * size]
    return part, {
        "page": number,
        "per_page": size,
        "count": len(part),
        "total_count": len(items),
        "total_pages": max(1, -(-len(items) // size)),
    }
