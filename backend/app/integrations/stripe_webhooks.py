"""Reading Stripe's webhooks: whose they are, and from when.

Source: docs.stripe.com/webhooks, "Verify manually": HMAC-SHA256 over "{t}.{body}", compared with
every v1 signature of the header.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import stripe

from app import clock
from app.errors import Invalid
from app.integrations.payments import WebhookEvent

TOLERANCE_SECONDS = 300
"""How far the timestamp may be off, to either side."""


def read(payload: bytes, signature: str, secret: str) -> WebhookEvent:
    """Raises Invalid for a signature that is not Stripe's, an old or early one, or no event."""
    sent, header = _one_timestamp(signature)
    try:
        text = payload.decode()
        # The age is ours to judge: the SDK knows real time only, and lets the future pass.
        stripe.WebhookSignature.verify_header(text, header, secret, tolerance=None)
    except (stripe.SignatureVerificationError, ValueError) as error:
        raise Invalid("The signature does not belong to this body.") from error
    if abs(clock.now().timestamp() - sent) > TOLERANCE_SECONDS:
        raise Invalid("The signature's timestamp is too far from now.")
    try:
        # The body as it came: the SDK's objects hold Decimals, which no JSON column takes.
        return parse(json.loads(text))
    except ValueError as error:
        raise Invalid("The body is not an event.") from error


def parse(body: dict[str, Any]) -> WebhookEvent:
    """An event from its JSON. Raises Invalid for anything else."""
    try:
        return WebhookEvent(
            id=str(body["id"]),
            type=str(body["type"]),
            created=datetime.fromtimestamp(int(body["created"]), UTC),
            object=body["data"]["object"],
            payload=body,
        )
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise Invalid("The body is not an event.") from error


def _one_timestamp(header: str) -> tuple[int, str]:
    """The time that was signed, and the header with only what is looked at.

    Built anew, so that the time judged here is the very one the signature covers, however many
    the header names.
    """
    pairs = [part.partition("=") for part in header.split(",")]
    times = [value for name, _, value in pairs if name == "t"]
    if len(times) != 1 or re.fullmatch(r"[0-9]{1,12}", times[0]) is None:
        raise Invalid("The signature names no single time.")
    # Hexadecimal only: what else a stranger sends, the comparison is not made for.
    signatures = [
        f"v1={value}"
        for name, _, value in pairs
        if name == "v1" and re.fullmatch(r"[0-9a-f]{64}", value)
    ]
    return int(times[0]), ",".join([f"t={int(times[0])}", *signatures])
