"""What a blocklist's answer means, and which lists are not believed."""

from __future__ import annotations

import pytest

from app.rules import blocklists
from app.rules.blocklists import Kind, State, blocklist

PLAIN = blocklist("bl.example.net", Kind.ADDRESS)
ZEN = blocklist("zen.spamhaus.org.", Kind.ADDRESS)
DBL = blocklist("abcdefkey.DBL.dq.spamhaus.net", Kind.DOMAIN)
SURBL = blocklist("multi.surbl.org", Kind.DOMAIN)
URIBL = blocklist("multi.uribl.com", Kind.DOMAIN)


@pytest.mark.parametrize(
    ("of", "found", "state"),
    [
        (PLAIN, [], State.CLEAR),
        (PLAIN, ["127.0.0.2"], State.LISTED),
        (PLAIN, ["127.0.0.10", "127.0.0.2"], State.LISTED),
        (PLAIN, ["127.0.0.1"], State.UNKNOWN),
        (PLAIN, ["127.0.1.2"], State.UNKNOWN),
        (PLAIN, ["127.255.255.252"], State.UNKNOWN),
        (PLAIN, ["127.255.255.254"], State.UNKNOWN),
        (PLAIN, ["127.255.255.255", "127.0.0.2"], State.UNKNOWN),
        # A resolver that sells what does not exist.
        (PLAIN, ["192.0.2.80"], State.UNKNOWN),
        (PLAIN, ["127.0.0.2", "192.0.2.80"], State.UNKNOWN),
        (PLAIN, [f"127.0.0.{n}" for n in range(2, 11)], State.UNKNOWN),
        (PLAIN, ["not an address"], State.UNKNOWN),
        *((ZEN, [f"127.0.0.{code}"], State.LISTED) for code in (2, 3, 4, 9, 30)),
        # Policy lists are about networks, not about anybody's mail.
        *((ZEN, [f"127.0.0.{code}"], State.CLEAR) for code in (10, 11)),
        (ZEN, ["127.0.0.10", "127.0.0.4"], State.LISTED),
        *((DBL, [f"127.0.1.{code}"], State.LISTED) for code in (2, 4, 5, 6)),
        *((DBL, [f"127.0.1.{code}"], State.CLEAR) for code in (102, 103, 104, 105, 106)),
        (DBL, ["127.255.255.254"], State.UNKNOWN),
        (SURBL, ["127.0.0.80"], State.LISTED),
        (SURBL, ["127.0.0.4"], State.UNKNOWN),
        (URIBL, ["127.0.0.2"], State.LISTED),
        (URIBL, ["127.0.0.1"], State.UNKNOWN),
        (URIBL, ["127.0.0.4"], State.UNKNOWN),
    ],
)
def test_answers(of: blocklists.Blocklist, found: list[str], state: State) -> None:
    answer = blocklists.read(found, of)
    assert answer.state == state
    assert (answer.trouble is not None) is (state == State.UNKNOWN)


def test_questions() -> None:
    assert PLAIN.question("192.0.2.25") == "25.2.0.192.bl.example.net"
    nibbles = "1" + ".0" * 23 + ".8.b.d.0.1.0.0.2"
    assert PLAIN.question("2001:db8::1") == f"{nibbles}.bl.example.net"
    assert PLAIN.must_hold == "2.0.0.127.bl.example.net"
    assert PLAIN.must_not_hold == "1.0.0.127.bl.example.net"
    assert blocklist("dbl.test", Kind.DOMAIN).must_hold == "test.dbl.test"
    assert blocklist("dbl.test", Kind.DOMAIN).must_not_hold == "invalid.dbl.test"
    assert DBL.question("acme.com") == "acme.com.abcdefkey.dbl.dq.spamhaus.net"
    assert DBL.must_hold == "dbltest.com.abcdefkey.dbl.dq.spamhaus.net"
    # The key of an account is nobody's business.
    assert DBL.name == "dbl.dq.spamhaus.net"


@pytest.mark.parametrize(
    ("held", "free", "sound"),
    [
        (["127.0.0.2"], [], True),
        ([], [], False),
        (["127.0.0.2"], ["127.0.0.2"], False),
        (["127.255.255.254"], ["127.255.255.254"], False),
        (["127.0.0.2"], ["127.255.255.255"], False),
        (["192.0.2.80"], ["192.0.2.80"], False),
        ([], ["127.0.0.2"], False),
    ],
)
def test_a_list_is_tried_before_it_is_believed(
    held: list[str], free: list[str], sound: bool
) -> None:
    assert (blocklists.is_sound(held, free, PLAIN) is None) is sound


@pytest.mark.parametrize(
    ("listed", "asked", "wide"), [(9, 9, False), (10, 10, True), (5, 10, False), (6, 10, True)]
)
def test_a_list_of_everybody_lists_nobody(listed: int, asked: int, wide: bool) -> None:
    assert blocklists.is_wide(listed, asked) is wide


def test_one_list_is_enough_and_one_missing_leaves_it_open() -> None:
    assert blocklists.together([State.CLEAR, State.UNKNOWN, State.LISTED]) is State.LISTED
    assert blocklists.together([State.CLEAR, State.UNKNOWN]) is State.UNKNOWN
    assert blocklists.together([State.CLEAR, State.CLEAR]) is State.CLEAR
    assert blocklists.together([]) is State.UNKNOWN
