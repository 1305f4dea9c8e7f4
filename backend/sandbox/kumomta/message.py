"""A mail as the policy sees it: envelope, metadata and content."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from email import policy as email_policy
from email.headerregistry import Address as ParsedAddress
from email.utils import format_datetime
from typing import Any

from sandbox.kumomta.dkim import Signer, sign
from sandbox.kumomta.lua_object import Address, AddressHeader, LuaObject, Mailbox
from sandbox.kumomta.options import PolicyError

_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:([^\r\n]*(?:\r?\n[ \t][^\r\n]*)*)\r?\n?")


class ConnectionMeta(LuaObject):
    """Metadata of one SMTP session; copied into every message of it."""

    lua_name = "ConnectionMeta"
    lua_methods = ("get_meta", "set_meta")

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    def get_meta(self, name: str) -> Any:
        return self.values.get(name)

    def set_meta(self, name: str, value: Any = None) -> None:
        self.values[name] = value


class Message(LuaObject):
    """`content` is the RFC 5322 text with CRLF line ends."""

    lua_name = "Message"
    lua_methods = (
        "append_header", "check_fix_conformance", "dkim_sign", "dkim_verify", "from_header",
        "get_address_header",
        "get_all_headers", "get_all_named_header_values", "get_data",
        "get_first_named_header_value", "get_meta", "id", "num_attempts", "prepend_header",
        "queue_name", "recipient", "recipient_list", "remove_all_named_headers", "sender",
        "set_meta", "set_sender",
    )  # fmt: skip

    def __init__(
        self,
        sender: str,
        recipients: list[str],
        content: bytes,
        meta: dict[str, Any],
        now: Callable[[], datetime],
        message_id: str | None = None,
    ) -> None:
        # kumod's ids are version 1 UUIDs without dashes.
        self.spool_id = message_id or uuid.uuid1().hex
        self.envelope_sender = sender
        self.recipients = recipients
        self.content = content
        self.meta = meta
        self.attempts = 0
        self.created = now()
        # When it may next be tried.
        self.due = self.created
        self._now = now
        self.verifier: Callable[[Message], list[dict[str, Any]]] | None = None

    def __str__(self) -> str:
        return self.spool_id

    def document(self) -> dict[str, Any]:
        """What the spool keeps; content as Latin-1 text, which holds any byte."""
        return {
            "sender": self.envelope_sender,
            "recipients": self.recipients,
            "content": self.content.decode("latin-1"),
            "meta": self.meta,
            "attempts": self.attempts,
            "created": self.created.isoformat(),
            "due": self.due.isoformat(),
        }

    @classmethod
    def from_document(
        cls, message_id: str, kept: dict[str, Any], now: Callable[[], datetime]
    ) -> Message:
        message = cls(
            kept["sender"],
            kept["recipients"],
            kept["content"].encode("latin-1"),
            kept["meta"],
            now,
            message_id,
        )
        message.attempts = kept["attempts"]
        message.created = datetime.fromisoformat(kept["created"])
        message.due = datetime.fromisoformat(kept["due"])
        return message

    # Envelope and metadata.

    def id(self) -> str:
        return self.spool_id

    def sender(self) -> Address:
        return Address(self.envelope_sender)

    def set_sender(self, sender: str) -> None:
        self.envelope_sender = str(sender)

    def recipient(self) -> Address | list[Address]:
        listed = self.recipient_list()
        return listed[0] if len(listed) == 1 else listed

    def recipient_list(self) -> list[Address]:
        return [Address(recipient) for recipient in self.recipients]

    def get_meta(self, name: str) -> Any:
        return self.meta.get(name)

    def set_meta(self, name: str, value: Any = None) -> None:
        if name in ("queue", "tenant", "campaign", "routing_domain") and not isinstance(value, str):
            raise PolicyError(f"meta {name} must be a string")
        self.meta[name] = value

    def num_attempts(self) -> int:
        return self.attempts

    def queue_name(self) -> str:
        """campaign:tenant@domain!routing_domain, absent pieces left out."""
        if self.meta.get("queue"):
            return str(self.meta["queue"])
        tenant, campaign = self.meta.get("tenant"), self.meta.get("campaign")
        name = self.recipients[0].rpartition("@")[2].lower()
        if tenant:
            name = f"{tenant}@{name}"
            if campaign:
                name = f"{campaign}:{name}"
        if self.meta.get("routing_domain"):
            name += f"!{self.meta['routing_domain']}"
        return name

    # Content.

    def get_data(self) -> str:
        return self.content.decode("utf-8", "replace")

    def fields(self) -> list[tuple[str, bytes]]:
        """Name and whole text, line end included, of every header field."""
        found = []
        at = 0
        while match := _FIELD.match(self.content, at):
            found.append((match[1].decode("ascii"), match[0]))
            at = match.end()
        return found

    def _values(self, name: str) -> list[str]:
        wanted = name.lower()
        return [
            text.split(b":", 1)[1].decode("utf-8", "replace").strip()
            for field_name, text in self.fields()
            if field_name.lower() == wanted
        ]

    def get_all_named_header_values(self, name: str) -> list[str]:
        return [_decoded(value) for value in self._values(name)]

    def get_first_named_header_value(self, name: str) -> str | None:
        return next(iter(self.get_all_named_header_values(name)), None)

    def get_all_headers(self) -> list[list[str]]:
        return [
            [name, _decoded(text.split(b":", 1)[1].decode("utf-8", "replace").strip())]
            for name, text in self.fields()
        ]

    def get_address_header(self, name: str) -> AddressHeader | None:
        """Raises PolicyError for a header that does not parse, as kumod does."""
        values = self._values(name)
        if not values:
            return None
        unfolded = re.sub(r"\r?\n", "", values[0])
        try:
            header = email_policy.default.header_factory("to", unfolded)
            addresses: tuple[ParsedAddress, ...] = header.addresses
            if header.defects:
                raise PolicyError(f"{name}: {header.defects[0]}")
        except (ValueError, IndexError, AttributeError) as error:
            raise PolicyError(f"{name}: cannot be parsed: {error}") from error
        return AddressHeader([Mailbox(a.display_name or None, a.addr_spec) for a in addresses])

    def from_header(self) -> AddressHeader | None:
        return self.get_address_header("From")

    def prepend_header(self, name: str, value: str) -> None:
        self.content = f"{name}: {value}\r\n".encode() + self.content

    def append_header(self, name: str, value: str) -> None:
        end = sum(len(text) for _, text in self.fields())
        self.content = self.content[:end] + f"{name}: {value}\r\n".encode() + self.content[end:]

    def remove_all_named_headers(self, name: str) -> None:
        fields = self.fields()
        end = sum(len(text) for _, text in fields)
        kept = b"".join(text for field_name, text in fields if field_name.lower() != name.lower())
        self.content = kept + self.content[end:]

    def check_fix_conformance(self, checks: str, fixes: str) -> None:
        """Only the two repairs of missing headers; any other label is refused."""
        wanted = set(filter(None, fixes.split("|")))
        unknown = wanted - {"MISSING_DATE_HEADER", "MISSING_MESSAGE_ID_HEADER"}
        if checks or unknown:
            raise PolicyError(f"conformance labels not known here: {checks} {sorted(unknown)}")
        if "MISSING_DATE_HEADER" in wanted and not self._values("Date"):
            self.prepend_header("Date", format_datetime(self._now().astimezone(UTC)))
        if "MISSING_MESSAGE_ID_HEADER" in wanted and not self._values("Message-ID"):
            domain = self.envelope_sender.rpartition("@")[2] or "localhost"
            self.prepend_header("Message-ID", f"<{uuid.uuid4().hex}@{domain}>")

    def dkim_sign(self, signer: Signer) -> None:
        if not isinstance(signer, Signer):
            raise PolicyError("dkim_sign takes a signer")
        self.content = sign(signer, self.content, self.fields(), self._now()) + self.content

    def dkim_verify(self) -> list[dict[str, Any]]:
        if self.verifier is None:
            raise PolicyError("dkim_verify: only mail that came in by SMTP is verified here")
        return self.verifier(self)


def _decoded(value: str) -> str:
    header = email_policy.default.header_factory("subject", re.sub(r"\r?\n", "", value))
    return str(header)
