"""One shape for every answer, also for those that no endpoint gives."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest

from tests.fixtures.customer import Customer
from tests.fixtures.world import Running

BASE = "/api/v1"


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    from app.main import app

    return [
        (method.upper(), path, operation)
        for path, item in app.openapi()["paths"].items()
        for method, operation in item.items()
    ]


def filled(path: str) -> str:
    """`path` with ids that nobody has."""
    path = path.replace("{username}", "a@b.test").replace("{domain}", "b.test")
    return re.sub(r"{\w+}", "01890000-0000-7000-8000-000000000000", path)


def is_error(answer: httpx.Response, status: int, code: str) -> None:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"status", "error_code", "message", "details", "request_id"}
    assert (body["status"], body["error_code"]) == ("error", code)
    assert body["message"]
    assert body["request_id"] == answer.headers["X-Request-ID"]


def test_every_operation_says_who_may_and_what_it_leaves() -> None:
    assert len(operations()) >= 50
    for method, path, operation in operations():
        about = {key: operation.get(key) for key in ("x-role", "x-scope", "x-audit-event")}
        assert all(about.values()), (method, path, about)
        assert operation.get("description"), (method, path)
        assert "422" not in operation["responses"]
    ids = [operation["operationId"] for _, _, operation in operations()]
    assert len(set(ids)) == len(ids)


def test_what_does_not_exist(api: httpx.Client) -> None:
    is_error(api.get("/nowhere"), 404, "NOT_FOUND")
    is_error(api.get(f"{BASE}/nowhere"), 404, "NOT_FOUND")
    answer = api.put(f"{BASE}/auth/login")
    is_error(answer, 405, "METHOD_NOT_ALLOWED")
    assert answer.headers["Allow"] == "POST"


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"",
        b"[]",
        b"nul",
        b'"text"',
        b"[" * 20_000,
        b'{"email": "a\\u0000b@c.test", "password": "x"}',
        b'{"email": "a@c.test", "password": "\\u0000"}',
        b'{"email": "a@c.test", "password": "\\ud800"}',
        b'{"em\\u0000ail": 1}',
        b'{"email": 1e999, "password": []}',
        b"\xff\xfe",
    ],
)
def test_bodies_that_make_no_sense(api: httpx.Client, body: bytes) -> None:
    answer = api.post(
        f"{BASE}/auth/login", content=body, headers={"Content-Type": "application/json"}
    )
    is_error(answer, 400, "VALIDATION_ERROR")


def test_fields_that_are_wrong_are_named(api: httpx.Client) -> None:
    answer = api.post(f"{BASE}/auth/register", json={"email": "no address", "company_name": "  "})
    is_error(answer, 400, "VALIDATION_ERROR")
    fields = {fault["field"] for fault in answer.json()["details"]["fields"]}
    assert fields == {"email", "company_name", "password"}


def test_nul_in_the_address(api: httpx.Client, signed_in: Customer) -> None:
    is_error(api.get("/api/v1/domains/%00"), 400, "VALIDATION_ERROR")
    is_error(signed_in.http.get("/infrastructure/inboxes?q=a%00b"), 400, "VALIDATION_ERROR")


@pytest.mark.parametrize("cursor", ["x", "AAAA", "é", "0" * 100])
def test_cursors_are_ours_only(signed_in: Customer, cursor: str) -> None:
    is_error(signed_in.http.get("/domains", params={"cursor": cursor}), 400, "VALIDATION_ERROR")


def test_a_cursor_of_another_list_is_refused(paying: Customer) -> None:
    for number in range(3):
        paying.post("/infrastructure/suppressions", targets=[f"a{number}@b.test"])
    page = paying.http.get("/infrastructure/suppressions?limit=1").json()
    cursor = page["meta"]["next_cursor"]
    is_error(paying.http.get("/domains", params={"cursor": cursor}), 400, "VALIDATION_ERROR")


def test_a_body_that_is_too_large(api: httpx.Client) -> None:
    limit = 1_048_576
    url = f"{BASE}/auth/login"
    answer = api.post(url, content=b"x" * (limit + 1))
    is_error(answer, 413, "PAYLOAD_TOO_LARGE")
    assert answer.json()["details"] == {"limit_bytes": limit}
    # In pieces, without saying how long it will be.
    pieces = (b"x" * 65_536 for _ in range(17))
    answer = api.post(url, content=pieces, headers={"Content-Type": "application/json"})
    is_error(answer, 413, "PAYLOAD_TOO_LARGE")
    is_error(api.post(url, content=b"x" * limit), 400, "VALIDATION_ERROR")


def test_request_ids_are_kept_when_they_are_harmless(api: httpx.Client) -> None:
    assert (
        api.get("/healthz", headers={"X-Request-ID": "abc-123_456"}).headers["X-Request-ID"]
        == "abc-123_456"
    )
    strange = api.get("/healthz", headers={"X-Request-ID": 'a"b<script>'}).headers["X-Request-ID"]
    assert len(strange) == 32


@pytest.mark.parametrize("path", ["/healthz", "/nowhere", "/api/v1/auth/me", "/docs"])
def test_browsers_are_told_to_be_careful(api: httpx.Client, path: str) -> None:
    headers = api.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert "max-age" in headers["Strict-Transport-Security"]
    assert headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "Permissions-Policy" in headers


def test_probes_and_metrics(api: httpx.Client, world: Running) -> None:
    assert api.get("/healthz").json() == {"status": "ok"}
    ready = api.get("/readyz")
    assert (ready.status_code, ready.json()["checks"]) == (200, {"database": "ok", "redis": "ok"})
    api.get("/api/v1/domains/01890000-0000-7000-8000-000000000000")
    text = api.get("/metrics").text
    assert (
        'requests_total{endpoint="/api/v1/domains/{domain_id}",method="GET",status="401"}' in text
    )
    for name in (
        "request_duration_seconds_bucket",
        "stripe_payment_success_total",
        "provisioning_inboxes_total",
        "ig_outbox_oldest_seconds",
        "ig_invariant_violations",
        "ig_webhook_unhandled",
        "ig_kill_latency_seconds",
        "ig_task_quarantined_total",
    ):
        assert name in text, name


def test_documentation_answers(api: httpx.Client) -> None:
    assert api.get("/docs").status_code == 200
    document = api.get("/openapi.json")
    assert document.status_code == 200
    assert json.loads(document.content)["info"]["title"] == "InboxGrove"
