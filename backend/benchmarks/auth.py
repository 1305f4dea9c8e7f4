"""`python -m benchmarks.auth`: AUTH on each of the directory's paths, microseconds each.

The shipped policy's AUTH event, run in the sandbox's Lua host without the SMTP and TLS around it,
one after another on one thread: look-up, HMAC, kill set, failure counters. Every path but the first
meets each name for the first time. `disk` includes the attempts at Redis and the control plane that
fail before it. A real kumod runs the same Lua without Python between Lua and Redis, so the figures
compare the paths; they are not kumod's own speed.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sandbox.kumomta.message import ConnectionMeta
from tests.sandbox.kumomta.plane import DOMAIN, PASSWORD, TENANT, Plane, digest, eventually
from tests.sandbox.kumomta.surroundings import StartPlane, control_plane, planes, valkey

INBOXES, LOGINS = 100_000, 2_000


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, valkey(Path(folder)) as url:
        asyncio.run(run(url, Path(folder)))


async def run(valkey_url: str, folder: Path) -> None:
    print(f"{INBOXES} inboxes, {LOGINS} logins each")
    print(f"{'path':<14} {'µs each':>9} {'a second':>9}")
    async with control_plane() as control, planes(valkey_url, control) as start:
        control.inboxes = dict(entry(number) for number in range(INBOXES))
        await in_order(start)
        await on_disk(start, folder)


async def in_order(start: StartPlane) -> None:
    async with start() as plane:
        names = list(plane.control_plane.inboxes)
        spread = names[:: INBOXES // (2 * LOGINS)]
        pipeline = plane.redis.pipeline(transaction=False)
        for name in spread[:LOGINS]:
            fields: dict[Any, Any] = dict(plane.control_plane.inboxes[name])
            pipeline.hset(f"ig:inbox:{name}", mapping=fields)
        pipeline.execute()
        await log_in(plane, spread[:1])
        show("memory", await log_in(plane, spread[:1] * LOGINS))
        show("Redis", await log_in(plane, spread[1:LOGINS]))
        show("control plane", await log_in(plane, spread[LOGINS:]))


async def on_disk(start: StartPlane, folder: Path) -> None:
    async with start(folder, IG_REDIS_URL="redis://127.0.0.1:1/0") as plane:
        await eventually((folder / "kumomta" / "ig-snapshot.state").exists, 60)
        plane.control_plane.broken = True
        names = list(plane.control_plane.inboxes)
        show("disk", await log_in(plane, names[:: INBOXES // LOGINS]))
        size = (folder / "kumomta" / "ig-snapshot").stat().st_size
        print(f"the copy on disk has {size / 1e6:.0f} MB")


async def log_in(plane: Plane, names: Sequence[str]) -> float:
    """Microseconds a login."""
    policy = plane.part.node.policy

    def work(state: Any) -> float:
        began = time.perf_counter()
        for name in names:
            meta = ConnectionMeta({"received_from": "127.0.0.1:4711"})
            assert state.fire("smtp_server_auth_plain", name, name, PASSWORD, meta) is True
        return time.perf_counter() - began

    return await policy.run(work) / len(names) * 1e6


def entry(number: int) -> tuple[str, dict[str, str]]:
    email = f"u{number:06}@{DOMAIN}"
    return email, {
        "inbox": f"0190a000-0000-7000-8000-{number:012}", "tenant": TENANT, "domain": DOMAIN,
        "email": email, "h": HMAC, "status": "active", "day_limit": "50", "month_limit": "1500",
    }  # fmt: skip


def show(path: str, microseconds: float) -> None:
    print(f"{path:<14} {microseconds:>9.0f} {1e6 / microseconds:>9.0f}")


HMAC = digest(PASSWORD)

if __name__ == "__main__":
    main()
