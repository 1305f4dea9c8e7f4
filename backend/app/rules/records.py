"""Reading kumod's log records: which row each becomes, and which counter it moves.

The shapes are kumod's JSON log records (kumo-log-types); fields we do not know are kept.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

COUNTERS: dict[str, str] = {
    "Reception": "accepted",
    "Delivery": "delivered",
    "TransientFailure": "deferred",
    "Bounce": "bounced",
    "Expiration": "bounced",
    "AdminBounce": "bounced",
    "OOB": "bounced",
    "Rejection": "rejected",
    "Feedback": "complained",
}
"""Record type to column of inbox_days."""

_OURS = "KumoMTA internal:"
"""Deferrals with this text are our own doing (a suspended queue), not the receiver's."""


@dataclass(frozen=True)
class EventRow:
    natural_key: bytes
    tenant_id: UUID
    inbox_id: UUID | None
    event_type: str
    occurred_at: datetime
    message_id: str
    recipient: str
    response_code: int | None
    response: str | None
    bounce_classification: str | None
    counter: str | None
    record: str
    """The record as JSON text."""

    @property
    def recipient_domain(self) -> str:
        return self.recipient.rpartition("@")[2].lower()


def read(record: dict[str, Any], node: str) -> EventRow | None:
    """The row of one record; None when it is about no tenant (a probe, a stranger's refused login).

    Raises ValueError for something that is no log record.
    """
    kind = record.get("type")
    if not isinstance(kind, str):
        raise ValueError("A log record has a type.")
    record = _without_nul(record)
    origin = _origin(record)
    tenant_id = _uuid(origin.get("tenant"))
    if tenant_id is None:
        return None
    response = record.get("response") or {}
    content = str(response.get("content") or "")
    recipient = _text(record.get("recipient"))
    counter = COUNTERS.get(kind)
    if kind == "TransientFailure" and content.startswith(_OURS):
        counter = None
    return EventRow(
        natural_key=natural_key(record, node),
        tenant_id=tenant_id,
        inbox_id=_uuid(origin.get("x_inbox")),
        event_type=kind,
        occurred_at=_instant(record),
        message_id=str(record.get("id") or ""),
        recipient=recipient[:320],
        response_code=response.get("code"),
        response=content[:1000] or None,
        bounce_classification=record.get("bounce_classification"),
        counter=counter,
        record=json.dumps(record, separators=(",", ":")),
    )


def natural_key(record: dict[str, Any], node: str) -> bytes:
    """SHA-256 over what names an event, the same from the log hook and from a log file."""
    parts = (
        record.get("nodeid") or node,
        record.get("type"),
        record.get("id"),
        record.get("event_time") or record.get("timestamp"),
        _text(record.get("recipient")),
        record.get("session_id"),
    )
    return hashlib.sha256(json.dumps(parts).encode()).digest()


def _origin(record: dict[str, Any]) -> dict[str, Any]:
    """Who sent the mail: the record's meta, or the trace that a complaint carries back."""
    report = record.get("feedback_report") or {}
    return report.get("supplemental_trace") or record.get("meta") or {}


def _instant(record: dict[str, Any]) -> datetime:
    text = record.get("event_time")
    if isinstance(text, str):
        # Nanoseconds are cut to microseconds, which is all that PostgreSQL keeps.
        head, _, fraction = text.rstrip("Z").partition(".")
        digits = "".join(ch for ch in fraction if ch.isdigit())[:6]
        return datetime.fromisoformat(f"{head}.{digits or '0'}+00:00")
    return datetime.fromtimestamp(int(record["timestamp"]), UTC)


def _text(recipient: object) -> str:
    if isinstance(recipient, list):
        return ",".join(str(item) for item in recipient)
    return str(recipient or "")


def _without_nul(value: Any) -> Any:
    """The same value without NUL characters, which PostgreSQL keeps in no text."""
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, list):
        return [_without_nul(item) for item in value]
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(item) for key, item in value.items()}
    return value


def _uuid(value: object) -> UUID | None:
    try:
        return UUID(str(value)) if value else None
    except ValueError:
        return None
