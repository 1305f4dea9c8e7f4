"""Namecheap's three windows, shared by every process through Redis."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from uuid import uuid4

import pytest
from redis import Redis

from app.errors import ProviderUnavailable
from app.integrations.namecheap_limits import RateLimit


def test_calls_at_the_same_moment_share_the_room(valkey: Redis) -> None:
    key = uuid4().hex
    windows = ((60, 5), (3600, 100))

    def one(_: int) -> bool:
        with Redis.from_url(os.environ["REDIS_URL"]) as own:
            try:
                RateLimit(own, key, windows).take(patience=0.0)
            except ProviderUnavailable:
                return False
            return True

    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(one, range(40))) == 5


def test_the_narrowest_window_that_is_full_decides_and_refusals_are_not_counted(
    valkey: Redis,
) -> None:
    limit = RateLimit(valkey, uuid4().hex, ((1, 2), (3600, 3)))
    limit.take()
    limit.take()
    for _ in range(10):
        with pytest.raises(ProviderUnavailable):
            limit.take(patience=0.0)
    # Waits for the short window, and fills the long one.
    begun = time.monotonic()
    limit.take(patience=5.0)
    assert 0.2 < time.monotonic() - begun < 3.0
    with pytest.raises(ProviderUnavailable):
        limit.take(patience=5.0)


def test_no_moment_sees_more_calls_than_allowed(valkey: Redis) -> None:
    limit = RateLimit(valkey, uuid4().hex, ((1, 3),))
    moments = []
    deadline = time.monotonic() + 20
    while len(moments) < 9 and time.monotonic() < deadline:
        # Knocks all the time, to find the first moment that lets it in.
        with suppress(ProviderUnavailable):
            limit.take(patience=0.0)
            moments.append(time.monotonic())
    assert len(moments) == 9
    # Redis counts milliseconds, and its answer takes a moment to arrive.
    gaps = [later - earlier for earlier, later in zip(moments, moments[3:], strict=False)]
    assert min(gaps) > 0.95


def test_nothing_is_left_behind(valkey: Redis) -> None:
    key = uuid4().hex
    RateLimit(valkey, key, ((1, 3), (7, 9))).take()
    assert 0 < int(str(valkey.pttl(key))) <= 8000


def test_without_redis_namecheap_s_own_limiter_is_left(no_redis: Redis) -> None:
    limit = RateLimit(no_redis, "key", ((60, 1),))
    for _ in range(3):
        limit.take(patience=0.0)


def test_windows_pass_with_the_product_s_days(valkey: Redis, travel: Callable[..., None]) -> None:
    limit = RateLimit(valkey, uuid4().hex, ((3600, 2),))
    for _ in range(2):
        limit.take(patience=0)
    with pytest.raises(ProviderUnavailable) as full:
        limit.take(patience=0)
    # A second more than the window: the provider counts a call later than we do.
    assert 3590 <= full.value.details["retry_after"] <= 3601
    travel(seconds=3602)
    limit.take(patience=0)


# Several calls that make sense only whole ------------------------------------------------------


def seen(valkey: Redis, key: str) -> int:
    return int(str(valkey.zcard(key)))


def test_an_order_gets_room_for_all_its_calls_or_for_none(valkey: Redis) -> None:
    key = uuid4().hex
    limit = RateLimit(valkey, key, ((60, 10),))
    with limit.together(6):
        for _ in range(6):
            limit.take(patience=0.0)
    assert seen(valkey, key) == 6
    limit.patience = 0.0  # type: ignore[misc]  # Of this one: nobody waits a minute here.
    with pytest.raises(ProviderUnavailable) as told, limit.together(6):
        raise AssertionError("there is room for four")
    assert 0 < told.value.details["retry_after"] <= 61
    assert seen(valkey, key) == 6, "who was put off took nothing"
    with limit.together(4):
        limit.take(patience=0.0)
    assert seen(valkey, key) == 7, "what was not used is given back"


def test_a_call_beyond_what_was_asked_for_waits_like_any_other(valkey: Redis) -> None:
    key = uuid4().hex
    limit = RateLimit(valkey, key, ((1, 2),))
    begun = time.monotonic()
    with limit.together(5):
        # A window that never has room for five gives what it has.
        for _ in range(3):
            limit.take()
    assert 0.9 < time.monotonic() - begun < 10
    with limit.together(1), limit.together(1):
        limit.take()
    assert limit._mine.names == []  # Nothing is left for strangers.


def test_a_call_counts_when_it_is_made(valkey: Redis) -> None:
    key = uuid4().hex
    limit = RateLimit(valkey, key, ((60, 9),))
    with limit.together(2):
        ((_, before), _) = valkey.zrange(key, 0, -1, withscores=True)  # type: ignore[misc]
        time.sleep(0.05)  # Time must pass for there to be a later moment.
        limit.take()
        scores = sorted(score for _, score in valkey.zrange(key, 0, -1, withscores=True))  # type: ignore[union-attr]
    assert scores[0] == before
    assert scores[1] >= before + 40


def test_many_orders_all_end(valkey: Redis) -> None:
    """Each needs three calls, and the window has room for five: without the room taken together
    every one of them would spend its first call, and nobody would ever make a third."""
    key = uuid4().hex

    def order(_: int) -> int:
        tries = 0
        with Redis.from_url(os.environ["REDIS_URL"]) as own:
            limit = RateLimit(own, key, ((1, 5),))
            while True:
                tries += 1
                try:
                    with limit.together(3):
                        for _ in range(3):
                            limit.take(patience=0.0)
                    return tries
                except ProviderUnavailable:
                    assert tries < 20

    with ThreadPoolExecutor(6) as pool:
        assert len(list(pool.map(order, range(6)))) == 6
