"""Hiding secrets and people's addresses in what leaves the process: logs and error reports."""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from functools import lru_cache
from typing import Any

_SECRET_NAME = re.compile(
    r"password|passwd|secret|token|authorization|cookie|api_?key|private|pepper|dsn|command"
    r"|otpauth|(?:^|_)(?:totp|otp|recovery)_?codes?$",
    re.I,
)
_HIDDEN = "[hidden]"
_CALLERS_OWN = frozenset({"request_id"})
"""Random on purpose, and useless when hidden."""

# Of each alternative the first group, if any, is kept. None looks further than it must: whatever
# begins where another could have begun is found from there, so that time grows with the length.
_SECRET_TEXT = re.compile(
    # Keys that say what they are: ours, Stripe's, hashes in PHC format, what an app scans.
    r"(?<![A-Za-z0-9])(ig_(?:live|test|op)_|[rs]k_(?:live|test)_|whsec_)[\w.~+/=-]+"
    r"|(?<!\w)\w+_secret_\w+"
    r"|(?<![\w-])eyJ[\w-]{8,}\.[\w.=-]+"
    r"|(\$argon2)\S+"
    r"|(otpauth://)\S+"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    # What stands where credentials stand: headers, URLs, and `password=…`, `'token': '…'`.
    r"|\b((?i:bearer|basic)\s{1,8})[\w.~+/=-]{8,}"
    r"|(?<=://)[^\s/@]{1,500}(?=@)"
    r"|((?i:password|passwd|secret|token|api_?key|authorization|cookie|pepper)\w{0,40}"
    r"[\"'\\]{0,4}\s{0,4}[=:]\s{0,4}b?[\"'\\]{0,4})(?!\[hidden\])[^\s\"'\\&,;)}\]]+"
    # Seeds of one-time codes (base 32) and recovery codes.
    r"|\b[A-Z2-7]{26,}\b=*"
    r"|(?<![\w-])(?i:[a-z0-9]{4}(?:-[a-z0-9]{4}){5})(?![\w-])"
)
_ADDRESS = re.compile(
    r"(?<![^\s\"'<>()\[\]{},;:=|/\\])"
    r"([^\s\"'<>()\[\]{},;:=|/\\@%])[^\s\"'<>()\[\]{},;:=|/\\@%]*(@|%40)(?=[\w\[])"
)
_ODD_ADDRESS = re.compile(
    r"(?<![\w.!#$%&'*+/=?^`{|}~\"-])[\w.!#$%&'*+/=?^`{|}~\"-]+(?<!\*\*\*)@(?=[\w\[])"
)
"""What is left of those with a quote or the like in them."""
_RANDOM_CHARS = 32
_RANDOM = re.compile(rf"[A-Za-z0-9_-]{{{_RANDOM_CHARS},}}")


def redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Hide values under secret names, and secrets of known shapes wherever they stand.

    E-mail addresses keep their first letter and their domain: `a***@example.com`.
    """
    for key in list(event):
        # What structlog carries along for itself.
        if not key.startswith("_"):
            value = event.pop(key)
            event[_clean_name(key)] = clean(key, value)
    return event


@lru_cache(maxsize=1024)
def _clean_name(key: str) -> str:
    return clean_text(key)


@lru_cache(maxsize=1024)
def _is_secret_name(key: str) -> bool:
    return _SECRET_NAME.search(key) is not None


def clean(key: str, value: Any) -> Any:
    """`value` as it may be shown under the name `key`; containers are looked through."""
    if value is None or isinstance(value, bool):
        return value
    if _is_secret_name(key):
        return _HIDDEN
    if isinstance(value, int | float):
        return value
    if isinstance(value, Mapping):
        return {clean_text(str(name)): clean(str(name), inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [clean("", inner) for inner in value]
    if isinstance(value, bytes | bytearray):
        return clean_text(bytes(value).decode(errors="replace"))
    # Whatever else it is, the renderer would make a text of it later, out of our sight.
    return clean_text(str(value), random_too=key not in _CALLERS_OWN)


def clean_text(text: str, *, random_too: bool = True) -> str:
    """`text` without secrets of known shapes and without whole addresses."""
    text = _SECRET_TEXT.sub(_hide, text)
    # Each request writes a line: what cannot be found is not looked for.
    if "@" in text or "%40" in text:
        text = _ODD_ADDRESS.sub("***@", _ADDRESS.sub(r"\1***\2", text))
    return _RANDOM.sub(_hide_random, text) if random_too and len(text) >= _RANDOM_CHARS else text


def _hide(found: re.Match[str]) -> str:
    return (found[found.lastindex] if found.lastindex else "") + _HIDDEN


def _hide_random(run: re.Match[str]) -> str:
    """Upper case, lower case and digits in one long run were drawn by a machine to be secret."""
    text = run[0]
    mixed = any(map(str.isupper, text)) and any(map(str.islower, text))
    return _HIDDEN if mixed and any(map(str.isdigit, text)) else text
