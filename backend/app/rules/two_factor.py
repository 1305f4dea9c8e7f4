"""Time-based one-time codes (TOTP, RFC 6238) and how an authenticator app learns their secret."""

from __future__ import annotations

import hmac
import io
from datetime import datetime

import segno
from pyotp import TOTP

ISSUER = "InboxGrove"
STEP_SECONDS = 30
DRIFT = 1
"""Steps that the clock of a phone may be off, either way (RFC 6238 5.2 advises one)."""

_DIGITS = 6


def accepted_step(secret: str, code: str, now: datetime, *, after: int | None) -> int | None:
    """The 30-second step, counted from 1970, whose code this is; None for a wrong code.

    `secret` is base32. `after` is the last step that was accepted: it and older ones are refused,
    as RFC 6238 5.2 demands, so the caller stores what is returned. Spaces in `code` do not count,
    since apps show it as "123 456". Every step is compared, and in constant time.
    """
    given = "".join(code.split())
    if len(given) != _DIGITS or not (given.isascii() and given.isdigit()):
        return None
    totp = TOTP(secret, interval=STEP_SECONDS)
    current = int(now.timestamp()) // STEP_SECONDS
    found: int | None = None
    # Upwards, so that of two steps which happen to share a code both are spent.
    for step in range(current - DRIFT, current + DRIFT + 1):
        if hmac.compare_digest(totp.generate_otp(step), given):
            found = step
    return found if found is not None and (after is None or found > after) else None


def otpauth_uri(secret: str, *, account: str) -> str:
    """What the QR code says: issuer, account (an e-mail address) and secret, by Google's format.

    https://github.com/google/google-authenticator/wiki/Key-Uri-Format
    """
    return TOTP(secret, interval=STEP_SECONDS).provisioning_uri(name=account, issuer_name=ISSUER)


def qr_svg(uri: str) -> str:
    """The QR code of `uri` as an `<svg>` element that scales to its frame, to put into a page."""
    out = io.BytesIO()
    # Black on white whatever the page's colours are: many cameras cannot read it inverted.
    segno.make(uri, error="m", micro=False).save(
        out,
        kind="svg",
        xmldecl=False,
        nl=False,
        omitsize=True,
        light="#fff",
        dark="#000",
        svgclass=None,
        lineclass=None,
    )
    return out.getvalue().decode()
