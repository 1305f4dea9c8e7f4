"""What blocklists say, and when they say nothing."""

from __future__ import annotations

from itertools import product

import pytest

from app.rules.listings import Verdict, believed, read, together

LISTED, NOT_LISTED, UNKNOWN = Verdict.LISTED, Verdict.NOT_LISTED, Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [
        ([], NOT_LISTED),
        (["127.0.0.2"], LISTED),
        (["127.0.1.2"], LISTED),  # Spamhaus DBL: a spam domain.
        (["127.0.1.102"], LISTED),  # Its "abused legit" range.
        (["127.0.0.64", "127.0.0.8"], LISTED),
        (["127.255.255.252"], UNKNOWN),  # The zone's name is mistyped.
        (["127.255.255.254"], UNKNOWN),  # Asked through a public resolver.
        (["127.255.255.255"], UNKNOWN),  # Asked too often.
        (["127.0.0.2", "127.255.255.254"], UNKNOWN),
        (["127.0.0.1"], UNKNOWN),  # SURBL: access blocked; never a listing (RFC 5782, 5).
        (["127.0.1.255"], UNKNOWN),  # DBL was asked about an address.
        (["203.0.113.9"], UNKNOWN),  # A resolver that answers everything with its own page.
        (["not an address"], UNKNOWN),
        (["::1"], UNKNOWN),
    ],
)
def test_codes(answers: list[str], verdict: Verdict) -> None:
    assert read(answers) is verdict


def test_the_silence_of_a_dead_list_means_nothing() -> None:
    for answer, point in product(Verdict, Verdict):
        said = believed(answer, point)
        if answer is NOT_LISTED and point is not LISTED:
            assert said is UNKNOWN
        else:
            assert said is answer


def test_one_list_is_enough_and_one_missing_leaves_it_open() -> None:
    assert together([NOT_LISTED, UNKNOWN, LISTED]) is LISTED
    assert together([NOT_LISTED, UNKNOWN]) is UNKNOWN
    assert together([NOT_LISTED, NOT_LISTED]) is NOT_LISTED
    assert together([]) is UNKNOWN
