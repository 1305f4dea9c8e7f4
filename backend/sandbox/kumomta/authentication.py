"""What kumod finds out about incoming mail's origin: DKIM (RFC 6376) and SPF (RFC 7208).

The shapes are kumod's authentication results, the arguments those of `msg:dkim_verify` and
`kumo.spf.check_msg`.
"""

from __future__ import annotations

from typing import Any

from sandbox.clock import VirtualClock
from sandbox.kumomta.message import Message
from sandbox.kumomta.options import PolicyError
from sandbox.receivers.lookups import Lookups
from sandbox.receivers.sender_policy import check_spf
from sandbox.receivers.signatures import check_dkim
from sandbox.receivers.verdict import Check


class Authentication:
    """Asks the DNS of the sandbox; the calls block, as the policy's do."""

    def __init__(self, clock: VirtualClock, lookups: Lookups) -> None:
        self._clock, self._lookups = clock, lookups

    def dkim(self, message: Message) -> list[dict[str, Any]]:
        """One result for each signature."""
        checks = check_dkim(self._lookups, message.content, self._clock.timestamp())
        return [_result("dkim", check) for check in checks]

    def spf(self, message: Message) -> dict[str, Any]:
        """Raises PolicyError for a message that came over no SMTP session."""
        peer = message.meta.get("received_from")
        if peer is None:
            raise PolicyError("received_from missing from metadata")
        host = str(peer).rpartition(":")[0]
        check = check_spf(
            self._lookups, host, str(message.meta.get("ehlo_domain", "")), message.envelope_sender
        )
        result = _result("spf", check)
        result["props"] = {"smtp.mailfrom": message.envelope_sender}
        return {"disposition": check.result, "result": result}


def _result(method: str, check: Check) -> dict[str, Any]:
    return {
        "method": method,
        "result": check.result,
        "reason": check.reason,
        "props": dict(check.properties),
    }
