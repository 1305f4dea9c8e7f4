"""The directory's layers: memory, Redis, the control plane, the copy on the node's disk."""

from __future__ import annotations

import asyncio
import json
import smtplib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.kumomta.plane import (
    ANNA,
    DOMAIN,
    INBOX,
    TENANT,
    Client,
    Plane,
    digest,
    eventually,
    mail,
)
from tests.sandbox.kumomta.plane import (
    PASSWORD as RIGHT,
)
from tests.sandbox.kumomta.surroundings import StartPlane

NOWHERE = "redis://127.0.0.1:1/0"


def entry(number: int) -> tuple[str, dict[str, str]]:
    email = ANNA if number == 500 else f"u{number:04}@{DOMAIN}"
    return email, {
        "inbox": INBOX if number == 500 else f"0190a000-0000-7000-8000-{number:012}",
        "tenant": TENANT, "domain": DOMAIN, "email": email, "h": digest(RIGHT), "status": "active",
        "day_limit": "50", "month_limit": "1500",
    }  # fmt: skip


def login(port: int, user: str = ANNA, password: str = RIGHT) -> int:
    """The code of the answer to AUTH."""
    try:
        with Client(port) as client:
            client.secure().login(user, password)
    except smtplib.SMTPAuthenticationError as error:
        return error.smtp_code
    return 235


@pytest.fixture
async def cut_off(start_plane: StartPlane, tmp_path: Path) -> AsyncIterator[Plane]:
    """A node without Redis whose control plane failed after it had given a copy."""
    async with start_plane(tmp_path, IG_REDIS_URL=NOWHERE, IG_SNAPSHOT_SECONDS="0.05") as plane:
        plane.control_plane.inboxes = dict(entry(n) for n in range(1000))
        await eventually(lambda: len(plane.control_plane.snapshots) > 1 and copy_of(tmp_path, ANNA))
        plane.control_plane.broken = True
        await plane.later(10)
        yield plane


def copy_of(folder: Path, name: str) -> bool:
    path = folder / "kumomta" / "ig-snapshot"
    return path.exists() and f"\n{name}\t" in path.read_text()


@pytest.mark.parametrize("user", [ANNA, f"u0000@{DOMAIN}", f"u0999@{DOMAIN}", f"u0501@{DOMAIN}"])
async def test_known_names_log_in_from_the_disk(cut_off: Plane, user: str) -> None:
    assert await asyncio.to_thread(login, cut_off.port, user) == 235


async def test_the_disk_proves_passwords_and_knows_no_strangers(cut_off: Plane) -> None:
    assert await asyncio.to_thread(login, cut_off.port, ANNA, "not-it") == 535
    # The copy may be older than the inbox: that is an outage, not a wrong name.
    for stranger in (f"a@{DOMAIN}", f"u0999a@{DOMAIN}", f"zz@{DOMAIN}", "end@x.test"):
        assert await asyncio.to_thread(login, cut_off.port, stranger) == 454


async def test_without_counters_nothing_is_accepted_all_the_same(cut_off: Plane) -> None:
    def attempt() -> int:
        with Client(cut_off.port) as client:
            code: int = client.secure().login().smtp.mail(ANNA)[0]
            return code

    assert await asyncio.to_thread(attempt) == 451


async def test_a_copy_that_is_too_old_is_not_used(cut_off: Plane) -> None:
    await cut_off.later(86400)
    assert await asyncio.to_thread(login, cut_off.port) == 454


async def test_kills_count_from_the_disk_too(start_plane: StartPlane, tmp_path: Path) -> None:
    async with start_plane(tmp_path, IG_REDIS_URL=NOWHERE, IG_SNAPSHOT_SECONDS="0.05") as plane:
        control = plane.control_plane
        control.inboxes = dict(entry(n) for n in range(1000))
        control.kills = {"tenants": [], "inboxes": [INBOX]}
        await eventually(lambda: INBOX in head_of(tmp_path).get("inboxes", []))
        control.broken = True
        await plane.later(10)
        assert await asyncio.to_thread(login, plane.port) == 535
        assert await asyncio.to_thread(login, plane.port, f"u0001@{DOMAIN}") == 235
        # A restart finds the list on the disk as well.
        await plane.http.post("/control/kumomta/restart")
        (held,) = (await plane.admin("GET", "/api/admin/suspend/v1")).json()
        assert held["campaign"] == INBOX


def head_of(folder: Path) -> dict[str, Any]:
    path = folder / "kumomta" / "ig-snapshot"
    if not path.exists():
        return {}
    head: dict[str, Any] = json.loads(path.read_text().partition("\n")[0])
    return head


async def test_unchanged_copies_cost_nothing_and_broken_ones_change_nothing(
    start_plane: StartPlane, tmp_path: Path
) -> None:
    async with start_plane(tmp_path, IG_SNAPSHOT_SECONDS="0.05") as plane:
        control = plane.control_plane
        await eventually(lambda: len(control.snapshots) > 3)
        assert control.snapshots.count(200) == 1
        control.inboxes = dict([entry(500)])
        await eventually(lambda: copy_of(tmp_path, ANNA))
        text = (tmp_path / "kumomta" / "ig-snapshot").read_text()
        assert text.endswith(f"\nend\t{head_of(tmp_path)['etag']}\n")
        assert RIGHT not in text


async def test_each_node_keeps_a_copy_of_its_own_in_the_folder_it_was_given(
    start_plane: StartPlane, tmp_path: Path
) -> None:
    given = tmp_path / "var" / "spool"
    places = {"IG_SPOOL_DIR": str(given), "IG_LOG_DIR": str(tmp_path / "var" / "log")}
    async with start_plane(SANDBOX_KUMOMTA_NODES="2", **places):
        for folder in (given, given / "node-2"):
            await eventually((folder / "ig-snapshot.state").exists)
            assert not (folder / "ig-snapshot.new").exists()
        assert (tmp_path / "var" / "log" / "node-2").is_dir()


async def test_a_wiped_redis_takes_nothing_until_it_is_whole_again(plane: Plane) -> None:
    """Not a second quota, and no mail of somebody whose kill was wiped."""
    control = plane.control_plane
    control.kills = {"tenants": [TENANT], "inboxes": []}
    control.inboxes = dict([entry(500)])
    plane.redis.flushdb()
    assert await asyncio.to_thread(login, plane.port) == 535
    control.kills = {"tenants": [], "inboxes": []}
    await plane.later(6)

    def attempt() -> tuple[int, int]:
        with Client(plane.port) as client:
            smtp = client.secure().login().smtp
            before: int = smtp.mail(ANNA)[0]
            plane.redis.sadd("ig:killed", "!")
            smtp.send_message(mail())
            return before, 250

    assert await asyncio.to_thread(attempt) == (451, 250)


async def test_guessers_are_counted_without_redis(cut_off: Plane) -> None:
    def guess() -> list[int]:
        codes = []
        with Client(cut_off.port) as client:
            client.secure()
            for _ in range(101):
                code = client.smtp.docmd("AUTH", "PLAIN AGFubmFAYWNtZS50ZXN0AHdyb25n")[0]
                codes.append(code)
                if code == 421:
                    break
        return codes

    assert await asyncio.to_thread(guess) == [535] * 100 + [421]
