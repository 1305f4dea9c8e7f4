"""kumod's HTTP API and who may use it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.sandbox.kumomta.plane import (
    ADMIN_TOKEN,
    ANNA,
    BOB,
    TENANT,
    Plane,
    eventually,
    mail,
    send,
)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/admin/suspend/v1"),
        ("POST", "/api/admin/suspend/v1"),
        ("POST", "/api/admin/bounce/v1"),
        ("POST", "/api/admin/rebind/v1"),
        ("POST", "/api/admin/bump-config-epoch"),
        ("GET", "/api/machine-info"),
        ("POST", "/api/inject/v1"),
    ],
)
@pytest.mark.parametrize("header", [None, "Bearer wrong", "Basic eDp5", "Digest x"])
async def test_the_token_is_needed_even_from_a_trusted_host(
    plane: Plane, method: str, path: str, header: str | None
) -> None:
    headers = {"Authorization": header} if header else {}
    answer = await plane.http.request(method, f"/kumomta{path}", headers=headers, content=b"{}")
    assert answer.status_code == (400 if header == "Digest x" else 401)


async def test_a_node_without_a_token_opens_to_none(start_plane: Callable[..., Any]) -> None:
    async with start_plane(IG_ADMIN_TOKEN="") as plane:
        for token in ("", "anything"):
            event = "http_server_validate_auth_bearer"
            assert await plane.part.node.policy.fire(event, token) is False


async def test_health_is_open_and_metrics_are_for_this_machine(plane: Plane) -> None:
    assert (await plane.http.get("/kumomta/api/check-liveness/v1")).text == "OK"
    plane.receiver.refusals["bob"] = "450 4.2.0 not now"
    await asyncio.to_thread(send, plane.port)
    await eventually(lambda: plane.control_plane.of("TransientFailure"))
    text = (await plane.http.get("/kumomta/metrics")).text
    assert f'scheduled_by_tenant{{tenant="{TENANT}"}} 1' in text


async def test_machine_info(plane: Plane) -> None:
    info = (await plane.admin("GET", "/api/machine-info")).json()
    assert info["hostname"] == "mx1.mta.inboxgrove.test"
    assert info["online_since"].endswith("Z")


async def test_an_epoch_bump_forgets_the_directory(plane: Plane) -> None:
    await asyncio.to_thread(send, plane.port)
    plane.redis.hset(f"ig:inbox:{ANNA}", "status", "paused")
    assert (await plane.admin("POST", "/api/admin/bump-config-epoch")).status_code == 200
    with pytest.raises(Exception, match="AUTH invalid"):
        await asyncio.to_thread(send, plane.port)


async def test_injection(plane: Plane) -> None:
    body = {
        "envelope_sender": ANNA,
        "recipients": [{"email": BOB}],
        "content": mail().as_string(),
    }
    answer = (await plane.admin("POST", "/api/inject/v1", json=body)).json()
    assert answer == {"success_count": 1, "fail_count": 0, "failed_recipients": [], "errors": []}
    await eventually(lambda: plane.receiver.to(BOB))
    assert ADMIN_TOKEN not in str(plane.control_plane.posts)
