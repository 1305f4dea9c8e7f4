"""Limits are kept for all processes together, and locally while Redis is away."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient

from app.config import Settings, get_settings
from app.main import create_app
from app.middleware.rate_limit import RateLimiter
from app.utils import monitoring
from tests.fixtures.world import Running

LIMITS = [(5, 60), (8, 3600)]


@pytest.fixture
def limiter(clean: None) -> RateLimiter:
    return RateLimiter(get_settings().redis_url)


def test_two_processes_count_together(limiter: RateLimiter) -> None:
    twin = RateLimiter(get_settings().redis_url)
    allowed = [(limiter, twin)[n % 2].spend("a", LIMITS).allowed for n in range(6)]
    assert allowed == [True] * 5 + [False]
    assert limiter.spend("b", LIMITS).allowed


def test_fifty_at_once_get_no_more_than_the_limit(limiter: RateLimiter) -> None:
    with ThreadPoolExecutor(50) as pool:
        allowed = list(pool.map(lambda _: limiter.spend("a", LIMITS).allowed, range(50)))
    assert sum(allowed) == 5


def test_what_it_says(limiter: RateLimiter) -> None:
    standings = [limiter.spend("a", LIMITS) for _ in range(6)]
    assert [s.remaining for s in standings] == [4, 3, 2, 1, 0, 0]
    assert {s.limit for s in standings} == {5}
    assert all(0 < s.reset_seconds <= 120 for s in standings)


def test_the_longer_limit_counts_too(limiter: RateLimiter) -> None:
    standings = [limiter.spend("a", [(100, 60), (3, 3600)]) for _ in range(4)]
    assert [s.allowed for s in standings] == [True, True, True, False]
    assert standings[-1].limit == 3


def test_looking_costs_nothing(limiter: RateLimiter) -> None:
    for _ in range(20):
        assert limiter.look("a", LIMITS).allowed
    for _ in range(5):
        limiter.spend("a", LIMITS)
    assert not limiter.look("a", LIMITS).allowed


def fallbacks() -> float:
    return monitoring.LIMITER_FALLBACKS._value.get()


def test_without_redis_half_is_allowed_and_counted() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        limiter = RateLimiter(f"redis://127.0.0.1:{probe.getsockname()[1]}/0")
        before = fallbacks()
        allowed = [limiter.spend("a", [(4, 60)]).allowed for _ in range(4)]
    assert allowed == [True, True, False, False]
    assert fallbacks() - before == 4


def test_a_frozen_redis_slows_one_request_and_not_all() -> None:
    with socket.socket() as frozen:
        frozen.bind(("127.0.0.1", 0))
        frozen.listen(50)
        limiter = RateLimiter(f"redis://127.0.0.1:{frozen.getsockname()[1]}/0")
        began = time.perf_counter()
        limiter.spend("a", [(40, 60)])
        assert time.perf_counter() - began < 2
        began = time.perf_counter()
        for _ in range(10):
            limiter.spend("a", [(40, 60)])
        assert time.perf_counter() - began < 0.2


@pytest.fixture
def small(world: Running) -> TestClient:
    """The product with a limit of three requests a minute for the smallest plan."""
    settings = Settings(rate_limit_requests_per_minute=3, rate_limit_requests_per_hour=100)
    return TestClient(create_app(settings), base_url="http://127.0.0.1")


def test_a_tenant_is_told_how_it_stands(
    small: TestClient, signed_in, in_plan: Callable[..., None]
) -> None:
    headers = {"Authorization": f"Bearer {signed_in.signed_up['access_token']}"}
    answers = [small.get("/api/v1/auth/me", headers=headers) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["RateLimit-Remaining"] for answer in answers] == ["2", "1", "0", "0"]
    assert answers[0].headers["RateLimit-Limit"] == "3"
    last = answers[-1]
    assert last.json()["error_code"] == "RATE_LIMITED"
    assert int(last.headers["Retry-After"]) == int(last.headers["RateLimit-Reset"])
    # A dearer plan may do proportionally more.
    in_plan(signed_in, "growth")
    answer = small.get("/api/v1/auth/me", headers=headers)
    assert (answer.status_code, answer.headers["RateLimit-Limit"]) == (200, "9")


def test_strangers_are_counted_by_address(small: TestClient) -> None:
    statuses = [small.get("/api/v1/billing/plans").status_code for _ in range(16)]
    assert statuses == [200] * 15 + [429]
    assert small.get("/healthz").status_code == 200
