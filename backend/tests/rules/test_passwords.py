"""Which passwords people may choose."""

from __future__ import annotations

import pytest

from app.rules import passwords


@pytest.mark.parametrize(
    "password",
    [
        "1234567",  # one too short
        "x" * 129,  # one too long
        "Password1",  # first of every list, whatever its case
        "aaaaaaaa",
        "abababab",  # two different characters
        "23456789",  # a run
        "hgfedcba",
        "acme corp",  # the company
        "ann.bell@acme.test",  # the address, and its local part
        "ann.bell",
        "Password2026!",  # a common one, dressed up
        "!!acme corp99",
        "InboxGrove-1",  # ours
    ],
)
def test_refused(password: str) -> None:
    assert passwords.fault(password, personal=("ann.bell@acme.test", "Acme Corp", "")) is not None


@pytest.mark.parametrize(
    "password",
    [
        "correct horse",
        "SecurePass123!",
        "8 chars!",
        "y" * 64 + "abc" * 21,
        "пароль-надёжный",
        "Test1234!",
    ],
)
def test_accepted(password: str) -> None:
    assert passwords.fault(password, personal=("ann@acme.test", "Acme")) is None


def test_a_missing_name_forbids_nothing() -> None:
    assert passwords.fault("2468-1357!", personal=("", "")) is None


def test_the_list_is_long_enough_and_holds_only_what_could_be_chosen() -> None:
    assert len(passwords.COMMON) >= 3_000  # OWASP ASVS 5.0, 6.2.4
    assert all(passwords.SHORTEST <= len(word) <= passwords.LONGEST for word in passwords.COMMON)
    assert all(word == word.lower().strip() for word in passwords.COMMON)


def test_every_password_of_the_list_is_refused_in_any_case() -> None:
    allowed = [
        word
        for word in passwords.COMMON
        if passwords.fault(word) is None or passwords.fault(word.upper()) is None
    ]
    assert not allowed
