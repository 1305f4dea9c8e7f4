"""Mail handed in over HTTP passes the rules of a login."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

import pytest

from app.rules import traces
from tests.sandbox.kumomta.plane import (
    ANNA,
    BOB,
    INBOX,
    TENANT,
    TRACE_KEY,
    Plane,
    eventually,
    mail,
)


async def inject(plane: Plane, sender: str = ANNA, author: str = ANNA) -> dict[str, Any]:
    body = {
        "envelope_sender": sender,
        "recipients": [{"email": BOB, "metadata": {"tenant": "somebody-else"}}],
        "content": mail(author).as_string(),
    }
    answer: dict[str, Any] = (await plane.admin("POST", "/api/inject/v1", json=body)).json()
    return answer


async def test_it_is_traced_signed_counted_and_delivered(plane: Plane) -> None:
    assert (await inject(plane))["success_count"] == 1
    (sent,) = await eventually(lambda: plane.receiver.to(BOB))
    (token,) = re.findall(rb"(?m)^X-InboxGrove-Trace: (\S+)\r$", sent.content)
    assert traces.read(TRACE_KEY, token.decode()) == UUID(INBOX)
    assert sent.sender == traces.return_path(token.decode(), "mta.inboxgrove.test")
    assert sent.content.startswith(b"DKIM-Signature:")
    (record,) = await eventually(lambda: plane.control_plane.of("Reception"))
    assert record["meta"]["tenant"] == TENANT
    day = plane.world.clock.now().strftime("%Y%m%d")
    assert plane.redis.get(f"ig:q:{INBOX}:d:{day}") == "1"


@pytest.mark.parametrize(
    "case", ["killed", "paused", "nobody", "another author", "suppressed", "no quota", "no key"]
)
async def test_it_is_refused_as_a_login_would_be(plane: Plane, case: str) -> None:
    sender, author = ANNA, ANNA
    if case == "killed":
        plane.redis.sadd("ig:killed", f"t:{TENANT}")
    elif case == "paused":
        plane.add_inbox(status="paused")
    elif case == "nobody":
        sender = author = "nobody@acme.test"
    elif case == "another author":
        author = "boss@acme.test"
    elif case == "suppressed":
        plane.redis.sadd(f"ig:suppressed:{TENANT}", BOB)
    elif case == "no quota":
        plane.add_inbox(day_limit=0)
    else:
        plane.control_plane.dkim = False
    answer = await inject(plane, sender, author)
    assert (answer["success_count"], answer["fail_count"]) == (0, 1)
    assert answer["errors"][0].startswith("451 4.3.0" if case == "no key" else "550 5.")
    assert plane.receiver.mails == []
    assert plane.redis.keys("ig:q:*") == []
