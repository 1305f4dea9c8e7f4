"""The log hook: at least once, never a password, nothing lost."""

from __future__ import annotations

import asyncio
import base64
import json
import smtplib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.kumomta.plane import (
    ANNA,
    BOB,
    INBOX,
    PASSWORD,
    TENANT,
    Client,
    Plane,
    eventually,
    mail,
    send,
)


def answers_left(plane: Plane, count: int) -> bool:
    """True once all but `count` of the prepared refusals have been given."""
    return len(plane.control_plane.answers) <= count


def kinds(plane: Plane) -> list[str]:
    return sorted(record["type"] for record in plane.control_plane.records)


@pytest.mark.parametrize("status", [500, 503, 429, 408, 401])
async def test_a_refusal_of_the_moment_loses_nothing(plane: Plane, status: int) -> None:
    plane.control_plane.answers = [status] * 3
    await asyncio.to_thread(send, plane.port)
    await eventually(lambda: plane.receiver.to(BOB))
    for left in (2, 1, 0):
        await eventually(partial(answers_left, plane, left))
        await plane.later(300)
    await eventually(lambda: kinds(plane) == ["Delivery", "Reception"])
    await eventually(lambda: plane.part.node.hooks[0].backlog == 0)


async def test_records_outlive_the_process(start_plane: Callable[..., Any], tmp_path: Path) -> None:
    async with start_plane(tmp_path, IG_MTA_TOKEN="wrong") as plane:
        plane.redis.set("ig:authfail:ip:127.0.0.1", "100")
        with pytest.raises(smtplib.SMTPAuthenticationError):
            await asyncio.to_thread(send, plane.port)
        await eventually(lambda: plane.part.node.hooks[0].backlog == 1)
        assert plane.control_plane.posts == []
    async with start_plane(tmp_path) as plane:
        await plane.later(60)
        await eventually(lambda: kinds(plane) == ["Rejection"])


async def test_a_record_that_is_refused_for_good_goes_to_the_dead_letters(plane: Plane) -> None:
    # The batch, then its two records one by one: the first is bad, the second good.
    plane.control_plane.answers = [503, 400, 400, 200]
    await asyncio.to_thread(send, plane.port)
    hook = plane.part.node.hooks[0]
    await eventually(lambda: plane.receiver.to(BOB) and len(plane.control_plane.answers) < 4)
    # Whatever was told to wait is due again after half a minute.
    await eventually(lambda: any(message.attempts for message in hook._waiting.values()))
    await plane.later(30)
    await eventually(lambda: plane.part.node.hooks[0].backlog == 0)
    buried = Path(plane.part.node.host._env["IG_LOG_DIR"]) / "ig-dead-letters.jsonl"
    lines = [json.loads(line) for line in buried.read_text().splitlines()]
    assert all(line["answer"].startswith("400 ") for line in lines)
    together = [line["item"]["record"]["type"] for line in lines] + kinds(plane)
    assert sorted(together) == ["Delivery", "Reception"]


async def test_a_refused_login_leaks_nothing_into_records(plane: Plane) -> None:
    plane.add_inbox(status="paused")
    secret = base64.b64encode(f"\0{ANNA}\0{PASSWORD}".encode()).decode()

    def attempt() -> None:
        with Client(plane.port) as client:
            client.secure()
            assert client.smtp.docmd("AUTH", f"PLAIN {secret}")[0] == 535
            assert client.smtp.docmd("AUTH", "PLAIN !!!")[0] == 501
            client.smtp.mail(ANNA)
            assert client.smtp.rcpt(BOB)[0] == 550

    await asyncio.to_thread(attempt)
    records = await eventually(
        lambda: plane.control_plane.of("Rejection")[2:] and plane.control_plane.of("Rejection")
    )
    text = json.dumps(plane.control_plane.posts)
    assert secret not in text
    assert PASSWORD not in text
    commands = [record["response"].get("command") for record in records]
    assert commands == [None, None, f"RCPT TO:<{BOB}>"]
    assert records[0]["response"]["code"] == 535
    assert records[0]["id"] == ""
    # The trap is real: the node itself did write it down, as kumod does.
    own = (await plane.http.get("/control/kumomta/events?type=Rejection")).json()["records"]
    assert own[0]["response"]["command"] == secret


async def test_a_rejection_names_the_inbox(plane: Plane) -> None:
    plane.add_inbox(day_limit=0)
    with pytest.raises(smtplib.SMTPResponseException):
        await asyncio.to_thread(send, plane.port)
    (record,) = await eventually(lambda: plane.control_plane.of("Rejection"))
    assert record["meta"]["x_inbox"] == INBOX
    assert record["meta"]["tenant"] == TENANT
    assert record["response"]["enhanced_code"] == {"class": 5, "subject": 4, "detail": 5}
    assert record["response"]["command"] == f"MAIL FROM:<{ANNA}>"


async def test_doubled_shuffled_and_lost_acknowledgements_keep_their_event_ids(
    plane: Plane,
) -> None:
    wanted = plane.world.faults.deliveries("kumomta")
    wanted.duplicate, wanted.shuffle, wanted.drop = 1, True, 1.0
    await asyncio.to_thread(send, plane.port, mail(), mail(recipient="carl@corp.test"))
    waiting = plane.part.node.hooks[0]._waiting
    # Each has been sent twice and has lost both acknowledgements.
    await eventually(lambda: len([m for m in waiting.values() if m.attempts]) == 4)
    wanted.drop = 0.0
    await plane.later(3600)
    await eventually(lambda: plane.part.node.hooks[0].backlog == 0)
    ids = [item["event_id"] for post in plane.control_plane.posts for item in post]
    assert len(ids) >= 4 * 4
    assert len(set(ids)) == 4


async def test_late_deliveries_wait_for_the_clock(plane: Plane) -> None:
    plane.world.faults.deliveries("kumomta").delay_seconds = 3600
    await asyncio.to_thread(send, plane.port)
    await eventually(lambda: plane.part.node.hooks[0].backlog == 2)
    await plane.later(3000)
    assert plane.control_plane.posts == []
    await plane.later(601)
    await eventually(lambda: kinds(plane) == ["Delivery", "Reception"])
