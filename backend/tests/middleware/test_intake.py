"""Hosts and sizes."""

from __future__ import annotations

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from app.middleware.error_handler import ErrorMiddleware
from app.middleware.intake import IntakeMiddleware


@pytest.fixture(scope="module")
def client() -> TestClient:
    app = FastAPI()
    app.add_middleware(
        IntakeMiddleware,
        allowed_hosts=["api.acme.test", "*.grove.test"],
        max_bytes=10,
        larger={"/big": 20},
    )
    app.add_middleware(ErrorMiddleware)

    @app.post("/{name}")
    async def length(name: str, request: Request) -> int:
        try:
            return len(await request.body())
        except Exception:
            # Whatever an endpoint makes of it, the answer is ours.
            return -1

    return TestClient(app)


@pytest.mark.parametrize(
    ("host", "served"),
    [
        ("api.acme.test", True),
        ("API.acme.test:8000", True),
        ("a.grove.test", True),
        ("grove.test", False),
        ("evil.test", False),
        ("api.acme.test.evil.test", False),
        ("[::1]:8000", False),
        ("", False),
    ],
)
def test_hosts(client: TestClient, host: str, served: bool) -> None:
    answer = client.post("/x", headers={"Host": host})
    assert answer.status_code == (200 if served else 400)


@pytest.mark.parametrize(("path", "size", "status"), [
    ("/x", 10, 200), ("/x", 11, 413), ("/big", 20, 200), ("/big", 21, 413),
])  # fmt: skip
@pytest.mark.parametrize("announced", [True, False])
def test_sizes(client: TestClient, path: str, size: int, status: int, announced: bool) -> None:
    body = b"x" * size
    headers = {"Host": "api.acme.test"}
    content = body if announced else iter([body[:5], body[5:]])
    answer = client.post(path, content=content, headers=headers)
    assert answer.status_code == status
    assert answer.json() == size if status == 200 else answer.json()["details"]["limit_bytes"]


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "9" * 30])
def test_lengths_that_are_none(client: TestClient, length: str) -> None:
    answer = client.post(
        "/x", content=iter([b"x"]), headers={"Host": "api.acme.test", "Content-Length": length}
    )
    assert answer.status_code == 413
