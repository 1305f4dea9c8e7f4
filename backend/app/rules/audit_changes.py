"""What may stand in the `changes` of an audit row: no secret, and nobody's name or address.

An audit row is kept for years and cannot be altered, so whatever a person may have erased stands in
it as an id. A field that is named like a secret or like personal data is a mistake of ours and is
refused. A value may come from outside (an error message of a provider, a label somebody typed), so
what looks like a secret or an address in it is hidden and the deed goes on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

HIDDEN: Final = "[hidden]"
LONGEST: Final = 1_000
"""Characters of one text; the rest is cut off."""

_UNFIT_NAME = re.compile(
    r"passw(or)?d|passphrase|secret|token|hash|hmac|private|pepper|salt|cookie|authorization"
    r"|credential|api_?key|(^|_)(otp|totp|code|pem|dsn|key|email|mail|address|phone|username)$"
    r"|(full|first|last|user|person)_?name|recipient",
    re.IGNORECASE,
)
_FIT_NAME = re.compile(r"_(at|on|id|ids|count|version|enabled|required)$")
"""Facts about a secret that are none."""

_LONE_SURROGATES = re.compile("[\ud800-\udfff]")

_UNFIT_TEXT = re.compile(
    # An address, with whatever it is quoted or bracketed by. What spans words takes the rest of the
    # last one along, so that only the beginning of a word needs to be looked at: in linear time.
    r"(?<!\S)\S+@\S+"
    # Keys and tokens that say what they are: ours, Stripe's, JWTs, PHC hashes, PEM.
    r"|\b(?:ig_(?:live|test|op)|[sr]k_(?:live|test)|whsec)_[\w.~+/=-]+"
    r"|(?<!\w)\w+_secret_\w+"
    r"|(?<![\w-])eyJ[\w-]{8,}\.[\w.=-]+"
    r"|(?:bearer|basic)\s+[\w.~+/=-]{8,}\S*"
    r"|\$(?:argon2\w*|2[aby]|scrypt|pbkdf2[\w-]*)\$\S+"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----\S*|$)"
    # Seeds of one-time codes and recovery codes.
    r"|(?-i:\b[A-Z2-7]{26,}\b=*)"
    r"|(?<![\w.-])[a-z0-9]{4}(?:-[a-z0-9]{4}){5}(?![\w.-])",
    re.IGNORECASE,
)
_RANDOM = re.compile(r"[A-Za-z0-9_+/=-]{32,}")


class UnfitForAudit(ValueError):
    """A change that may not be written down."""


def fit(changes: Mapping[str, Any]) -> dict[str, Any]:
    """`changes` as plain JSON with integers only, fit to be kept.

    Raises UnfitForAudit for a field that is named like a secret or like personal data.
    """
    return {name: _fit(name, value) for name, value in changes.items()}


def _fit(name: str, value: Any) -> Any:
    if _UNFIT_NAME.search(name) and not _FIT_NAME.search(name) and not _tells_nothing(value):
        raise UnfitForAudit(
            f"{name!r} may not be in an audit row: leave it out, or name the row by its id."
        )
    match value:
        case None | bool():
            return value
        case int() if abs(value) < 1 << 53:
            return value
        case Mapping():
            return {str(key): _fit(str(key), inner) for key, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_fit("", inner) for inner in value]
        case datetime() | date():
            return value.isoformat()
        case UUID():
            return str(value)
        case _:
            # Also enumerations, decimals and fractions: their text is the same everywhere.
            return _text(str(value))


def _tells_nothing(value: Any) -> bool:
    """Whether something is there or not may be told of a secret too."""
    if isinstance(value, list | tuple):
        return all(map(_tells_nothing, value))
    return value is None or isinstance(value, bool)


def _text(text: str) -> str:
    # PostgreSQL keeps no NUL, and UTF-8 no half of a surrogate pair.
    text = _LONE_SURROGATES.sub("�", text.replace("\0", "�"))
    text = _UNFIT_TEXT.sub(HIDDEN, text)
    return _RANDOM.sub(_hide_random, text)[:LONGEST]


def _hide_random(run: re.Match[str]) -> str:
    """Upper case, lower case and digits in one long run: chosen by a machine to be secret."""
    text = run[0]
    mixed = (
        any(map(str.isupper, text)) and any(map(str.islower, text)) and any(map(str.isdigit, text))
    )
    return HIDDEN if mixed else text
