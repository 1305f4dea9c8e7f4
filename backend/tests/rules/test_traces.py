"""Trace tokens: only ours are read, and they fit into an address."""

from __future__ import annotations

from uuid import UUID

import pytest

from app.rules import traces

INBOX = UUID("0190a000-0000-7000-8000-0000000000aa")
KEY = "a-key-for-tests"
TOKEN = traces.make(KEY, INBOX, "d7ef132b5d7711eea8c8000c29c33806")


def test_a_token_names_its_inbox_with_and_without_the_dot_in_any_case() -> None:
    assert traces.read(KEY, TOKEN) == INBOX
    assert traces.read(KEY, TOKEN.replace(".", "").upper()) == INBOX


@pytest.mark.parametrize("at", [0, 20, 38, 40, 55])
def test_one_changed_character_makes_it_nobodys(at: int) -> None:
    changed = TOKEN[:at] + ("b" if TOKEN[at] != "b" else "c") + TOKEN[at + 1 :]
    assert traces.read(KEY, changed) is None


@pytest.mark.parametrize("text", ["", ".", TOKEN[:-1], TOKEN + "a", "1" * 56, "é" * 56])
def test_what_is_no_token_is_read_as_none(text: str) -> None:
    assert traces.read(KEY, text) is None


def test_another_key_or_none_reads_nothing() -> None:
    assert traces.read("another", TOKEN) is None
    assert traces.read("", TOKEN) is None
    with pytest.raises(ValueError, match="key"):
        traces.make("", INBOX, "x")


def test_two_messages_of_one_inbox_have_two_tokens() -> None:
    assert traces.make(KEY, INBOX, "another") != TOKEN


def test_the_return_path_fits_an_address_and_gives_the_token_back() -> None:
    address = traces.return_path(TOKEN, "mta.inboxgrove.test")
    local = address.partition("@")[0]
    assert len(local) <= 64
    assert local.replace("-", "").isalnum()
    assert traces.of_address(f"<{address.upper()}>") == TOKEN
    assert traces.of_address("anna@acme.test") is None
