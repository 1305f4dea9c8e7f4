"""The kill switch: edges, queues, restarts."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis

from app.integrations.kumo_client import KumoClient
from tests.sandbox.kumomta.plane import (
    ADMIN_TOKEN,
    ANNA,
    BOB,
    INBOX,
    TENANT,
    Client,
    Plane,
    eventually,
    mail,
    send,
)


async def test_a_kill_between_mail_and_data_stops_the_open_session(plane: Plane) -> None:
    def attempt() -> tuple[list[int], int]:
        with Client(plane.port) as client:
            smtp = client.secure().login().smtp
            codes = [smtp.mail(ANNA)[0], smtp.rcpt(BOB)[0]]
            plane.redis.sadd("ig:killed", f"i:{INBOX}")
            codes.append(smtp.data(mail().as_bytes())[0])
            return codes, smtp.mail(ANNA)[0]

    codes, next_mail = await asyncio.to_thread(attempt)
    assert codes == [250, 250, 550]
    assert next_mail == 550
    with pytest.raises(smtplib.SMTPAuthenticationError):
        await asyncio.to_thread(send, plane.port)
    assert plane.redis.keys("ig:q:*") == []


async def test_a_suspension_holds_queued_mail_and_ends_by_itself(plane: Plane) -> None:
    answer = await plane.admin(
        "POST", "/api/admin/suspend/v1", json={"tenant": TENANT, "reason": "ig:kill:test"}
    )
    assert answer.status_code == 200
    await asyncio.to_thread(send, plane.port)
    held = (await eventually(lambda: plane.control_plane.of("TransientFailure")))[0]
    assert held["response"]["code"] == 451
    assert held["response"]["content"] == (
        "KumoMTA internal: scheduled queue is suspended: ig:kill:test"
    )
    assert plane.receiver.mails == []

    # 300 s is what a suspension without a duration lasts; the mail's own wait is 20 minutes.
    await plane.later(299)
    assert len((await plane.admin("GET", "/api/admin/suspend/v1")).json()) == 1
    await plane.later(2)
    assert (await plane.admin("GET", "/api/admin/suspend/v1")).json() == []
    assert plane.receiver.mails == []
    await plane.later(1200)
    await eventually(lambda: plane.receiver.to(BOB))


async def test_suspensions_are_listed_replaced_and_removed(plane: Plane) -> None:
    path = "/api/admin/suspend/v1"
    first = (await plane.admin("POST", path, json={"campaign": INBOX, "reason": "a"})).json()["id"]
    again = {"campaign": INBOX, "reason": "b", "duration": "30 days"}
    second = (await plane.admin("POST", path, json=again)).json()["id"]
    assert first != second
    (entry,) = (await plane.admin("GET", path)).json()
    assert (entry["id"], entry["campaign"], entry["reason"]) == (second, INBOX, "b")
    assert (await plane.admin("DELETE", path, json={"id": first})).status_code == 404
    assert (await plane.admin("DELETE", path, json={"id": second})).status_code == 200
    assert (
        await plane.admin("POST", path, json={"tennant": "x", "reason": "b"})
    ).status_code == 422


async def test_a_bounce_rule_sweeps_queued_mail(plane: Plane) -> None:
    plane.receiver.refusals["bob"] = "450 4.2.0 come back later"
    await asyncio.to_thread(send, plane.port)
    await eventually(lambda: plane.control_plane.of("TransientFailure"))

    path = "/api/admin/bounce/v1"
    body = {"tenant": TENANT, "reason": "ig:kill:abuse", "duration": "1h"}
    answer = (await plane.admin("POST", path, json=body)).json()
    assert (answer["bounced"], answer["total_bounced"]) == ({}, 0)
    record = (await eventually(lambda: plane.control_plane.of("AdminBounce")))[0]
    assert record["response"]["content"] == "Administrator bounced with reason: ig:kill:abuse"
    (entry,) = (await plane.admin("GET", path)).json()
    assert entry["total_bounced"] == 1
    assert entry["bounced"] == {f"{INBOX}:{TENANT}@corp.test": 1}
    queues = (await plane.http.get("/control/kumomta/queues")).json()["queues"]
    assert queues == []


async def test_a_restart_forgets_suspensions_and_init_puts_kills_back(plane: Plane) -> None:
    other = "0190a000-0000-7000-8000-00000000beef"
    await plane.admin("POST", "/api/admin/suspend/v1", json={"tenant": other, "reason": "manual"})
    before = (await plane.admin("GET", "/api/machine-info")).json()
    plane.control_plane.kills = {"tenants": [TENANT], "inboxes": [INBOX]}
    plane.world.clock.advance(1)
    port = plane.port

    assert (await plane.http.post("/control/kumomta/restart")).status_code == 200

    listed = (await plane.admin("GET", "/api/admin/suspend/v1")).json()
    assert {(e.get("tenant"), e.get("campaign"), e["reason"]) for e in listed} == {
        (TENANT, None, f"ig:kill:{TENANT}"),
        (None, INBOX, f"ig:kill:{INBOX}"),
    }
    after = (await plane.admin("GET", "/api/machine-info")).json()
    assert after["online_since"] > before["online_since"]
    assert after["node_id"] == before["node_id"]
    assert plane.port == port


async def test_kills_come_from_redis_when_the_control_plane_is_away(
    start_plane: Callable[..., Any], valkey_url: str
) -> None:
    async with start_plane() as first:
        first.redis.sadd("ig:killed", f"t:{TENANT}")
        async with start_plane(IG_CONTROL_URL="http://127.0.0.1:1") as plane:
            (entry,) = (await plane.admin("GET", "/api/admin/suspend/v1")).json()
            assert entry["tenant"] == TENANT


async def test_with_no_list_at_all_every_queue_is_held(start_plane: Callable[..., Any]) -> None:
    nowhere = {"IG_CONTROL_URL": "http://127.0.0.1:1", "IG_REDIS_URL": "redis://127.0.0.1:1/0"}
    async with start_plane(**nowhere) as plane:
        (entry,) = (await plane.admin("GET", "/api/admin/suspend/v1")).json()
    assert entry["reason"] == "ig:kills-unknown"
    assert "tenant" not in entry


async def test_the_void_pool_is_the_second_belt(plane: Plane) -> None:
    plane.receiver.refusals["bob"] = "450 4.2.0 come back later"
    await asyncio.to_thread(send, plane.port)
    await eventually(lambda: plane.control_plane.of("TransientFailure"))
    plane.receiver.refusals.clear()
    plane.redis.sadd("ig:killed", f"t:{TENANT}")

    await plane.later(1201)
    records = await eventually(lambda: plane.control_plane.of("TransientFailure")[1:])
    assert records[0]["response"]["content"] == "KumoMTA internal: no sources for pool=ig-void"
    assert plane.receiver.mails == []


async def test_a_resume_lets_the_queue_go_at_once(plane: Plane, valkey_url: str) -> None:
    plane.receiver.refusals["bob"] = "450 4.2.0 come back later"
    await asyncio.to_thread(send, plane.port)
    await eventually(lambda: plane.control_plane.of("TransientFailure"))
    plane.receiver.refusals.clear()
    url = f"http://127.0.0.1:{plane.world.ports['http']}/kumomta"
    with (
        httpx.Client(trust_env=False) as http,
        Redis.from_url(valkey_url, decode_responses=True) as redis,
    ):
        client = KumoClient(http=http, redis=redis, nodes=lambda: [url], admin_token=ADMIN_TOKEN)
        await asyncio.to_thread(lambda: client.kill_tenant(TENANT, reason="test"))
        await plane.later(1201)
        await eventually(lambda: plane.control_plane.of("TransientFailure")[1:])
        # The suspension alone is gone, as after a restart: now the queue has read the void.
        (held,) = (await plane.admin("GET", "/api/admin/suspend/v1")).json()
        await plane.admin("DELETE", "/api/admin/suspend/v1", json={"id": held["id"]})
        await plane.later(2401)
        await eventually(lambda: plane.control_plane.of("TransientFailure")[2:])
        assert plane.receiver.mails == []
        await asyncio.to_thread(lambda: client.revive_tenant(TENANT))
        await eventually(lambda: plane.receiver.to(BOB))


async def test_the_spool_survives_the_process(
    start_plane: Callable[..., Any], tmp_path: Path
) -> None:
    async with start_plane(tmp_path) as plane:
        plane.add_inbox()
        plane.receiver.refusals["bob"] = "450 4.2.0 come back later"
        await asyncio.to_thread(send, plane.port)
        await eventually(lambda: plane.control_plane.of("TransientFailure"))
        await plane.admin("POST", "/api/admin/suspend/v1", json={"tenant": "x", "reason": "r"})
    plane.receiver.refusals.clear()
    async with start_plane(tmp_path) as plane:
        assert (await plane.admin("GET", "/api/admin/suspend/v1")).json() == []
        (queue,) = (await plane.http.get("/control/kumomta/queues")).json()["queues"]
        assert queue["scheduled"] == 1
        await plane.later(1201)
        await eventually(lambda: plane.receiver.to(BOB))
