"""SMTP AUTH: who gets in, and that nobody learns why not."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import Callable
from typing import Any, cast

import pytest

from tests.sandbox.kumomta.plane import (
    ANNA,
    INBOX,
    PASSWORD,
    TENANT,
    Client,
    Plane,
    digest,
    send,
)

REFUSED = (535, b"5.7.8 AUTH invalid")


def refusal(port: int, user: str = ANNA, password: str = PASSWORD) -> tuple[int, bytes]:
    """What the server says to a login that must fail."""
    with Client(port) as client, pytest.raises(smtplib.SMTPAuthenticationError) as caught:
        client.secure().login(user, password)
    return caught.value.smtp_code, cast("bytes", caught.value.smtp_error)


async def test_the_right_password_logs_in_whatever_the_case_of_the_name(plane: Plane) -> None:
    await asyncio.to_thread(send, plane.port, user="Anna@Acme.test")


async def test_auth_plain_only_and_only_after_starttls(plane: Plane) -> None:
    def look() -> None:
        with Client(plane.port) as client:
            assert not client.smtp.has_extn("auth")
            assert client.smtp.has_extn("starttls")
            code, _ = client.smtp.docmd("AUTH", "PLAIN AGFubmEAcGFzcw==")
            assert code == 538
            client.secure()
            assert client.smtp.esmtp_features["auth"].split() == ["PLAIN"]
            code, _ = client.smtp.docmd("AUTH", "LOGIN")
            assert code == 504

    await asyncio.to_thread(look)


@pytest.mark.parametrize(
    "case",
    ["wrong password", "unknown name", "paused", "inbox killed", "tenant killed", "odd name"],
)
async def test_every_refusal_reads_the_same(plane: Plane, case: str) -> None:
    user, password = ANNA, PASSWORD
    if case == "wrong password":
        password = "not-it"
    elif case == "unknown name":
        user = "nobody@acme.test"
    elif case == "paused":
        plane.add_inbox(status="paused")
    elif case == "inbox killed":
        plane.redis.sadd("ig:killed", f"i:{INBOX}")
    elif case == "tenant killed":
        plane.redis.sadd("ig:killed", f"t:{TENANT}")
    else:
        user = "x y/../z@acme.test"
    assert await asyncio.to_thread(refusal, plane.port, user, password) == REFUSED


async def test_nobody_acts_for_somebody_else(plane: Plane) -> None:
    def attempt() -> tuple[int, bytes]:
        with Client(plane.port) as client:
            client.secure()
            token = f"boss@acme.test\0{ANNA}\0{PASSWORD}"
            return client.smtp.auth("PLAIN", lambda _challenge=None: token)

    with pytest.raises(smtplib.SMTPAuthenticationError) as caught:
        await asyncio.to_thread(attempt)
    assert caught.value.smtp_code == 535


async def test_a_name_that_redis_lost_is_asked_of_the_control_plane(plane: Plane) -> None:
    entry = plane.redis.hgetall(f"ig:inbox:{ANNA}")
    plane.redis.delete(f"ig:inbox:{ANNA}")
    plane.control_plane.inboxes[ANNA] = {str(name): str(value) for name, value in entry.items()}
    await asyncio.to_thread(send, plane.port)
    assert plane.control_plane.lookups


async def test_a_new_password_works_at_once(plane: Plane) -> None:
    await asyncio.to_thread(send, plane.port)
    plane.add_inbox(h=digest("the-second-password"))
    await asyncio.to_thread(send, plane.port, password="the-second-password")


async def test_no_cache_key_holds_a_password(plane: Plane) -> None:
    await asyncio.to_thread(send, plane.port)
    await asyncio.to_thread(refusal, plane.port, ANNA, "a-wrong-password-to-find")
    caches = plane.part.node.host.memos._caches
    kept = str([(key, entry.value) for c in caches.values() for key, entry in c.entries.items()])
    assert ANNA in kept
    assert PASSWORD not in kept
    assert "a-wrong-password-to-find" not in kept


async def test_guessing_ends_the_session_but_locks_nobody_out(plane: Plane) -> None:
    await asyncio.to_thread(refusal, plane.port, ANNA, "wrong")
    assert plane.redis.get(f"ig:authfail:u:{ANNA}") == "1"
    assert 0 < plane.redis.ttl("ig:authfail:ip:127.0.0.1") <= 900

    plane.redis.set(f"ig:authfail:u:{ANNA}", "5000")
    await asyncio.to_thread(send, plane.port)

    plane.redis.set("ig:authfail:ip:127.0.0.1", "100")
    code, text = await asyncio.to_thread(refusal, plane.port)
    assert code == 421
    assert b"too many failed logins" in text


async def test_an_outage_is_not_a_wrong_password(start_plane: Callable[..., Any]) -> None:
    async with start_plane(IG_REDIS_URL="redis://127.0.0.1:1/0") as plane:
        plane.control_plane.broken = True
        code, _ = await asyncio.to_thread(refusal, plane.port)
    assert code == 454
