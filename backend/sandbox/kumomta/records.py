"""Log records with the fields and names of kumod (crates/kumo-log-types/src/lib.rs)."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sandbox.clock import VirtualClock
from sandbox.kumomta.message import Message

Record = dict[str, Any]
_ENHANCED = re.compile(r"^([245])\.(\d{1,3})\.(\d{1,3})\s+")

# First match wins; the classes are kumod's own (assets/bounce_classifier/iana.toml).
_CLASSES = (
    (re.compile(r"\b5\.1\.[126]\b|user unknown|does not exist|no such user"), "InvalidRecipient"),
    (re.compile(r"\b5\.1\.10\b|null mx|nxdomain"), "BadDomain"),
    (re.compile(r"\b[45]\.2\.2\b|mailbox full|over quota"), "QuotaIssues"),
    (re.compile(r"\b5\.2\.1\b|disabled|inactive"), "InactiveMailbox"),
    (re.compile(r"spam|blocked|blacklist|reputation|unusual rate|block list"), "SpamBlock"),
    (re.compile(r"\b[45]\.7\.(?:20|21|22|23|24|26)\b|dmarc|dkim|spf"), "AuthenticationFailed"),
    (re.compile(r"\b[45]\.7\.\d+\b"), "PolicyRelated"),
    (re.compile(r"\b5\.4\.7\b"), "MessageExpired"),
    (re.compile(r"failed to connect"), "NoAnswerFromHost"),
    (re.compile(r"\b[45]\.4\.\d+\b"), "RoutingErrors"),
)


@dataclass(frozen=True)
class Reply:
    """An SMTP answer; `content` without the enhanced code, `command` as sent, line end included."""

    code: int
    content: str
    enhanced: tuple[int, int, int] | None = None
    command: str | None = None

    @classmethod
    def parse(cls, code: int, text: str, command: str | None = None) -> Reply:
        match = _ENHANCED.match(text)
        if match is None:
            return cls(code, text, None, command)
        return cls(
            code,
            text[match.end() :],
            (int(match[1]), int(match[2]), int(match[3])),
            command,
        )

    def document(self) -> dict[str, Any]:
        enhanced = None
        if self.enhanced is not None:
            enhanced = dict(zip(("class", "subject", "detail"), self.enhanced, strict=True))
        return {
            "code": self.code,
            "enhanced_code": enhanced,
            "content": self.content,
            "command": self.command,
        }

    def classification(self) -> str:
        enhanced = ".".join(map(str, self.enhanced)) + " " if self.enhanced else ""
        text = (enhanced + self.content).lower()
        return next((name for pattern, name in _CLASSES if pattern.search(text)), "Uncategorized")


def stamp(moment: datetime) -> str:
    """RFC 3339 with nanoseconds, as event_time is written."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"


class Journal:
    """Builds records and hands each to the hooks; keeps the latest for people to look at."""

    def __init__(self, clock: VirtualClock, node_id: str) -> None:
        self._clock = clock
        self._node_id = node_id
        self.recent: deque[Record] = deque(maxlen=2000)
        self.listeners: list[Callable[[Record, dict[str, Any]], None]] = []

    def write(self, kind: str, reply: Reply, message: Message | None, **fields: Any) -> Record:
        """One event. `fields` replace the defaults; `meta` is what hooks may choose from."""
        now = self._clock.now()
        created = message.created if message else now
        record: Record = {
            "type": kind,
            "id": message.spool_id if message else "",
            "sender": message.envelope_sender if message else "",
            "recipient": _recipient(message),
            "queue": message.queue_name() if message else "",
            "site": "",
            "size": len(message.content) if message else 0,
            "response": reply.document(),
            "peer_address": None,
            "timestamp": int(now.timestamp()),
            "event_time": stamp(now),
            "created": int(created.timestamp()),
            "created_time": stamp(created),
            "num_attempts": message.attempts if message else 0,
            "bounce_classification": "Uncategorized",
            "egress_pool": None,
            "egress_source": None,
            "source_address": None,
            "feedback_report": None,
            "meta": {},
            "headers": {},
            "delivery_protocol": None,
            "reception_protocol": message.meta.get("reception_protocol") if message else None,
            "nodeid": self._node_id,
        }
        meta = fields.pop("meta", message.meta if message else {})
        record.update(fields)
        if kind in ("Bounce", "TransientFailure", "OOB"):
            record["bounce_classification"] = reply.classification()
        self.recent.append(record)
        for listener in self.listeners:
            listener(record, meta)
        return record


def _recipient(message: Message | None) -> str | list[str]:
    if message is None:
        return ""
    return message.recipients[0] if len(message.recipients) == 1 else message.recipients
