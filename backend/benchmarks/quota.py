"""`python -m benchmarks.quota`: parallel senders on one inbox, two nodes, over midnight.

Fifty SMTP sessions, half on each node, send as fast as they can. The world's clock jumps over the
end of a month in the middle. Printed: what was accepted against what the limits allow, and the
answers a second, refusals included. The nodes execute the shipped policy in the sandbox, so the
rate is the sandbox's, not kumod's; the counts are the policy's.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

from tests.sandbox.kumomta.plane import INBOX, Client, Plane
from tests.sandbox.kumomta.surroundings import control_plane, planes, valkey
from tests.sandbox.kumomta.test_quota import one

SENDERS, EACH, DAY_LIMIT = 50, 40, 300


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, valkey(Path(folder)) as url:
        asyncio.run(run(url))


async def run(valkey_url: str) -> None:
    async with (
        control_plane() as control,
        planes(valkey_url, control) as start,
        start(SANDBOX_KUMOMTA_NODES="2") as plane,
    ):
        await measure(plane)


async def measure(plane: Plane) -> None:
    loop = asyncio.get_running_loop()
    plane.add_inbox(day_limit=DAY_LIMIT, hour_limit=DAY_LIMIT, month_limit=10 * DAY_LIMIT)
    now = plane.world.clock.now()
    turn = (now.replace(day=28) + timedelta(days=4)).replace(day=1, hour=0, minute=0, second=0)
    plane.world.clock.advance((turn - now).total_seconds() - 3600)
    first = plane.world.clock.now()
    ports = [plane.world.ports["submission"], plane.world.ports["submission2"]]

    def session(number: int) -> list[int]:
        with Client(ports[number % 2]) as client:
            client.secure().login()
            return [one(client) for _ in range(EACH)]

    with ThreadPoolExecutor(SENDERS) as pool:
        began = time.perf_counter()
        sessions = [loop.run_in_executor(pool, session, n) for n in range(SENDERS)]
        day_one = f"ig:q:{INBOX}:d:{first:%Y%m%d}"
        while int(plane.redis.get(day_one) or 0) < DAY_LIMIT:  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # The counter is in Redis, which tells nobody.
        plane.world.clock.advance(3600)
        codes = Counter(code for answers in await asyncio.gather(*sessions) for code in answers)
        took = time.perf_counter() - began
    second = plane.world.clock.now()
    counted = [int(plane.redis.get(f"ig:q:{INBOX}:d:{d:%Y%m%d}") or 0) for d in (first, second)]
    months = [int(plane.redis.get(f"ig:q:{INBOX}:m:{d:%Y%m}") or 0) for d in (first, second)]
    attempts = sum(codes.values())
    print(f"{SENDERS} sessions, 2 nodes, {attempts} mails, limit {DAY_LIMIT} a day")
    print(
        f"accepted {codes[250]}, refused {codes[550]}, others {attempts - codes[250] - codes[550]}"
    )
    print(f"counted a day {counted}, a month {months}")
    print(f"over the limit: {max(0, codes[250] - 2 * DAY_LIMIT)}")
    print(f"{attempts / took:.0f} answers a second")


if __name__ == "__main__":
    main()
