"""What the receivers keep: messages, refusals, and numbers about both."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from sandbox.receivers.judge import Envelope, Letterhead
from sandbox.receivers.verdict import Verdict
from sandbox.store import Collection, Document
from sandbox.world import World

MAX_MESSAGES = 20_000
# A few huge messages must not fill the memory either.
MAX_BYTES = 512 * 1024 * 1024
MAX_REFUSED = 1_000
# What a listing shows; the source and the reasons are on the page of one message.
LISTED = (
    "id",
    "received_at",
    "mail_from",
    "rcpt_to",
    "header_from",
    "subject",
    "spf",
    "dkim",
    "dmarc",
    "dkim_domain",
    "dkim_selector",
    "tls",
    "authentication_results",
    "folder",
    "size",
)


class Mailbox:
    """Messages by id, oldest first, one document for each recipient.

    The source is kept as Latin-1 text, which maps every byte to one character and back.
    """

    def __init__(
        self, world: World, max_messages: int = MAX_MESSAGES, max_bytes: int = MAX_BYTES
    ) -> None:
        self._clock = world.clock
        self._max_messages, self._max_bytes = max_messages, max_bytes
        self.messages: Collection = world.store.collection("mail.messages")
        self.refused: Collection = world.store.collection("mail.refused")
        self._answers: Collection = world.store.collection("mail.answers")
        self._bytes = sum(int(document["size"]) for document in self.messages.values())

    def keep(
        self, envelope: Envelope, recipient: str, raw: bytes, verdict: Verdict, head: Letterhead
    ) -> Document:
        """Put a message into one recipient's mailbox, with the trace fields a receiver adds."""
        document = self._describe(envelope, recipient, raw, verdict, head)
        document["folder"] = "spam" if verdict.action == "spam" else "inbox"
        document["raw"] = self._with_trace(document, raw, verdict).decode("latin-1")
        self.messages[document["id"]] = document
        self._bytes += document["size"]
        while len(self.messages) > self._max_messages or self._bytes > self._max_bytes:
            oldest = next(iter(self.messages))
            self._bytes -= int(self.messages[oldest]["size"])
            del self.messages[oldest]
        return document

    def note_refusal(
        self,
        answer: str,
        envelope: Envelope,
        recipient: str,
        judged: tuple[Verdict, Letterhead] | None = None,
    ) -> None:
        """Count an answer of 4xx or 5xx and remember whom it was given to."""
        code = " ".join(re.findall(r"^\d{3}|(?<=[ -])\d\.\d{1,3}\.\d{1,3}", answer)[:2])
        counted = self._answers.setdefault(code, {"count": 0})
        counted["count"] += 1
        self._answers.save(code)
        document: Document = {
            "id": str(self.refused.next_id()),
            "received_at": self._clock.now().isoformat(),
            "mail_from": envelope.mail_from,
            "rcpt_to": recipient,
            "client_ip": envelope.client_ip,
            "answer": answer,
        }
        if judged is not None:
            verdict, head = judged
            document |= {"header_from": head.header_from, "subject": head.subject}
            document |= verdict.as_document()
        self.refused[document["id"]] = document
        while len(self.refused) > MAX_REFUSED:
            del self.refused[next(iter(self.refused))]

    def clear(self) -> None:
        for collection in (self.messages, self.refused, self._answers):
            for key in collection:
                del collection[key]
        self._bytes = 0

    def matching(self, query: Mapping[str, str]) -> Iterator[Document]:
        """Newest first. Raises ValueError for an `after` that is no RFC 3339 time.

        An address must match entirely, a word without "@" anywhere; subjects match by part.
        """
        # A plus sign in a query string arrives as a space.
        after = (
            datetime.fromisoformat(query["after"].replace(" ", "+")) if query.get("after") else None
        )
        if after is not None and after.tzinfo is None:
            raise ValueError("The time needs an offset, for example Z.")
        for key in reversed(list(self.messages)):
            document = self.messages[key]
            if after is not None and datetime.fromisoformat(document["received_at"]) <= after:
                continue
            if _matches(document, query):
                yield document

    def statistics(self) -> dict[str, Any]:
        """Counts over what is kept, for a closing table."""
        verdicts: dict[str, Counter[str]] = {
            "spf": Counter(),
            "dkim": Counter(),
            "dmarc": Counter(),
        }
        senders: dict[str, Counter[str]] = {}
        receivers: Counter[str] = Counter()
        for document in self.messages.values():
            sender = senders.setdefault(document["author_domain"] or "(none)", Counter())
            sender["messages"] += 1
            for method, counts in verdicts.items():
                counts[document[method]] += 1
                sender[f"{method}_pass"] += document[method] == "pass"
            sender["tls"] += bool(document["tls"])
            sender["spam"] += document["folder"] == "spam"
            receivers[document["rcpt_to"].rpartition("@")[2]] += 1
        return {
            "messages": len(self.messages),
            "bytes": self._bytes,
            "by_verdict": verdicts,
            "by_sender_domain": dict(sorted(senders.items())),
            "by_recipient_domain": dict(receivers.most_common()),
            "refused": {code: answer["count"] for code, answer in sorted(self._answers.items())},
        }

    def _describe(
        self, envelope: Envelope, recipient: str, raw: bytes, verdict: Verdict, head: Letterhead
    ) -> Document:
        results = verdict.authentication_results(_server(recipient))
        return {
            "id": str(self.messages.next_id()),
            "received_at": self._clock.now().isoformat(),
            "mail_from": envelope.mail_from,
            "rcpt_to": recipient,
            "client_ip": envelope.client_ip,
            "helo": envelope.helo,
            "tls": envelope.tls,
            "size": len(raw),
            "header_from": head.header_from,
            "author": head.author,
            "author_domain": head.author_domain,
            "subject": head.subject,
            "message_id": head.message_id,
            "authentication_results": results.replace("\r\n\t", " "),
            **verdict.as_document(),
        }

    def _with_trace(self, document: Document, raw: bytes, verdict: Verdict) -> bytes:
        """Prepend Return-Path, Authentication-Results and Received (RFC 5321 section 4.4)."""
        server = _server(document["rcpt_to"])
        protocol = "ESMTPS" if document["tls"] else "ESMTP"
        when = self._clock.now().strftime("%a, %d %b %Y %H:%M:%S +0000")
        trace = (
            f"Return-Path: <{document['mail_from']}>\r\n"
            f"Authentication-Results: {verdict.authentication_results(server)}\r\n"
            f"Received: from {document['helo']} ([{document['client_ip']}])\r\n"
            f"\tby {server} with {protocol} id {document['id']}\r\n"
            f"\tfor <{document['rcpt_to']}>; {when}\r\n"
        )
        return trace.encode("utf-8", "replace") + raw


