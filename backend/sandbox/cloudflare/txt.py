"""TXT content: quoted character-strings or plain text, and what either means on the wire.

The API stores and echoes what it was sent; two spellings of one text are still one record.
"""

from __future__ import annotations


def strings(content: str) -> list[bytes]:
    """The character-strings of `content`, each at most 255 bytes (RFC 1035, section 3.3.14).

    `"a" "b"` gives two strings; plain text is one text, split where it is too long. Raises
    ValueError for a quotation mark that is not closed and for text between quoted strings.
    """
    text = content.strip()
    parts = _quoted(text) if text.startswith('"') else [text.encode()]
    return [chunk for part in parts for chunk in _split(part)]


def meaning(content: str) -> bytes:
    """The text a reader sees: all strings joined."""
    return b"".join(strings(content))


def _quoted(text: str) -> list[bytes]:
    parts: list[bytes] = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        if text[at] != '"':
            raise ValueError("Text outside of the quotation marks.")
        part, at = _one(text, at + 1)
        parts.append(part)
    return parts


def _one(text: str, at: int) -> tuple[bytes, int]:
    found = bytearray()
    while at < len(text):
        char = text[at]
        if char == '"':
            return bytes(found), at + 1
        if char == "\\":
            # \DDD is one byte by number, \X is X itself (RFC 1035, section 5.1).
            if text[at + 1 : at + 4].isdigit() and len(text[at + 1 : at + 4]) == 3:
                number = int(text[at + 1 : at + 4])
                if number > 255:
                    raise ValueError("An escape above \\255.")
                found.append(number)
                at += 4
                continue
            at += 1
            if at >= len(text):
                break
            char = text[at]
        found += char.encode()
        at += 1
    raise ValueError("A quotation mark is not closed.")


def _split(part: bytes) -> list[bytes]:
    return [part[at : at + 255] for at in range(0, len(part), 255)] or [b""]
