"""Limits are kept for all processes together, and locally while Redis is away."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from app.config import Settings, get_settings
from app.embedded import EmbeddedValkey
from app.main import create_app
from app.middleware.rate_limit import RateLimiter
from app.rules.throttles import HOUR, MINUTE
from app.utils import monitoring
from tests.fixtures.customer import Customer
from tests.fixtures.world import Running, eventually

LIMITS = [(5, MINUTE), (8, HOUR)]


@pytest.fixture
def limiter(clean: None) -> RateLimiter:
    away_from_a_boundary(MINUTE, 10)
    return RateLimiter(get_settings().redis_url)


def away_from_a_boundary(seconds: int, margin: float) -> None:
    """Wait until the present window of Redis lasts for `margin` seconds more.

    A test that fills one window would otherwise see, now and then, a part of the next.
    """
    with Redis.from_url(get_settings().redis_url) as redis:

        def inside() -> bool:
            now, _ = redis.time()  # type: ignore[misc]
            return seconds - now % seconds > margin

        eventually(inside, within=margin + 2, why="the next window begins")


# What it counts ---------------------------------------------------------------------------------


def knock(url: str, who: str, times: int) -> int:
    """In a process of its own."""
    limiter = RateLimiter(url)
    return sum(limiter.spend(who, [(60, MINUTE), (1_000, HOUR)]).allowed for _ in range(times))


@pytest.mark.slow
def test_ten_processes_and_three_thousand_calls_get_sixty_a_minute(clean: None) -> None:
    url = get_settings().redis_url
    with ProcessPoolExecutor(10, multiprocessing.get_context("spawn")) as pool:
        # Started first, so that importing is no part of the minute.
        list(pool.map(knock, [url] * 10, ["warm"] * 10, [1] * 10))
        away_from_a_boundary(MINUTE, 25)
        busy = [pool.submit(knock, url, "a", 300) for _ in range(10)]
        assert sum(job.result() for job in busy) == 60
        # Others are not touched by it.
        quiet = [pool.submit(knock, url, f"b{n}", 60) for n in range(10)]
        assert [job.result() for job in quiet] == [60] * 10


def test_a_thousand_an_hour(clean: None) -> None:
    away_from_a_boundary(HOUR, 25)
    with ThreadPoolExecutor(8) as pool:
        spend = RateLimiter(get_settings().redis_url).spend
        limits = [(100_000, MINUTE), (1_000, HOUR)]
        allowed = pool.map(lambda _: spend("a", limits).allowed, range(1_400))
        assert sum(allowed) == 1_000


def test_one_round_trip_for_each_request(own_valkey: EmbeddedValkey) -> None:
    # On a server of its own: its counts are those of everybody who uses it.
    limiter = RateLimiter(own_valkey.url_for(0))
    redis = Redis.from_url(own_valkey.url_for(0))
    limiter.spend("a", LIMITS)
    before = redis.info("commandstats")
    for _ in range(20):
        limiter.spend("a", LIMITS)
    after = redis.info("commandstats")
    calls = {
        name: stats["calls"] - before.get(name, {"calls": 0})["calls"]
        for name, stats in after.items()
    }
    sent = {name for name in calls if calls[name] and name not in CALLED_BY_THE_SCRIPT}
    assert sent - {"cmdstat_info", "cmdstat_client|setinfo", "cmdstat_hello"} == {"cmdstat_evalsha"}
    assert calls["cmdstat_evalsha"] == 20


CALLED_BY_THE_SCRIPT = {f"cmdstat_{name}" for name in ("time", "hmget", "hset", "expire")}


def test_a_refusal_counts_in_no_window(limiter: RateLimiter) -> None:
    standings = [limiter.spend("a", [(100, MINUTE), (3, HOUR)]) for _ in range(9)]
    assert [s.allowed for s in standings] == [True] * 3 + [False] * 6
    assert standings[-1].limit == 3
    minute, hour = standings[-1].windows
    assert (minute.remaining, hour.remaining) == (97, 0)


def test_what_it_says(limiter: RateLimiter) -> None:
    standings = [limiter.spend("a", LIMITS) for _ in range(6)]
    assert [s.remaining for s in standings] == [4, 3, 2, 1, 0, 0]
    assert {s.limit for s in standings} == {5}
    assert all(0 < s.reset_seconds <= 120 for s in standings)


def test_the_promised_moment_is_kept(clean: None) -> None:
    limiter = RateLimiter(get_settings().redis_url)
    limits = [(3, 2)]
    eventually(lambda: not limiter.spend("a", limits).allowed, why="the window is full")
    refused = limiter.spend("a", limits)
    time.sleep(refused.reset_seconds)
    assert limiter.spend("a", limits).allowed


def test_nothing_is_left_behind(limiter: RateLimiter, redis: Redis) -> None:
    limiter.spend("a", LIMITS)
    limiter.spend("a", LIMITS)
    (key,) = redis.keys("ig:rate:*")
    assert HOUR < redis.ttl(key) <= 2 * HOUR


# While Redis is away ----------------------------------------------------------------------------


def fallbacks() -> float:
    return monitoring.LIMITER_FALLBACKS._value.get()


def local() -> float:
    return monitoring.LIMITER_LOCAL._value.get()


def test_without_redis_half_is_allowed_and_counted() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        limiter = RateLimiter(f"redis://127.0.0.1:{probe.getsockname()[1]}/0")
        before = fallbacks()
        standings = [limiter.spend("a", [(4, MINUTE), (100, HOUR)]) for _ in range(4)]
    assert [s.allowed for s in standings] == [True, True, False, False]
    assert standings[0].limit == 2
    assert fallbacks() - before == 4
    assert local() == 1


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    server = EmbeddedValkey(tmp_path / "valkey", port=0, fast=True)
    server.start()
    yield server
    server.stop()


@pytest.mark.slow
def test_a_frozen_redis_slows_one_request_in_five_seconds(own_valkey: EmbeddedValkey) -> None:
    limiter = RateLimiter(own_valkey.url_for(0))
    limits = [(100_000, MINUTE)]
    limiter.spend("a", limits)
    assert local() == 0
    pid = Redis.from_url(own_valkey.url_for(0)).info("server")["process_id"]

    def timed(_: int) -> float:
        began = time.perf_counter()
        limiter.spend("a", limits)
        return time.perf_counter() - began

    os.kill(pid, signal.SIGSTOP)
    try:
        first = timed(0)
        assert 0.3 < first < 2
        began, slow, count = time.perf_counter(), 0, 0
        with ThreadPoolExecutor(16) as pool:
            # Long enough for one more look whether it is back, by one of sixteen who knock at once.
            while time.perf_counter() - began < 6:
                times = list(pool.map(timed, range(16)))
                slow += sum(seconds > 0.25 for seconds in times)
                count += len(times)
        assert slow == 1
        assert count > 500
        assert local() == 1
    finally:
        os.kill(pid, signal.SIGCONT)

    def shared_again() -> bool:
        limiter.spend("a", limits)
        return local() == 0

    eventually(shared_again, within=8, why="Redis is asked again")


# What callers are told --------------------------------------------------------------------------


@pytest.fixture
def small(world: Running) -> TestClient:
    """The product with a limit of three requests a minute for the smallest plan."""
    away_from_a_boundary(MINUTE, 10)
    settings = Settings(rate_limit_requests_per_minute=3, rate_limit_requests_per_hour=100)
    return TestClient(create_app(settings), base_url="http://127.0.0.1")


def test_a_tenant_is_told_how_it_stands(
    small: TestClient, signed_in: Customer, in_plan: Callable[..., None]
) -> None:
    headers = {"Authorization": f"Bearer {signed_in.signed_up['access_token']}"}
    answers = [small.get("/api/v1/billing/subscription", headers=headers) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["RateLimit-Remaining"] for answer in answers] == ["2", "1", "0", "0"]
    assert answers[0].headers["RateLimit-Limit"] == "3"
    policy = '"minute";q=3;w=60, "hour";q=100;w=3600'
    assert {answer.headers["RateLimit-Policy"] for answer in answers} == {policy}
    minute = r'"minute";r=2;t=\d+'
    assert re.fullmatch(minute + r', "hour";r=99;t=\d+', answers[0].headers["RateLimit"])
    last = answers[-1]
    assert last.json()["error_code"] == "RATE_LIMITED"
    assert int(last.headers["Retry-After"]) == int(last.headers["RateLimit-Reset"])
    # A dearer plan may do proportionally more.
    in_plan(signed_in, "growth")
    answer = small.get("/api/v1/billing/subscription", headers=headers)
    assert (answer.status_code, answer.headers["RateLimit-Limit"]) == (200, "9")


def test_strangers_are_counted_by_address(small: TestClient) -> None:
    statuses = [small.get("/api/v1/billing/plans").status_code for _ in range(16)]
    assert statuses == [200] * 15 + [429]
    assert small.get("/healthz").status_code == 200
