"""API keys: their shape, and what their checksum catches."""

from __future__ import annotations

import os
import random
import re

import pytest

from app.rules import api_keys


def test_a_key_is_recognised_by_its_shape_and_checksum() -> None:
    for live in (True, False):
        key = api_keys.assemble(os.urandom(32), live=live)
        assert key.startswith("ig_live_" if live else "ig_test_")
        assert len(key) == 57
        assert api_keys.is_api_key(key)
        assert re.search(api_keys.PATTERN, f"api_key = '{key}'")


def test_the_same_secret_gives_the_same_key() -> None:
    # A fixed value, so that keys that customers hold stay valid whatever we do to the code.
    key = api_keys.assemble(bytes(range(32)), live=True)
    assert key == "ig_live_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf1Gwp3t"


@pytest.mark.parametrize(
    "text",
    [
        "",  # nothing
        "ig_live_",  # no secret
        "ig_prod_" + "0" * 49,  # another prefix
        "ig_live_" + "0" * 48,  # too short
        "ig_live_" + "0" * 50,  # too long
        "ig_live_" + "٣" * 49,  # digits, but not ours
        "ig_live_" + "-" * 49,  # outside the alphabet
    ],
)
def test_what_is_no_key(text: str) -> None:
    assert not api_keys.is_api_key(text)


def test_one_mistyped_character_is_always_noticed() -> None:
    # CRC-32 finds every burst of up to 32 bits, so this is no matter of luck.
    chance = random.Random(2026)
    for _ in range(2_000):
        key = api_keys.assemble(chance.randbytes(32), live=True)
        place = chance.randrange(8, len(key))
        other = chance.choice([c for c in api_keys.ALPHABET if c != key[place]])
        assert not api_keys.is_api_key(key[:place] + other + key[place + 1 :])


def test_the_hint_shows_too_little_to_guess_from() -> None:
    key = api_keys.assemble(os.urandom(32), live=True)
    assert api_keys.hint(key) == f"{key[:12]}…{key[-4:]}"


def test_only_whole_secrets_become_keys() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        api_keys.assemble(b"short", live=True)
