"""Many at once, and a provider that hangs: nobody starves."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.fixtures.customer import Customer
from tests.fixtures.world import Running


def test_three_hundred_readers_at_once_are_all_served(signed_in: Customer) -> None:
    limits = httpx.Limits(max_connections=300, max_keepalive_connections=0)
    with (
        httpx.Client(headers=signed_in.http.headers, timeout=30, limits=limits) as client,
        ThreadPoolExecutor(300) as pool,
    ):
        url = f"{signed_in.world.api_url}/api/v1/auth/me"
        began = time.monotonic()
        statuses = list(pool.map(lambda _: client.get(url).status_code, range(600)))
    assert statuses == [200] * 600
    assert time.monotonic() - began < 25


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
