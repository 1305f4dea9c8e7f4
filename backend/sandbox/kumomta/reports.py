"""Incoming complaints (RFC 5965) and bounces (RFC 3464), and the header that traces them."""

from __future__ import annotations

import base64
import email
import json
import re
from email import policy as email_policy
from email.message import EmailMessage
from typing import Any

from sandbox.kumomta.message import Message
from sandbox.kumomta.records import Journal, Reply

# kumod recognises its own trace header by this key.
_MAGIC = {"_@_": "\\_/"}


def trace_header(message: Message, settings: dict[str, Any]) -> bytes:
    """X-KumoRef: the recipient and the listed metadata, in base64 and readable by everyone."""
    payload: dict[str, Any] = {**_MAGIC, "recipient": message.recipients[0]}
    for name in settings.get("include_meta_names", []):
        if name in message.meta:
            payload[name] = message.meta[name]
    encoded = base64.b64encode(json.dumps(payload, separators=(",", ":")).encode()).decode()
    folded = "\r\n\t".join(encoded[at : at + 70] for at in range(0, len(encoded), 70))
    return f"{settings.get('header_name', 'X-KumoRef')}: {folded}\r\n".encode()


def _trace(text: str) -> dict[str, Any] | None:
    """The decoded trace of an original message, from whichever X- header holds it."""
    unfolded = re.sub(r"\r?\n[ \t]+", "", text)
    for value in re.findall(r"(?im)^X-[\w-]+:\s*([A-Za-z0-9+/=\s]+?)\s*$", unfolded):
        try:
            payload = json.loads(base64.b64decode(value))
        except ValueError:
            continue
        if isinstance(payload, dict) and payload.get("_@_") == _MAGIC["_@_"]:
            del payload["_@_"]
            return payload
    return None


class Reports:
    """Writes the records of reports; anything else is dropped, as LogThenDrop says."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def read(self, message: Message, domain: dict[str, Any]) -> bool:
        """True when the report was a complaint, whose record stands for its Reception too."""
        parsed = email.message_from_bytes(message.content, policy=email_policy.default)
        assert isinstance(parsed, EmailMessage)
        kind = str(parsed.get_param("report-type", "")).lower()
        parts = {part.get_content_type(): part for part in parsed.walk()}
        if kind == "feedback-report" and _logs(domain, "log_arf"):
            self._feedback(message, parts)
            return True
        if kind == "delivery-status" and _logs(domain, "log_oob"):
            self._bounce(message, parts)
        return False

    def _feedback(self, message: Message, parts: dict[str, EmailMessage]) -> None:
        report = _fields(_text(parts.get("message/feedback-report")))
        original = _text(parts.get("message/rfc822") or parts.get("text/rfc822-headers"))

        def first(name: str) -> str | None:
            return next(iter(report.get(name, [])), None)

        mta = first("reporting-mta")
        self._journal.write(
            "Feedback",
            Reply(250, ""),
            message,
            feedback_report={
                "feedback_type": first("feedback-type"),
                "user_agent": first("user-agent"),
                "version": first("version"),
                "arrival_date": first("arrival-date"),
                "incidents": first("incidents"),
                "original_envelope_id": first("original-envelope-id"),
                "original_mail_from": first("original-mail-from"),
                "reporting_mta": _mta(mta),
                "source_ip": first("source-ip"),
                "authentication_results": report.get("authentication-results", []),
                "original_rcpto_to": report.get("original-rcpt-to", []),
                "reported_domain": report.get("reported-domain", []),
                "reported_uri": report.get("reported-uri", []),
                "extensions": {},
                "original_message": original or None,
                "supplemental_trace": _trace(original),
            },
        )

    def _bounce(self, message: Message, parts: dict[str, EmailMessage]) -> None:
        report = _fields(_text(parts.get("message/delivery-status")))
        for recipient, action, status, diagnostic in zip(
            report.get("final-recipient", []),
            report.get("action", []),
            report.get("status", []),
            report.get("diagnostic-code", report.get("status", [])),
            strict=False,
        ):
            if action.lower() != "failed":
                continue
            text = diagnostic.partition(";")[2].strip() or diagnostic
            code = re.match(r"(\d{3})[ -]", text)
            content = text[4:] if code else text
            if not re.match(r"\d\.\d+\.\d+ ", content):
                content = f"{status} {content}"
            self._journal.write(
                "OOB",
                Reply.parse(int(code[1]) if code else 550, content),
                message,
                sender=message.recipients[0],
                recipient=recipient.partition(";")[2].strip() or recipient,
                size=0,
            )


def _logs(domain: dict[str, Any], name: str) -> bool:
    return domain.get(name) in (True, "LogThenDrop", "LogThenRelay")


def _mta(value: str | None) -> dict[str, str] | None:
    if value is None:
        return None
    kind, _, name = value.partition(";")
    return {"mta_type": kind.strip(), "name": name.strip()}


def _text(part: EmailMessage | None) -> str:
    if part is None:
        return ""
    payload = part.get_payload()
    if isinstance(payload, list):
        return "\n".join(str(piece) for piece in payload)
    return str(payload)


def _fields(text: str) -> dict[str, list[str]]:
    """Header-like lines by lower-case name, in order."""
    found: dict[str, list[str]] = {}
    unfolded = re.sub(r"\r?\n[ \t]+", " ", text)
    for name, value in re.findall(r"(?m)^([A-Za-z-]+):[ \t]*(.*?)\r?$", unfolded):
        found.setdefault(name.lower(), []).append(value.strip())
    return found
