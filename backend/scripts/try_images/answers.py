"""What must be answered to whom."""

from __future__ import annotations

import secrets
import socket

import httpx

from app.embedded.ports import HOST
from try_images.container import Failed


def nothing(held: set[str]) -> None:
    """Raises Failed with the names of who still listens."""
    if held:
        raise Failed(", ".join(sorted(held)))


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    try:
        socket.create_connection((HOST, port), timeout=2).close()
    except OSError:
        return False
    return True


def expect(answer: httpx.Response, status: int) -> str:
    """The status; raises Failed when it is another one."""
    if answer.status_code != status:
        raise Failed(f"{answer.status_code} instead of {status}: {answer.text[:200]}")
    return str(status)


def too_large(outside: httpx.Client, size: int, refuser: str) -> str:
    """A body of `size` bytes is refused by `refuser`, in the envelope that every error has."""
    answer = outside.post(
        "/api/v1/auth/login",
        content=b" " * size,
        headers={"Content-Type": "application/json"},
    )
    expect(answer, 413)
    told = answer.json()
    assert told["error_code"] == "PAYLOAD_TOO_LARGE", told
    assert set(told) == {"status", "error_code", "message", "details", "request_id"}, told
    # The API adds what its limit is.
    if (found := "the API" if told["details"] else "nginx") != refuser:
        raise Failed(f"refused by {found} instead of {refuser}")
    return f"413 by {refuser}, in the envelope"


def sign_up(outside: httpx.Client) -> str:
    """A new customer, whose rows and jobs follow."""
    tag = secrets.token_hex(4)
    answer = outside.post(
        "/api/v1/auth/register",
        json={
            "company_name": f"Acme {tag}",
            "email": f"owner@acme-{tag}.example",
            "password": f"Grove-{secrets.token_urlsafe(12)}",
            "full_name": "Trial Owner",
        },
    )
    return expect(answer, 201)


def away(outside: httpx.Client) -> str:
    """What the proxy says while there is no API."""
    answer = outside.get("/api/v1/plans")
    expect(answer, 503)
    assert answer.json()["error_code"] == "SERVICE_UNAVAILABLE", answer.text
    return f"503 in the envelope, Retry-After {answer.headers['retry-after']}"
