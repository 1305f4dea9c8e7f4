"""Every error is mapped, and nothing of our inside gets out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolExhausted

from app import errors
from app.middleware import error_handler
from app.middleware.error_handler import STATUS, ErrorMiddleware, status_of
from app.middleware.request_id import RequestIDMiddleware

CONTRACT = {
    "VALIDATION_ERROR": 400,
    "UNAUTHENTICATED": 401,
    "INVALID_CREDENTIALS": 401,
    "TOKEN_EXPIRED": 401,
    "PAYMENT_REQUIRED": 402,
    "PAYMENT_NOT_COMPLETED": 402,
    "TRIAL_EXPIRED": 402,
    "TENANT_SUSPENDED": 403,
    "FORBIDDEN": 403,
    "INBOX_LIMIT_EXCEEDED": 403,
    "DOMAIN_LIMIT_EXCEEDED": 403,
    "NOT_FOUND": 404,
    "EMAIL_ALREADY_REGISTERED": 409,
    "DOMAIN_TAKEN": 409,
    "DOMAIN_NOT_READY": 409,
    "IDEMPOTENCY_KEY_REUSED": 409,
    "REQUEST_IN_PROGRESS": 409,
    "PAYLOAD_TOO_LARGE": 413,
    "RATE_LIMITED": 429,
    "INTERNAL_ERROR": 500,
    "PROVIDER_FAILED": 502,
    "PROVIDER_UNAVAILABLE": 503,
}


def tree(kind: type[errors.InboxGroveError]) -> Iterator[type[errors.InboxGroveError]]:
    yield kind
    for child in kind.__subclasses__():
        if child.__module__.startswith("app."):
            yield from tree(child)


ALL = list(tree(errors.InboxGroveError))


def test_the_tree_was_found() -> None:
    assert len(ALL) > 25


@pytest.mark.parametrize("kind", ALL)
def test_every_error_has_a_status_a_code_and_words(kind: type[errors.InboxGroveError]) -> None:
    error = kind()
    assert error.message
    assert error.code.isupper()
    if kind is not errors.InboxGroveError:
        assert status_of(error) != 500
        assert any(base in STATUS for base in kind.__mro__)


def test_codes_are_unique_and_those_of_the_contract() -> None:
    codes = [kind.code for kind in ALL]
    assert len(set(codes)) == len(codes)
    statuses = {kind.code: status_of(kind()) for kind in ALL}
    assert {code: statuses.get(code) for code in CONTRACT} == CONTRACT


SECRET = "postgresql://user:hunter2@db/x"
RAISED: dict[str, Any] = {
    "fault": RuntimeError(SECRET),
    "group": ExceptionGroup("g", [RuntimeError(SECRET)]),
    "integrity": IntegrityError(SECRET, None, Exception(SECRET)),
    "operational": OperationalError(SECRET, None, Exception(SECRET)),
    "pool": PoolExhausted(SECRET),
    "conflict": errors.DomainTaken(domain_name="acme.io"),
    "limit": errors.RateLimited(retry_after=1.2),
    "away": errors.ProviderUnavailable(provider="Stripe", retry_after=30),
    "expired": errors.TokenExpired(),
}


@pytest.fixture(scope="module")
def client() -> TestClient:
    app = FastAPI()
    error_handler.install(app)
    app.add_middleware(ErrorMiddleware)
    app.add_middleware(RequestIDMiddleware)

    @app.get("/{name}")
    def fail(name: str) -> None:
        raise RAISED[name]

    return TestClient(app)


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("fault", 500, "INTERNAL_ERROR"),
        ("group", 500, "INTERNAL_ERROR"),
        ("integrity", 409, "CONFLICT"),
        ("operational", 503, "SERVICE_UNAVAILABLE"),
        ("pool", 503, "SERVICE_UNAVAILABLE"),
        ("conflict", 409, "DOMAIN_TAKEN"),
        ("limit", 429, "RATE_LIMITED"),
        ("away", 503, "PROVIDER_UNAVAILABLE"),
        ("expired", 401, "TOKEN_EXPIRED"),
    ],
)
def test_answers(client: TestClient, name: str, status: int, code: str) -> None:
    answer = client.get(f"/{name}", headers={"X-Request-ID": "request-1"})
    assert (answer.status_code, answer.json()["error_code"]) == (status, code)
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"] == "request-1"
    assert "hunter2" not in answer.text
    assert "Traceback" not in answer.text


def test_when_to_come_back(client: TestClient) -> None:
    assert client.get("/limit").headers["Retry-After"] == "2"
    assert client.get("/away").headers["Retry-After"] == "30"
    assert client.get("/operational").headers["Retry-After"] == "5"
    assert client.get("/expired").headers["WWW-Authenticate"] == "Bearer"
    assert client.get("/conflict").json()["message"] == "acme.io cannot be bought: it is taken."
