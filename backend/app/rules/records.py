"""Reading kumod's log records: which row each becomes, and which counters it moves.

The shapes are kumod's JSON log records (kumo-log-types); fields we do not know are kept.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

import orjson

from app.rules.bounces import BounceClass, classify
from app.rules.providers import Provider, family

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
"""Record type to column of the daily counts."""

CLASS_COUNTERS: dict[BounceClass, str] = {
    BounceClass.SOFT: "soft_bounced",
    BounceClass.HARD: "hard_bounced",
    BounceClass.UNKNOWN_USER: "unknown_users",
    BounceClass.BLOCK: "blocked",
}
KINDS = (
    "accepted", "delivered", "deferred", "bounced", "rejected", "complained",
    *CLASS_COUNTERS.values(),
)  # fmt: skip
"""Every column of the daily counts."""

_REFUSED = frozenset({"Bounce", "Expiration", "OOB"})
"""Failures that are the receiver's answer; an AdminBounce is our own doing."""

_OUTBOUND = frozenset({"Delivery", "TransientFailure", "Bounce"})
"""Records whose peer is the recipient's host; of the others it is the client or nobody."""

_REPORTS = frozenset({"OOB", "Feedback"})
_OURS = "KumoMTA internal:"
"""Deferrals with this text are our own doing (a suspended queue), not the receiver's."""

_VERB = re.compile(r"[A-Za-z]+")
_VERBS = frozenset({"EHLO", "HELO", "MAIL", "RCPT", "DATA", "RSET", "STARTTLS", "QUIT"})


@dataclass(frozen=True, slots=True)
class EventRow:
    natural_key: bytes
    tenant_id: UUID
    inbox_id: UUID | None
    event_type: str
    occurred_at: datetime
    """In UTC."""
    message_id: str
    trace: str | None
    recipient: str
    recipient_domain: str
    response_code: int | None
    response: str | None
    bounce_classification: str | None
    counter: str | None
    """The column of the daily counts that it moves by one."""
    class_counter: str | None
    """The column of its bounce class, when it is a receiver's final answer."""
    provider: Provider
    record: str
    """The record as JSON text."""


def read(record: dict[str, Any], node: str) -> EventRow | None:
    """The row of a record from the log hook; None when it is about no tenant (a probe, a stranger).

    Raises ValueError, KeyError, TypeError or AttributeError for something that is no log record.
    """
    kind = record.get("type")
    if not isinstance(kind, str):
        raise ValueError("A log record has a type.")
    # What a report says of itself anybody could have written: meta is the policy's own.
    meta = record.get("meta") or {}
    tenant_id = _uuid(meta.get("tenant"))
    if tenant_id is None:
        return None
    text = orjson.dumps(record)
    if b"\\u0000" in text:
        record = _without_nul(record)
        text = orjson.dumps(record)
        meta = record["meta"]
    response = record.get("response") or {}
    content = str(response.get("content") or "")
    recipient = _text(record.get("recipient"))[:320]
    domain = recipient.rpartition("@")[2].lower()[:253]
    classification = record.get("bounce_classification")
    counter, class_counter = _counters(kind, response, content, classification)
    return EventRow(
        natural_key=natural_key(record, node),
        tenant_id=tenant_id,
        inbox_id=_uuid(meta.get("x_inbox")),
        event_type=kind[:30],
        occurred_at=_instant(record),
        message_id=str(record.get("id") or "")[:64],
        trace=str(meta["x_trace"]) if meta.get("x_trace") else None,
        recipient=recipient,
        recipient_domain=domain,
        response_code=response.get("code"),
        response=content[:1000] or None,
        bounce_classification=None if classification is None else str(classification)[:40],
        counter=counter,
        class_counter=class_counter,
        provider=family(domain, _host(record) if kind in _OUTBOUND else ""),
        record=text.decode(),
    )


def from_log_file(record: dict[str, Any]) -> dict[str, Any] | None:
    """A record of the node's own log as the log hook would have sent it; None if it sends none.

    The hook leaves out what moves no counter (a message handed to another node), drops what may
    hold a password (a refused login's command), and counts a report for the tenant that the policy
    proved, for nobody else (`kumomta/policy/ig/events.lua`).
    """
    kind = record.get("type")
    if kind not in COUNTERS:
        return None
    if kind == "Rejection":
        response = dict(record.get("response") or {})
        verb = _VERB.match(str(response.get("command") or ""))
        if verb is None or verb[0].upper() not in _VERBS:
            response.pop("command", None)
        return {**record, "response": response}
    if kind in _REPORTS:
        meta = dict(record.get("meta") or {})
        meta["tenant"] = meta.pop("x_tenant", None)
        report = dict(record.get("feedback_report") or {})
        report.pop("supplemental_trace", None)
        return {**record, "meta": meta, "feedback_report": report or None}
    return record


def natural_key(record: dict[str, Any], node: str) -> bytes:
    """SHA-256 over what names an event, the same from the log hook and from a log file."""
    parts = (
        record.get("nodeid") or node,
        record.get("type"),
        record.get("id"),
        _moment(record) or record.get("timestamp"),
        _text(record.get("recipient")),
        record.get("session_id"),
    )
    return hashlib.sha256(json.dumps(parts).encode()).digest()


def _moment(record: dict[str, Any]) -> str | None:
    """When it happened, as RFC 3339 text.

    The event time of an OOB is what a stranger's report says, and differs between hook and file
    when the report says nothing; it counts from the moment the report reached us.
    """
    if record.get("type") == "OOB" and record.get("created_time"):
        return str(record["created_time"])
    text = record.get("event_time")
    return text if isinstance(text, str) else None


def _instant(record: dict[str, Any]) -> datetime:
    text = _moment(record)
    if text is None:
        return datetime.fromtimestamp(int(record["timestamp"]), UTC)
    # Nanoseconds are cut to microseconds, which is all that PostgreSQL keeps.
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _counters(
    kind: str, response: dict[str, Any], content: str, classification: object
) -> tuple[str | None, str | None]:
    counter = COUNTERS.get(kind)
    if kind == "TransientFailure" and content.startswith(_OURS):
        return None, None
    if kind not in _REFUSED:
        return counter, None
    code = response.get("enhanced_code")
    enhanced = None
    if isinstance(code, dict):
        enhanced = (int(code["class"]), int(code["subject"]), int(code["detail"]))
    label = classification if isinstance(classification, str) else None
    return counter, CLASS_COUNTERS[classify(response.get("code"), enhanced, content, label)]


def _host(record: dict[str, Any]) -> str:
    """The recipient's host, or the name of its site when no connection came about."""
    peer = record.get("peer_address") or {}
    return str(peer.get("name") or record.get("site") or "")


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
    return _parsed(value) if isinstance(value, str) else None


@lru_cache(maxsize=65_536)
def _parsed(text: str) -> UUID | None:
    """Kept, because the same few thousand ids come again and again."""
    try:
        return UUID(text)
    except ValueError:
        return None
