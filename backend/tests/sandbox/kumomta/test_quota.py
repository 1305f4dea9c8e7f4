"""Limits are exact, however many send at once, on two nodes, over midnight and the end of a month."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from tests.sandbox.kumomta.plane import INBOX, Client, Plane, mail

SENDERS = 50


def one(client: Client) -> int:
    """The code of the answer to one more mail of an open session."""
    try:
        client.smtp.send_message(mail())
    except smtplib.SMTPSenderRefused as error:
        return error.smtp_code
    except smtplib.SMTPDataError as error:
        return error.smtp_code
    return 250


async def test_fifty_senders_on_two_nodes_never_exceed_by_one(
    start_plane: Callable[..., Any],
) -> None:
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(SENDERS) as pool:
        async with start_plane(SANDBOX_KUMOMTA_NODES="2") as plane:
            plane.add_inbox(day_limit=20, month_limit=30, hour_limit=20, domain_limit=20)
            _until_the_last_second_of_the_month(plane)
            first = plane.world.clock.now()
            ports = [plane.world.ports["submission"], plane.world.ports["submission2"]]

            def enter(number: int) -> Client:
                return Client(ports[number % 2]).secure().login()

            clients = await asyncio.gather(
                *(loop.run_in_executor(pool, enter, n) for n in range(SENDERS))
            )

            async def round_of_all(jump: float = 0) -> int:
                sent = [loop.run_in_executor(pool, one, client) for client in clients]
                if jump:
                    # In the middle of it: some have asked before midnight, some ask after.
                    await asyncio.wait(sent, return_when=asyncio.FIRST_COMPLETED)
                    plane.world.clock.advance(jump)
                codes = await asyncio.gather(*sent)
                assert set(codes) <= {250, 550}
                return codes.count(250)

            assert await round_of_all() == 20
            over_midnight = await round_of_all(jump=30)
            second = plane.world.clock.now()
            assert second.month != first.month
            assert over_midnight + await round_of_all() == 20
            # A day later ten are left of the month.
            plane.world.clock.advance(86400)
            assert await round_of_all() == 10
            for client in clients:
                client.smtp.close()

            def count(kind: str, form: str, day: Any) -> str | None:
                found: str | None = plane.redis.get(f"ig:q:{INBOX}:{kind}:{day.strftime(form)}")
                return found

            third = second + timedelta(days=1)
            days = [count("d", "%Y%m%d", day) for day in (first, second, third)]
            assert days == ["20", "20", "10"]
            assert [count("m", "%Y%m", day) for day in (first, second)] == ["20", "30"]
            assert plane.redis.hgetall(f"ig:q:{INBOX}:r:{third:%Y%m%d}") == {"corp.test": "10"}


def _until_the_last_second_of_the_month(plane: Plane) -> None:
    now = plane.world.clock.now()
    turn = (now.replace(day=28) + timedelta(days=4)).replace(
        day=1, hour=0, minute=0, second=0, microsecond=0
    )
    plane.world.clock.advance((turn - now).total_seconds() - 20)
