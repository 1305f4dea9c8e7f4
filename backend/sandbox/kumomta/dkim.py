"""DKIM signatures (RFC 6376), rsa-sha256, relaxed or simple.

Written here with the OpenSSL primitives, so that receivers who verify with another library judge
an independent implementation; a pure Python RSA would also take longer per message than everything
else together.
"""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import datetime
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from sandbox.kumomta.lua_object import LuaObject
from sandbox.kumomta.options import PolicyError, checked

_WSP_RUN = re.compile(rb"[ \t]+")


class Signer(LuaObject):
    """The checked arguments of kumo.dkim.rsa_sha256_signer and the loaded key."""

    lua_name = "Signer"

    def __init__(self, options: object) -> None:
        self.options: dict[str, Any] = checked("dkim.rsa_sha256_signer", options)
        key = self.options["key"]
        if list(key) != ["key_data"]:
            raise PolicyError("dkim: this host loads keys from key_data only")
        self.key = _load(str(key["key_data"]))
        for part in ("header_canonicalization", "body_canonicalization"):
            if self.options.get(part, "Relaxed") not in ("Relaxed", "Simple"):
                raise PolicyError(f"dkim: {part} must be Relaxed or Simple")

    def __str__(self) -> str:
        return f"{self.options['selector']}._domainkey.{self.options['domain']}"


@lru_cache(maxsize=1024)
def _load(pem: str) -> rsa.RSAPrivateKey:
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except ValueError as error:
        raise PolicyError(f"dkim: the key cannot be read: {error}") from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise PolicyError("dkim: rsa_sha256_signer needs an RSA key")
    return key


def sign(signer: Signer, content: bytes, fields: list[tuple[str, bytes]], now: datetime) -> bytes:
    """The DKIM-Signature field, line end included, for a message with these header fields."""
    options = signer.options
    relaxed_header = options.get("header_canonicalization", "Relaxed") == "Relaxed"
    relaxed_body = options.get("body_canonicalization", "Relaxed") == "Relaxed"
    end = sum(len(text) for _, text in fields)
    body = content[end:].removeprefix(b"\r\n")
    body_hash = hashlib.sha256(_canonical_body(body, relaxed_body)).digest()

    names, chosen = _select(options["headers"], bool(options.get("over_sign")), fields)
    canonicalization = "/".join(
        "relaxed" if relaxed else "simple" for relaxed in (relaxed_header, relaxed_body)
    )
    tags = [
        "v=1", "a=rsa-sha256", f"c={canonicalization}", f"d={options['domain']}",
        f"s={options['selector']}", f"t={int(now.timestamp())}",
    ]  # fmt: skip
    if "expiration" in options:
        tags.append(f"x={int(now.timestamp()) + options['expiration']}")
    tags += [f"h={':'.join(names)}", f"bh={base64.b64encode(body_hash).decode()}", "b="]
    unsigned = ("DKIM-Signature: " + ";\r\n\t".join(tags)).encode()

    signed = b"".join(_canonical_field(text, relaxed_header) for text in chosen)
    signed += _canonical_field(unsigned + b"\r\n", relaxed_header).removesuffix(b"\r\n")
    signature = base64.b64encode(signer.key.sign(signed, padding.PKCS1v15(), hashes.SHA256()))
    folded = b"\r\n\t ".join(signature[at : at + 72] for at in range(0, len(signature), 72))
    return unsigned + folded + b"\r\n"


def _select(
    wanted: list[str], over_sign: bool, fields: list[tuple[str, bytes]]
) -> tuple[list[str], list[bytes]]:
    """The names for h= and the fields to hash: of equal names the lowest first (section 5.4.2)."""
    by_name: dict[str, list[bytes]] = {}
    for name, text in fields:
        by_name.setdefault(name.lower(), []).append(text)
    names: list[str] = []
    chosen: list[bytes] = []
    for name in dict.fromkeys(header.lower() for header in wanted):
        present = by_name.get(name, [])
        names += [name] * len(present)
        chosen += reversed(present)
        if over_sign:
            names.append(name)
    return names, chosen


def _canonical_field(text: bytes, relaxed: bool) -> bytes:
    if not relaxed:
        return text
    name, _, value = text.partition(b":")
    unfolded = re.sub(rb"\r?\n", b"", value)
    return name.strip().lower() + b":" + _WSP_RUN.sub(b" ", unfolded).strip() + b"\r\n"


def _canonical_body(body: bytes, relaxed: bool) -> bytes:
    if relaxed:
        body = re.sub(rb"[ \t]+\r\n", b"\r\n", body)
        body = re.sub(rb"[ \t]+\Z", b"", body)
        body = _WSP_RUN.sub(b" ", body)
    # Empty lines at the end do not count; a body without a final line end gets one (section 3.4.3).
    body = re.sub(rb"(\r\n)+\Z", b"", body)
    if not body:
        return b"" if relaxed else b"\r\n"
    return body + b"\r\n"
