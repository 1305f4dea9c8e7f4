"""Searching: kept for an hour, counted, and never a listed name sold."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from uuid import uuid4

import pytest
from redis import Redis

from app import errors
from app.integrations import ports
from app.integrations.shelf import SECONDS, Shelf
from app.rules.blocklists import Kind, blocklist
from app.services.domain_service import DomainService, SearchResult
from app.services.registrar_service import RegistrarService
from app.utils import monitoring
from tests.fakes import FakeWorld, away

LIST = "list.test"


class Lists:
    """A resolver that knows one blocklist."""

    def __init__(self) -> None:
        self.codes = {f"test.{LIST}": "127.0.0.2"}
        self.asked: list[str] = []
        self.error: Exception | None = None

    def lookup(self, name: str, record_type: str) -> list[str]:
        self.asked.append(f"{name} {record_type}")
        if self.error is not None:
            raise self.error
        return [self.codes[name]] if name in self.codes else []


@pytest.fixture
def redis() -> Iterator[Redis]:
    with Redis.from_url(os.environ["REDIS_URL"], decode_responses=True) as client:
        yield client


@pytest.fixture
def lists() -> Lists:
    return Lists()


@pytest.fixture
def key() -> str:
    return f"test:{uuid4().hex}"


@pytest.fixture
def outside() -> FakeWorld:
    return FakeWorld()


@pytest.fixture
def providers(outside: FakeWorld, lists: Lists, redis: Redis, key: str) -> ports.Providers:
    return replace(
        outside.providers,
        platform=replace(outside.providers.platform, blocklists=(blocklist(LIST, Kind.DOMAIN),)),
        resolver=lists,
        shelf=Shelf(redis, key),
    )


def search(query: str, providers: ports.Providers, *tlds: str) -> list[SearchResult]:
    return DomainService.search_domain_availability(query, tlds or ("com",), providers=providers)


def saved() -> float:
    return float(monitoring.SEARCH_CALLS_SAVED._value.get())


def test_an_hour_s_answers_are_not_asked_for_again(
    outside: FakeWorld, providers: ports.Providers, lists: Lists, redis: Redis, key: str
) -> None:
    before = saved()
    first = search("acme-post", providers, "com", "net")
    asked, queries = outside.accidents.calls["offers"], len(lists.asked)
    assert asked == 1
    for _ in range(3):
        assert search("acme-post", providers, "com", "net") == first
    assert (outside.accidents.calls["offers"], len(lists.asked)) == (asked, queries)
    assert saved() - before == 3
    left = [redis.ttl(name) for name in redis.scan_iter(f"{key}:*")]
    assert len(left) == 4  # An offer and a verdict of each name.
    assert all(0 < seconds <= SECONDS for seconds in left)


def test_only_what_is_missing_is_asked(outside: FakeWorld, providers: ports.Providers) -> None:
    search("acme-post", providers, "com")
    found = search("acme-post", providers, "net", "com")
    assert [listing.domain_name for listing in found] == ["acme-post.net", "acme-post.com"]
    assert outside.accidents.calls["offers"] == 2


def test_a_quote_asks_now_and_clears_what_was_kept(
    outside: FakeWorld, providers: ports.Providers
) -> None:
    assert search("acme-post", providers)[0].available
    outside.registrar.others.add("acme-post.com")
    assert search("acme-post", providers)[0].available  # An hour old at most.
    with pytest.raises(errors.DomainTaken):
        RegistrarService.quote("acme-post.com", providers=providers)
    assert not search("acme-post", providers)[0].available


def test_without_redis_every_search_is_asked(outside: FakeWorld, lists: Lists) -> None:
    with Redis.from_url("redis://127.0.0.1:1/0", socket_connect_timeout=0.2, retry=None) as gone:
        providers = replace(outside.providers, resolver=lists, shelf=Shelf(gone, "x"))
        for _ in range(2):
            assert search("acme-post", providers)[0].available
    assert outside.accidents.calls["offers"] == 2


def test_damaged_entries_are_asked_again(
    outside: FakeWorld, providers: ports.Providers, redis: Redis, key: str
) -> None:
    first = search("acme-post", providers)
    for name in redis.scan_iter(f"{key}:*"):
        redis.set(name, "{broken")
    assert search("acme-post", providers) == first
    for name in redis.scan_iter(f"{key}:offer:*"):
        redis.set(name, '{"of": "another release"}')
    assert search("acme-post", providers) == first
    assert outside.accidents.calls["offers"] == 3


def test_a_listed_name_is_flagged_and_not_sold(
    outside: FakeWorld, providers: ports.Providers, lists: Lists
) -> None:
    lists.codes[f"acme-post.com.{LIST}"] = "127.0.0.2"
    bad, good = search("acme-post", providers, "com", "net")[:2]
    assert (bad.available, bad.blocklisted) == (False, True)
    assert "blocklist" in str(bad.reason)
    assert bad.price_cents is not None
    assert (good.available, good.blocklisted) == (True, False)
    with pytest.raises(errors.Invalid, match="blocklist"):
        RegistrarService.quote("acme-post.com", providers=providers)
    assert RegistrarService.quote("acme-post.net", providers=providers).price_cents


def test_what_nobody_can_know_is_said_and_asked_again(
    providers: ports.Providers, lists: Lists
) -> None:
    lists.error = away()
    (listing,) = search("acme-post", providers)
    assert (listing.available, listing.blocklisted) == (True, None)
    lists.error = None
    (listing,) = search("acme-post", providers)
    assert listing.blocklisted is False
