"""DKIM (RFC 6376) by dkimpy, asking the sandbox's DNS."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

import dkim

from sandbox.receivers.lookups import LookupFailed, Lookups
from sandbox.receivers.verdict import Check

# More signatures than this are not looked at, as RFC 6376 section 6.1 allows.
MAX_SIGNATURES = 6
MIN_RSA_BITS = 1024
# Clocks of signers may be ahead by this many seconds.
CLOCK_SLACK = 36_000


class _Notes(logging.Handler):
    """Keeps the last error that dkimpy logs, because it names the cause."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.error_text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.error_text = record.getMessage()


class _Message(dkim.DKIM):  # type: ignore[misc]
    """dkimpy's verifier, except that t= and x= are held against the sandbox's clock.

    The library asks the machine's clock, which is behind as soon as somebody advanced time.
    """

    def __init__(self, raw: bytes, logger: logging.Logger, now: int) -> None:
        super().__init__(raw, logger=logger, minkey=MIN_RSA_BITS)
        self._now = now

    def verify_headerprep(self, idx: int = 0) -> Any:
        headers = [(k, v) for k, v in self.headers if k.lower() == b"dkim-signature"]
        try:
            fields = dkim.parse_tag_value(headers[idx][1])
        except dkim.InvalidTagValueList as error:
            raise dkim.MessageFormatError(f"not a tag list: {error}") from error
        self.signature_fields = fields
        timeless = {k: v for k, v in fields.items() if k not in {b"t", b"x"}}
        dkim.validate_signature_fields(timeless)
        self._check_times(fields)
        self.domain, self.selector = fields[b"d"], fields[b"s"]
        covered = [name.strip().lower() for name in fields[b"h"].split(b":")]
        if b"from" not in covered:
            raise dkim.ValidationError("the signature does not cover From")
        self.include_headers = tuple(covered)
        return fields, covered, headers

    def _check_times(self, fields: dict[bytes, bytes]) -> None:
        for tag in (b"t", b"x"):
            if tag in fields and re.fullmatch(rb"\d{1,15}", fields[tag]) is None:
                raise dkim.ValidationError(f"{tag.decode()}= is not a number of seconds")
        if b"t" in fields and int(fields[b"t"]) > self._now + CLOCK_SLACK:
            raise dkim.ValidationError("t= lies in the future")
        if b"x" in fields and int(fields[b"x"]) < self._now:
            raise dkim.ValidationError("the signature has expired (x=)")


def check_dkim(lookups: Lookups, raw: bytes, now: int) -> tuple[Check, ...]:
    """Judge each DKIM-Signature of `raw`, topmost first; empty when there is none.

    `now` is in seconds since 1970.
    """
    notes = _Notes()
    # A logger of this call alone: several threads verify at the same time.
    logger = logging.Logger("dkim", logging.ERROR)
    logger.addHandler(notes)
    try:
        message = _Message(raw, logger, now)
    except (dkim.MessageFormatError, IndexError) as error:
        # dkimpy finds no header section; an IndexError means that it starts with a folded line.
        signed = b"dkim-signature:" in raw.lower()
        return (Check("permerror", f"the header is malformed: {error}"),) if signed else ()
    found = sum(1 for name, _ in message.headers if name.lower() == b"dkim-signature")
    return tuple(_one(lookups, message, notes, i) for i in range(min(found, MAX_SIGNATURES)))


def _one(lookups: Lookups, message: _Message, notes: _Notes, index: int) -> Check:
    message.signature_fields = {}
    notes.error_text = ""
    trouble: list[str] = []
    result, reason = "", ""
    try:
        if message.verify(index, dnsfunc=_key_of(lookups, trouble)):
            result, reason = "pass", "the signature is valid"
        elif trouble:
            result, reason = trouble[0], trouble[1]
        elif notes.error_text:
            result, reason = "permerror", notes.error_text
        else:
            result, reason = "fail", "the signature does not match the header fields"
    except dkim.NaClNotFoundError:
        # As at many real receivers: Ed25519 alone counts as unsigned (RFC 8463 wants RSA too).
        result, reason = "neutral", "this receiver does not verify Ed25519"
    except dkim.KeyFormatError as error:
        result, reason = "policy", str(error)
    except dkim.ValidationError as error:
        # A changed body is a failure; a malformed signature is an error of the signer.
        result = "fail" if "body hash" in str(error) else "permerror"
        reason = "the body was changed after signing" if result == "fail" else str(error)
    except LookupFailed as error:
        result, reason = "temperror", str(error)
    except (dkim.DKIMException, ValueError, TypeError, IndexError, KeyError) as error:
        result, reason = "permerror", f"the signature or its key is malformed: {error}"
    fields = message.signature_fields
    domain, selector = _text(fields.get(b"d")), _text(fields.get(b"s"))
    bits = re.sub(r"\s", "", _text(fields.get(b"b")))[:8]
    properties = (("header.d", domain), ("header.s", selector), ("header.b", bits))
    return Check(result, reason, domain.lower(), selector, properties if domain else ())


def _key_of(lookups: Lookups, trouble: list[str]) -> Callable[..., bytes | None]:
    """dkimpy's dnsfunc; what goes wrong is told through `trouble` as (result, reason)."""

    def key(name: bytes, timeout: int = 5) -> bytes | None:
        del timeout  # The resolver has its own.
        text = name.decode("ascii", "replace").rstrip(".")
        try:
            records = lookups.texts(text)
        except LookupFailed as error:
            trouble[:] = ["temperror", str(error)]
            return None
        keys = [record for record in records if b"p=" in record]
        if not keys:
            trouble[:] = ["permerror", f"there is no key at {text}"]
            return None
        if re.search(rb"(?:^|;)\s*p=\s*(?:;|$)", keys[0]):
            trouble[:] = ["permerror", f"the key at {text} was revoked"]
            return None
        return keys[0]

    return key


def _text(value: bytes | None) -> str:
    return (value or b"").decode("ascii", "replace").strip()
