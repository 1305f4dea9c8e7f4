"""The one spelling under which an address or a domain is suppressed."""

from __future__ import annotations

import re

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}\.)+{_LABEL}")


def normal(text: str) -> str | None:
    """`someone@example.com` or `@example.com` in lower case; None for anything else.

    The local part is folded as well: no receiver of note tells case apart, and a suppression that
    misses is worse than one that catches too much.
    """
    local, at, domain = text.strip().lower().rpartition("@")
    if not at or len(local) > 64 or len(domain) > 253 or not _DOMAIN.fullmatch(domain):
        return None
    if "@" in local or any(char.isspace() or not char.isprintable() for char in local):
        return None
    return f"{local}@{domain}"
