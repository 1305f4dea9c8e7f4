"""What may be connected, and what proves it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.rules import domain_claims
from app.rules.hostnames import BadName

LONG = "a" * 63


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Acme.com.", "acme.com"),
        (" mail.acme.co.uk ", "mail.acme.co.uk"),
        ("acme.de", "acme.de"),  # Not sold here, but anybody may own it.
        (f"{LONG}.com", f"{LONG}.com"),
    ],
)
def test_names_that_can_be_connected(text: str, name: str) -> None:
    assert domain_claims.owned(text) == name


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("acme", "add an ending"),
        ("com", "add an ending"),
        ("co.uk", "public ending"),
        ("github.io", "public ending"),
        ("gmail.com", "mail provider"),
        ("mail.yahoo.com", "mail provider"),
        ("-acme.com", "no hyphen first"),
        ("a..com", "letters, digits"),
        ("ac_me.com", "letters, digits"),
        (f"{LONG}a.com", "at most 63"),
        (".".join([LONG] * 3 + ["a" * 31, "com"]), "at most 221"),
        ("acme.localhost", "reserved"),
        ("ácme.com", "internationalised"),
        ("xn--cme-bla.com", "internationalised"),
        ("аcme.com", "internationalised"),
    ],
)
def test_names_that_cannot(text: str, says: str) -> None:
    with pytest.raises(BadName, match=says):
        domain_claims.owned(text)


def test_the_registrable_name_and_what_is_above() -> None:
    assert domain_claims.registrable("a.b.acme.co.uk") == "acme.co.uk"
    assert domain_claims.registrable("co.uk") == ""
    assert domain_claims.above("a.b.acme.co.uk") == ("b.acme.co.uk", "acme.co.uk")
    assert domain_claims.above("acme.com") == ()


def test_only_the_very_token_proves() -> None:
    value = domain_claims.challenge_value("t0ken")
    assert domain_claims.proves(["v=spf1 -all", value], "t0ken")
    assert not domain_claims.proves([value + "x", value.upper()], "t0ken")
    assert not domain_claims.proves([], "t0ken")


def test_proofs_are_looked_for_ever_more_rarely() -> None:
    then = datetime(2026, 1, 1, tzinfo=UTC)
    pauses = [
        domain_claims.pause(then, then + timedelta(hours=hours)) for hours in (0, 2, 23.9, 24, 300)
    ]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (timedelta(minutes=1), timedelta(hours=1))
