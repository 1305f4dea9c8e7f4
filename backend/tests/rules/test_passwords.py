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


def test_the_list_holds_only_what_the_length_would_allow() -> None:
    assert len(passwords.COMMON) > 150
    assert all(len(word) >= passwords.SHORTEST for word in passwords.COMMON)
    assert all(word == word.lower() for word in passwords.COMMON)
