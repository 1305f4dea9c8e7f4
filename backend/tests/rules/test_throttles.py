"""The arithmetic of sliding windows, against one that remembers every attempt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rules.throttles import LIMITS, Limit, block_of, key, room, wait

numbers = st.integers(1, 100)
seconds = st.sampled_from([60, 300, 3_600, 86_400])


@given(numbers, seconds, st.floats(0, 0.999))
def test_a_quiet_window_holds_the_whole_limit(number: int, seconds: int, part: float) -> None:
    assert room(number, seconds, 0, part * seconds) == number


@given(numbers, seconds, st.data())
def test_a_full_window_before_counts_by_what_is_left_of_it(
    number: int, seconds: int, data: st.DataObject
) -> None:
    elapsed = data.draw(st.floats(0, seconds * 0.999))
    assert 0 <= room(number, seconds, number, elapsed) <= number
    assert room(number, seconds, number, 0) == 0


@given(numbers, seconds, st.data())
def test_after_the_wait_there_is_room_and_hardly_sooner(
    number: int, seconds: int, data: st.DataObject
) -> None:
    previous = data.draw(st.integers(0, number))
    current = data.draw(st.integers(0, number))
    elapsed = data.draw(st.integers(0, seconds - 1))
    left = wait(number, seconds, previous, current, elapsed)

    def open_after(passed: float) -> bool:
        at = elapsed + passed
        if at < seconds:
            return current < room(number, seconds, previous, at)
        if at < 2 * seconds:
            return room(number, seconds, current, at - seconds) > 0
        return True

    assert open_after(left + 1e-6)
    if left > 1:
        assert not open_after(left - 1.001)
    assert (left == 0) == open_after(0)


@pytest.mark.parametrize(
    ("address", "block"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("testclient", "testclient"),
    ],
)
def test_what_one_caller_holds(address: str, block: str) -> None:
    assert block_of(address) == block


def test_every_limit_and_every_subject_has_a_key_of_its_own() -> None:
    subjects = {"account": "a", "address": "b"}
    keys = {key(door, limit, subjects) for door, limits in LIMITS.items() for limit in limits}
    assert len(keys) == sum(map(len, LIMITS.values()))
    limit = Limit(("account", "address"), 1, 60)
    assert key("login", limit, {"account": "a", "address": "bc"}) != key(
        "login", limit, {"account": "ab", "address": "c"}
    )
    with pytest.raises(KeyError):
        key("login", limit, {"account": "a"})


def test_a_stranger_locks_nobody_out() -> None:
    """Before somebody is recognised, an account is counted together with the address only."""
    for door in ("login", "register", "reset_password", "accept_invite"):
        assert all(limit.by != ("account",) for limit in LIMITS[door])
