"""A message taken apart for a person to read; the message is hostile and may be malformed."""

from __future__ import annotations

from dataclasses import dataclass, field
from email import policy
from email.message import Message
from email.parser import BytesParser

from sandbox.receivers.judge import readable

# A page shows this many characters of a body or source; the download has all of it.
MAX_SHOWN = 200_000
MAX_PARTS = 200


@dataclass(frozen=True)
class Attachment:
    name: str
    type: str
    size: int


@dataclass
class Reading:
    """Decoded header fields in their order, the first text and HTML bodies, and the rest."""

    headers: list[tuple[str, str]] = field(default_factory=list)
    text: str | None = None
    html: str | None = None
    attachments: list[Attachment] = field(default_factory=list)


def read(raw: bytes) -> Reading:
    """Never fails: what cannot be decoded is shown with replacement characters."""
    message: Message = BytesParser(policy=policy.compat32).parsebytes(raw)
    reading = Reading([(name, readable(value)) for name, value in message.raw_items()])
    for number, part in enumerate(message.walk()):
        if number >= MAX_PARTS:
            break
        if part.is_multipart():
            continue
        kind = part.get_content_type()
        attached = part.get_content_disposition() == "attachment"
        if kind == "text/plain" and not attached and reading.text is None:
            reading.text = _decoded(part)
        elif kind == "text/html" and not attached and reading.html is None:
            reading.html = _decoded(part)
        else:
            body = part.get_payload(decode=True)
            size = len(body) if isinstance(body, bytes) else 0
            name = readable(str(part.get_filename() or "unnamed"))
            reading.attachments.append(Attachment(name, kind, size))
    return reading


def _decoded(part: Message) -> str:
    body = part.get_payload(decode=True)
    data = body if isinstance(body, bytes) else b""
    charset = str(part.get_content_charset("utf-8"))
    try:
        text = data.decode(charset, "replace")
    except (LookupError, ValueError):
        text = data.decode("utf-8", "replace")
    return text[:MAX_SHOWN]
