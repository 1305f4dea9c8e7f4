"""Trace tokens: which inbox a message came from, told by whoever sends it back to us.

A token stands in the header `X-InboxGrove-Trace` and in the envelope sender (VERP), so that a
bounce message (RFC 3464) or a complaint (RFC 5965) can be tied to mail we really sent: only a
holder of the key can make one. The relay's policy writes them (`kumomta/policy/ig/traces.lua`, the
twin of this file); here they are read.

Shape: `<payload>.<mac>`, both base32 (RFC 4648) in lower case without padding. The payload is the
16 bytes of the inbox's UUID and the first 8 bytes of SHA-256 over the message's spool id; the mac
is the first 10 bytes of HMAC-SHA256 over the payload's base32 text.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from uuid import UUID

HEADER = "X-InboxGrove-Trace"
META = "x_trace"
"""Name of the metadata that carries the token in kumod's log records."""

_PAYLOAD_BYTES, _MAC_BYTES = 24, 10
_PAYLOAD_CHARS, _MAC_CHARS = 39, 16
_TOKEN = re.compile(rf"([a-z2-7]{{{_PAYLOAD_CHARS}}})\.?([a-z2-7]{{{_MAC_CHARS}}})")
_RETURN_PATH = re.compile(r"<?b-([a-z2-7]{55})@bounce\.([a-z0-9.-]+)>?")


def make(key: str, inbox_id: UUID, spool_id: str) -> str:
    """The token (56 octets) of one message. Raises ValueError without a key."""
    if not key:
        raise ValueError("Trace tokens need a key.")
    payload = _base32(inbox_id.bytes + hashlib.sha256(spool_id.encode()).digest()[:8])
    return f"{payload}.{_mac(key, payload)}"


def read(key: str, token: str) -> UUID | None:
    """The inbox, when the token was made with `key`; None for anything else.

    The dot may be missing, as in an envelope sender, and upper case is read too: hosts on the way
    change both.
    """
    match = _TOKEN.fullmatch(token.strip().lower())
    if match is None or not key:
        return None
    payload, mac = match.groups()
    if not hmac.compare_digest(mac, _mac(key, payload)):
        return None
    raw = base64.b32decode(payload.upper() + "=")
    return UUID(bytes=raw[:16])


def return_path(token: str, zone: str) -> str:
    """The envelope sender that brings bounces back: `b-<token>@bounce.<zone>`.

    The local part has 57 octets; RFC 5321 section 4.5.3.1.1 allows 64.
    """
    return f"b-{token.replace('.', '')}@bounce.{zone}"


def normal(token: str) -> str:
    """A token as `make` writes it, from one that came back with its dot lost or in upper case."""
    match = _TOKEN.fullmatch(token.strip().lower())
    return token if match is None else f"{match[1]}.{match[2]}"


def of_address(address: str) -> str | None:
    """The token that a return path holds, unverified, in its form with the dot; else None."""
    match = _RETURN_PATH.fullmatch(address.strip().lower())
    if match is None:
        return None
    return f"{match[1][:_PAYLOAD_CHARS]}.{match[1][_PAYLOAD_CHARS:]}"


def _mac(key: str, payload: str) -> str:
    return _base32(hmac.digest(key.encode(), payload.encode(), "sha256")[:_MAC_BYTES])


def _base32(raw: bytes) -> str:
    return base64.b32encode(raw).decode().rstrip("=").lower()
