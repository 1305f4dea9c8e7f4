"""Letters of other alphabets that the eye takes for a-z.

Source: the single-letter part of Unicode TR39's confusables.txt for Cyrillic, Greek, Armenian and
Latin extensions; accents are taken off by compatibility decomposition (Unicode TR15).
"""

from __future__ import annotations

import unicodedata

import idna

_READS_AS = {
    "a": "аɑαａ", "b": "ЬƄɓ", "c": "сϲᴄ", "d": "ԁɗ", "e": "еєҽ", "f": "ƒ", "g": "ɡց", "h": "һհ",
    "i": "іιıɩ", "j": "јϳ", "k": "кκ", "l": "ӏłⅼ|", "m": "ⅿм", "n": "ոпη", "o": "оοօσ",
    "p": "рρ", "q": "ԛգ", "r": "гᴦ", "s": "ѕꜱ", "t": "τт", "u": "υսц", "v": "νѵᴠ", "w": "ԝѡɯ",
    "x": "хχ", "y": "уүγ", "z": "ᴢʐ",
}  # fmt: skip
_LATIN = str.maketrans(
    {look.lower(): letter for letter, looks in _READS_AS.items() for look in looks}
)


def is_international(name: str) -> bool:
    """Whether any label holds letters beyond ASCII, written as they are or as `xn--`."""
    return not name.isascii() or any(label.startswith("xn--") for label in name.split("."))


def reading(name: str) -> str:
    """What the eye reads, in a-z where it can be; `xn--` labels are decoded first."""
    labels = [_decoded(label) for label in name.lower().split(".")]
    plain = unicodedata.normalize("NFKD", ".".join(labels)).lower().translate(_LATIN)
    return "".join(letter for letter in plain if not unicodedata.combining(letter))


def _decoded(label: str) -> str:
    if not label.startswith("xn--"):
        return label
    try:
        return label[4:].encode("ascii").decode("punycode")
    except (UnicodeError, idna.IDNAError):
        return label
