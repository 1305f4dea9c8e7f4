"""Outgoing mail: refusals, retries, ends."""

from __future__ import annotations

import asyncio
import json
import smtplib
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.kumomta.plane import (
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


def failures(plane: Plane, count: int) -> list[dict[str, Any]]:
    """The TransientFailure records once there are `count` of them, else nothing."""
    records = plane.control_plane.of("TransientFailure")
    return records if len(records) >= count else []


def tried_or_expired(plane: Plane, count: int) -> bool:
    """True once attempt number `count` is known to have failed, or the mail to have expired."""
    return bool(failures(plane, count) or plane.control_plane.of("Expiration"))


async def test_a_permanent_refusal_is_a_bounce_with_a_class(plane: Plane) -> None:
    plane.receiver.refusals["bob"] = "550 5.1.1 user unknown"
    await asyncio.to_thread(send, plane.port)
    (record,) = await eventually(lambda: plane.control_plane.of("Bounce"))
    assert record["bounce_classification"] == "InvalidRecipient"
    assert record["response"] == {
        "code": 550,
        "enhanced_code": {"class": 5, "subject": 1, "detail": 1},
        "content": "user unknown",
        "command": f"RCPT TO:<{BOB}>\r\n",
    }
    assert record["site"] == "ig-direct->mx.corp.test@smtp_client"
    assert (await plane.http.get("/control/kumomta/queues")).json()["queues"] == []


async def test_retries_after_20_minutes_then_twice_as_long(plane: Plane) -> None:
    plane.receiver.refusals["bob"] = "450 4.2.0 not now"
    await asyncio.to_thread(send, plane.port)
    waits = []
    for attempt in range(1, 4):
        records = await eventually(partial(failures, plane, attempt))
        assert records[-1]["num_attempts"] == attempt - 1
        (queue,) = (await plane.http.get("/control/kumomta/queues")).json()["queues"]
        due = datetime.fromisoformat(queue["next_due"])
        waits.append(round((due - plane.world.clock.now()).total_seconds() / 60))
        await plane.later((due - plane.world.clock.now()).total_seconds() + 1)
    assert waits == [20, 40, 80]


async def test_mail_that_is_too_old_expires(plane: Plane) -> None:
    plane.receiver.refusals["bob"] = "450 4.2.0 not now"
    await asyncio.to_thread(send, plane.port)
    for attempt in range(1, 30):
        await eventually(partial(tried_or_expired, plane, attempt))
        if plane.control_plane.of("Expiration"):
            break
        await plane.later(8 * 3600 + 1)
    (record,) = plane.control_plane.of("Expiration")
    assert record["response"]["code"] == 551
    assert "exceeds max_age=259200s" in record["response"]["content"]
    assert plane.part.node.queues.summary() == []


async def test_a_domain_that_does_not_exist_bounces(plane: Plane) -> None:
    await asyncio.to_thread(send, plane.port, mail(recipient="x@void.test"))
    (record,) = await eventually(lambda: plane.control_plane.of("Bounce"))
    assert record["response"]["content"] == "MxResolution for void.test: NXDOMAIN"


async def test_several_recipients_become_one_message_each(plane: Plane) -> None:
    def attempt() -> None:
        with Client(plane.port) as client:
            smtp = client.secure().login().smtp
            smtp.sendmail(ANNA, [BOB, "carl@corp.test", "dora@other.test"], mail().as_bytes())

    await asyncio.to_thread(attempt)
    await eventually(lambda: len(plane.receiver.mails) == 3)
    records = await eventually(
        lambda: plane.control_plane.of("Reception")[2:] and plane.control_plane.of("Reception")
    )
    assert len({record["id"] for record in records}) == 3
    assert {record["recipient"] for record in records} == {BOB, "carl@corp.test", "dora@other.test"}


async def test_providers_limits_come_from_the_shaping_files(
    start_plane: Callable[..., Any], tmp_path: Path
) -> None:
    file = tmp_path / "shaping.json"
    file.write_text(json.dumps({"strict.test": {"enable_tls": "Required"}}))
    async with start_plane(IG_SHAPING_FILES=str(file)) as plane:
        plane.add_inbox()
        letters = [mail(recipient=to) for to in ("a@strict.test", "a@corp.test")]
        await asyncio.to_thread(send, plane.port, *letters)
        # The host offers no TLS.
        await eventually(lambda: plane.receiver.to("a@corp.test"), seconds=30)
        (failure,) = await eventually(lambda: failures(plane, 1), seconds=30)
        assert failure["recipient"] == "a@strict.test"
        assert "TLS is required" in failure["response"]["content"]
        assert not plane.receiver.to("a@strict.test")
        # A file with a mistake costs the limits, not the mail.
        file.write_text("{")
        await asyncio.to_thread(send, plane.port, mail(recipient="b@other.test"))
        await eventually(lambda: plane.receiver.to("b@other.test"), seconds=30)


async def test_rebind_flushes_and_inspect_shows_the_message(plane: Plane) -> None:
    plane.receiver.refusals["bob"] = "450 4.2.0 not now"
    await asyncio.to_thread(send, plane.port)
    (record,) = await eventually(lambda: plane.control_plane.of("TransientFailure"))
    plane.receiver.refusals.clear()

    path = f"/api/admin/inspect-message/v1?id={record['id']}&want_body=true"
    shown = (await plane.admin("GET", path)).json()["message"]
    assert (shown["sender"], shown["recipient"]) == (record["sender"], BOB)
    assert shown["num_attempts"] == 1
    assert shown["meta"]["x_inbox"] == INBOX
    assert "Subject: Hello" in shown["data"]

    body = {"reason": "ig:resume", "data": {}, "tenant": "somebody-else", "always_flush": True}
    await plane.admin("POST", "/api/admin/rebind/v1", json=body)
    assert plane.receiver.mails == []
    await plane.admin("POST", "/api/admin/rebind/v1", json=body | {"tenant": TENANT})
    await eventually(lambda: plane.receiver.to(BOB))


async def test_fifty_clients_at_once(plane: Plane) -> None:
    for n in range(50):
        plane.add_inbox(f"user{n}@acme.test", f"0190a000-0000-7000-8000-0000000001{n:02d}")
    started = asyncio.get_running_loop().time()
    jobs = []
    for n in range(50):
        sender = f"user{n}@acme.test"
        jobs.append(asyncio.to_thread(send, plane.port, mail(sender), user=sender))
    await asyncio.gather(*jobs)
    await eventually(lambda: len(plane.receiver.mails) == 50, 20)
    assert asyncio.get_running_loop().time() - started < 15
    await eventually(lambda: len(plane.control_plane.of("Delivery")) == 50, 20)


@pytest.mark.parametrize(
    ("mode", "command", "code", "delivered"),
    [
        ("fail_before", "MAIL", 451, 0),
        ("fail_before", "DATA", 451, 0),
        ("fail_after", "DATA", 421, 1),
        ("stall", "MAIL", 250, 1),
    ],
)
async def test_the_node_misbehaves_when_told_to(
    plane: Plane, mode: str, command: str, code: int, delivered: int
) -> None:
    rule = {"part": "kumomta", "match": f"^SMTP {command}", "mode": mode, "seconds": 0.1}
    assert (await plane.http.post("/control/faults", json=rule)).status_code == 200

    def attempt() -> int:
        try:
            send(plane.port)
        except smtplib.SMTPResponseException as error:
            return error.smtp_code
        return 250

    assert await asyncio.to_thread(attempt) == code
    await eventually(lambda: len(plane.receiver.mails) == delivered)
    await asyncio.to_thread(send, plane.port)
    await eventually(lambda: len(plane.receiver.mails) == delivered + 1)
