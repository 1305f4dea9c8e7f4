"""How an API key looks: `ig_live_` or `ig_test_`, 43 random characters, 6 of checksum.

The prefix lets secret scanners recognise a leaked key, and the checksum lets them and us refuse a
mistyped one without asking anybody (after GitHub's token format of 2021). The 43 characters of
base 62 hold 256 bits; the checksum is CRC-32 (ISO 3309) over everything before it, in base 62.
"""

from __future__ import annotations

import re
import string
import zlib

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
SECRET_LENGTH, CHECKSUM_LENGTH = 43, 6
LIVE, TEST = "ig_live_", "ig_test_"

PATTERN = r"\big_(?:live|test)_[0-9A-Za-z]{49}\b"
"""What a secret scanner looks for."""

_SHAPE = re.compile(r"ig_(?:live|test)_[0-9A-Za-z]{49}", re.ASCII)


def assemble(secret: bytes, *, live: bool) -> str:
    """The key that holds `secret`, 32 random bytes."""
    if len(secret) != 32:
        raise ValueError("A key holds exactly 32 bytes.")
    body = (LIVE if live else TEST) + _base62(int.from_bytes(secret), SECRET_LENGTH)
    return body + checksum(body)


def checksum(body: str) -> str:
    """Of everything before it."""
    return _base62(zlib.crc32(body.encode()), CHECKSUM_LENGTH)


def is_api_key(text: str) -> bool:
    """Whether `text` can be a key at all: its shape and its checksum are right."""
    if _SHAPE.fullmatch(text) is None:
        return False
    return checksum(text[:-CHECKSUM_LENGTH]) == text[-CHECKSUM_LENGTH:]


def hint(key: str) -> str:
    """What may be shown later, so that people can tell their keys apart: `ig_live_4Xk2…9aQz`."""
    return f"{key[:12]}…{key[-4:]}"


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, rest = divmod(number, 62)
        digits.append(ALPHABET[rest])
    return "".join(reversed(digits))
