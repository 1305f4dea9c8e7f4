"""Many at once, and a provider that hangs: nobody starves."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.fixtures.customer import Customer
from tests.fixtures.world import Running


@pytest.mark.slow
def test_three_hundred_readers_at_once_are_served_or_told_to_come_back(
    signed_in: Customer,
) -> None:
    """Nobody is left hanging: what a machine cannot take in time is sent away with 503."""
    limits = httpx.Limits(max_connections=300, max_keepalive_connections=0)
    with (
        httpx.Client(headers=signed_in.http.headers, timeout=60, limits=limits) as client,
        ThreadPoolExecutor(300) as pool,
    ):
        url = f"{signed_in.world.api_url}/api/v1/auth/me"
        answers = list(pool.map(lambda _: client.get(url), range(600)))
    sent_away = [answer for answer in answers if answer.status_code != 200]
    assert {answer.status_code for answer in sent_away} <= {503}
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in sent_away)
    # Were connections and threads held in a circle, hardly anybody would be served.
    assert len(sent_away) < 300
    assert signed_in.get("/auth/me")


def test_a_hanging_provider_does_not_stop_those_who_do_not_need_it(
    signed_in: Customer, world: Running
) -> None:
    world.fault("stripe", "setup_intents", "stall", times=60, seconds=4)
    with ThreadPoolExecutor(30) as pool:
        waiting = [pool.submit(signed_in.try_post, "/billing/setup-intent") for _ in range(30)]
        time.sleep(0.5)
        slowest = 0.0
        for _ in range(20):
            began = time.monotonic()
            assert signed_in.get("/auth/me")
            slowest = max(slowest, time.monotonic() - began)
        assert not all(job.done() for job in waiting)
        statuses = {job.result().status_code for job in waiting}
    assert slowest < 1.5
    assert statuses <= {201, 503}
