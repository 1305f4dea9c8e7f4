"""Names are distinct, valid and never the reserved ones, whatever is asked."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rules import naming

FIRSTS = ("Ann", "Bob", "Cid")
LASTS = ("Lee", "Ray")


def draw(convention: str, wanted: int, taken: tuple[str, ...] = (), seed: int = 1) -> list[str]:
    names = naming.generate(
        convention, wanted, taken, first_names=FIRSTS, last_names=LASTS, rng=Random(seed)
    )
    return [name.local_part for name in names]


@given(
    st.sampled_from(["firstname", "firstname.lastname", "f.lastname", "role"]),
    st.integers(1, 200),
    st.integers(),
)
def test_names_are_distinct_and_valid(convention: str, wanted: int, seed: int) -> None:
    names = draw(convention, wanted, seed=seed)
    assert len(set(names)) == wanted
    for name in names:
        assert naming.check_local_part(name) == name


@pytest.mark.parametrize(
    ("convention", "wanted", "expected"),
    [
        # The names come first, bare.
        ("firstname", 3, {"ann", "bob", "cid"}),
        # Then numbers, from 2 on.
        ("firstname", 6, {"ann", "bob", "cid", "ann2", "bob2", "cid2"}),
        # Every pair of names is used before any number.
        (
            "firstname.lastname",
            6,
            {"ann.lee", "ann.ray", "bob.lee", "bob.ray", "cid.lee", "cid.ray"},
        ),
        ("f.lastname", 6, {"a.lee", "a.ray", "b.lee", "b.ray", "c.lee", "c.ray"}),
    ],
)
def test_conventions(convention: str, wanted: int, expected: set[str]) -> None:
    assert set(draw(convention, wanted)) == expected


def test_taken_names_are_passed_over() -> None:
    assert set(draw("firstname", 2, taken=("ann", "bob", "ann2", "bob2"))) == {"cid", "cid2"}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "letters"),  # Nothing at all.
        ("a" * 65, "64"),  # RFC 5321: 64 octets.
        ("a..b", "letters"),  # Two dots in a row need quoting.
        (".a", "letters"),  # A dot at the edge needs quoting.
        ("jo hn", "letters"),  # A space.
        ("jö", "letters"),  # Not ASCII.
        ("=cmd", "letters"),  # A formula.
        ("Postmaster", "reserved"),  # RFC 2142, in any case.
    ],
)
def test_bad_custom_names(name: str, why: str) -> None:
    with pytest.raises(naming.BadName, match=why):
        naming.custom([name], 1, ())


def test_custom_names_are_kept_in_order_and_lowered() -> None:
    assert [n.local_part for n in naming.custom(["Zoe", "adam"], 2, ())] == ["zoe", "adam"]


@pytest.mark.parametrize("names", [["a", "a"], ["a", "A"]])
def test_a_name_given_twice_is_refused(names: list[str]) -> None:
    with pytest.raises(naming.BadName, match="twice"):
        naming.custom(names, 2, ())


def test_too_few_names_are_refused() -> None:
    with pytest.raises(naming.NotEnoughNames):
        naming.custom(["a"], 2, ())