def _server(recipient: str) -> str:
    """The host that speaks for a recipient's domain."""
    return f"mx.{recipient.rpartition('@')[2].lower()}"


def listed(document: Document) -> Document:
    return {name: document[name] for name in LISTED}


def source(document: Document) -> bytes:
    """The stored message, byte for byte."""
    return str(document["raw"]).encode("latin-1")


def _matches(document: Document, query: Mapping[str, str]) -> bool:
    def same(wanted: str, *values: str) -> bool:
        wanted = wanted.strip().lower()
        if "@" in wanted.strip("@"):
            return any(wanted == value.lower() for value in values)
        return any(wanted in value.lower() for value in values)

    tests: dict[str, Callable[[str], bool]] = {
        "to": lambda value: same(value, document["rcpt_to"]),
        "from": lambda value: same(value, document["author"], document["mail_from"]),
        "from_domain": lambda value: value.strip().lower() == document["author_domain"],
        "subject": lambda value: value.lower() in document["subject"].lower(),
        "folder": lambda value: value == document["folder"],
        "q": lambda value: _mentions(document, value),
    }
    return all(test(query[name]) for name, test in tests.items() if query.get(name))


def _mentions(document: Document, text: str) -> bool:
    """Each word of a free search occurs in an address, the subject or a verdict (dmarc:fail)."""
    shown = " ".join(
        [
            *(document[name] for name in ("header_from", "mail_from", "rcpt_to", "subject")),
            *(f"{method}:{document[method]}" for method in ("spf", "dkim", "dmarc")),
        ]
    ).lower()
    return all(word in shown for word in text.lower().split())
