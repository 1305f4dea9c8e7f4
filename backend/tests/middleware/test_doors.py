"""What is for nodes and Prometheus is not on the public listener, where there are two."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from app.config import Settings
from app.main import create_app
from tests.fixtures.world import Running, free_port

OURS = (
    ("GET", "/metrics"),
    ("GET", "/internal/mta/v1/kills"),
    ("GET", "/internal/mta/v1/snapshot"),
    ("POST", "/webhooks/kumomta"),
)
PUBLIC = (
    ("GET", "/api/v1/plans"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
    ("POST", "/webhooks/stripe"),
    ("GET", "/internalised"),
)
BOTH = (("GET", "/healthz"), ("GET", "/readyz"))


def not_here(answer: httpx.Response) -> bool:
    return answer.status_code == 404 and "nothing at this address" in answer.text


def door(port: int, internal_port: int, **more: Any) -> TestClient:
    app = create_app(Settings(internal_port=internal_port, **more))
    # Its lifespan is left alone: at its end it would close what the other tests of this process use.
    return TestClient(app, base_url=f"http://127.0.0.1:{port}")


@pytest.fixture
def public(world: Running) -> TestClient:
    return door(8000, 8002)


@pytest.fixture
def inside(world: Running) -> TestClient:
    return door(8002, 8002)


@pytest.fixture
def only(world: Running) -> TestClient:
    return door(8000, 0)


@pytest.mark.parametrize(("method", "path"), OURS)
def test_the_public_door_does_not_know_what_is_ours(
    public: TestClient, inside: TestClient, only: TestClient, method: str, path: str
) -> None:
    assert not_here(public.request(method, path))
    assert public.request(method, path).json()["error_code"] == "NOT_FOUND"
    assert not not_here(inside.request(method, path))
    assert not not_here(only.request(method, path))


@pytest.mark.parametrize(("method", "path"), PUBLIC)
def test_the_inner_door_serves_nothing_public(
    public: TestClient, inside: TestClient, only: TestClient, method: str, path: str
) -> None:
    assert not not_here(public.request(method, path))
    assert not_here(inside.request(method, path))
    assert not not_here(only.request(method, path))


@pytest.mark.parametrize(("method", "path"), BOTH)
def test_probes_are_answered_at_both(
    public: TestClient, inside: TestClient, method: str, path: str
) -> None:
    assert public.request(method, path).status_code == 200
    assert inside.request(method, path).status_code == 200


def test_a_caller_cannot_talk_itself_inside(public: TestClient) -> None:
    """The Host header names a port; the socket has one."""
    for headers in ({"Host": "127.0.0.1:8002"}, {"X-Forwarded-Port": "8002"}):
        assert not_here(public.get("/metrics", headers=headers))
    assert not_here(public.get("//metrics")) or public.get("//metrics").status_code == 404


@pytest.mark.parametrize(("port", "status"), [(8000, 400), (8002, 401)])
def test_nodes_may_call_us_by_any_name(world: Running, port: int, status: int) -> None:
    """Strangers may not; at the one listener there is otherwise, nodes are strangers."""
    internal_port = 8002 if port == 8002 else 0
    client = door(port, internal_port, allowed_hosts=["api.example.com"])
    answer = client.get("/internal/mta/v1/kills", headers={"Host": "api:8002"})
    assert answer.status_code == status


@pytest.mark.parametrize("workers", [1, 2])
def test_one_command_serves_both_listeners(world: Running, workers: int) -> None:
    port, internal_port = free_port(), free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "app.cli", "api"),
            *("--port", str(port), "--workers", str(workers)),
        ],
        env={**os.environ, "INTERNAL_PORT": str(internal_port)},
    )
    try:
        for each in (port, internal_port):
            wait_until_ready(f"http://127.0.0.1:{each}/readyz", process)
        assert httpx.get(f"http://127.0.0.1:{internal_port}/metrics").status_code == 200
        assert not_here(httpx.get(f"http://127.0.0.1:{port}/metrics"))
        assert httpx.get(f"http://127.0.0.1:{port}/docs").status_code == 200
        assert not_here(httpx.get(f"http://127.0.0.1:{internal_port}/docs"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.wait()


def test_two_listeners_are_two_ports(world: Running) -> None:
    port = free_port()
    made = subprocess.run(
        [sys.executable, "-m", "app.cli", "api", "--port", str(port)],
        env={**os.environ, "INTERNAL_PORT": str(port)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert made.returncode == 2
    assert "INTERNAL_PORT" in made.stderr


def wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            if httpx.get(url, timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert process.poll() is None, "it ended before it was ready"
        assert time.monotonic() < deadline, "it was not ready in a minute"
        time.sleep(0.05)
