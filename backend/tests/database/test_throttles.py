"""Attempts are counted exactly, kept when the request fails, and taken back on success."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy.orm import Session

from app import clock, errors
from app.database import throttles
from app.database.models import Throttle
from app.database.session import ALL_TENANTS, transaction
from app.rules.throttles import LIMITS

ANN = {"account": "ann@acme.test", "address": "203.0.113.1"}


def tries(door: str, count: int, **subjects: str) -> int:
    """How many of `count` are let through, one after the other."""
    passed = 0
    for _ in range(count):
        try:
            throttles.spend(door, **subjects)
        except errors.RateLimited:
            continue
        passed += 1
    return passed


def rows() -> int:
    with transaction(tenant=ALL_TENANTS) as db:
        return db.query(Throttle).count()


def test_an_address_and_an_account(clean: None) -> None:
    assert tries("login", 12, **ANN) == 10
    # Another account from there is stopped too; the account from elsewhere is not.
    assert tries("login", 1, account="bob@acme.test", address=ANN["address"]) == 0
    assert tries("login", 1, account=ANN["account"], address="203.0.113.2") == 1
    # Spelling makes no new account, and the last half of an IPv6 address no new caller.
    assert tries("totp", 6, account=" Ann@Acme.test") == 5
    assert tries("totp", 1, account="ann@acme.test") == 0
    assert sum(tries("reset_password", 1, address=f"2001:db8::{n:x}") for n in range(12)) == 10


def test_when_to_come_back(clean: None, travel: Callable[..., None]) -> None:
    assert tries("totp", 5, account="a") == 5
    with pytest.raises(errors.RateLimited) as refused:
        throttles.spend("totp", account="a")
    left = refused.value.details["retry_after"]
    assert 0 < left <= 600
    travel(seconds=left + 1)
    throttles.spend("totp", account="a")


def test_the_longer_windows_count(clean: None, travel: Callable[..., None]) -> None:
    passed = 0
    began = clock.now()
    while (clock.now() - began).total_seconds() < 86_400:
        passed += tries("totp", 6, account="a")
        travel(minutes=20)
    # The longest window alone lets 50 through; these 24 hours reach into two fixed ones, and what the
    # second may hold grows with how late in the first they began. The shorter two would allow 360.
    assert 45 <= passed <= 100


def test_a_refusal_counts_nothing(clean: None) -> None:
    assert tries("login", 10, **ANN) == 10
    with transaction(tenant=ALL_TENANTS) as db:
        before = sorted(row.count for row in db.query(Throttle))
    assert tries("login", 5, **ANN) == 0
    with transaction(tenant=ALL_TENANTS) as db:
        assert sorted(row.count for row in db.query(Throttle)) == before


def test_forty_at_once_get_no_more_than_the_limit(clean: None) -> None:
    with ThreadPoolExecutor(16) as pool:
        passed = sum(pool.map(lambda _: tries("login", 1, **ANN), range(40)))
    assert passed == 10


def test_success_is_not_counted(clean: None) -> None:
    for _ in range(30):
        throttles.spend("login", **ANN)
        throttles.refund("login", **ANN)
    assert tries("login", 11, **ANN) == 10
    # A refund gives back one and no more, and never makes credit.
    for _ in range(3):
        throttles.refund("totp", account="a")
    assert tries("totp", 6, account="a") == 5


def test_what_is_past_is_forgotten(clean: None, travel: Callable[..., None]) -> None:
    tries("login", 1, **ANN)
    count = rows()
    travel(hours=49)
    tries("login", 1, account="bob@acme.test", address="203.0.113.9")
    with transaction(tenant=ALL_TENANTS) as db:
        assert throttles.forget(db) == count
    assert rows() == len(LIMITS["login"])


def test_a_door_nobody_described_is_a_fault_of_ours(db: Session) -> None:
    with pytest.raises(KeyError):
        throttles.spend("window", address="203.0.113.1")
    with pytest.raises(KeyError):
        throttles.spend("login", account="a")
