"""DNS records: what a request may say, and what is kept of it.

Numbers and texts of the errors are those the API gives; see the reference of each check.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from sandbox.cloudflare import txt
from sandbox.cloudflare.envelope import Refused

TYPES = ("A", "AAAA", "CAA", "CNAME", "MX", "NS", "PTR", "SRV", "TXT")
HOST_TYPES = ("CNAME", "MX", "NS", "PTR")
PROXIABLE = ("A", "AAAA", "CNAME")
# Known keys of a record in API v4; anything else is refused so that a typo is told at once.
KEYS = {"id", "type", "name", "content", "ttl", "priority", "proxied", "comment", "tags"}
KEYS |= {"data", "settings", "private_routing"}
HOST = re.compile(
    r"^(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$"
)
MAX_WIRE = 4096  # Bytes of one record's data.
MAX_SET = 8192  # Characters of all content under one name and type.

Record = dict[str, Any]


def read(body: Any, zone: str) -> Record:
    """A complete record from a POST or PUT body; refuses with the API's own codes."""
    fields = _known(body)
    for name in ("type", "name"):
        if not isinstance(fields.get(name), str) or not fields[name].strip():
            raise Refused(400, 9207 if name == "type" else 9000, f"{name} is required", f"/{name}")
    kind = fields["type"].strip().upper()
    if kind not in TYPES:
        raise Refused(400, 9110, f"Invalid record type {kind}.", "/type")
    record: Record = {
        "name": _name(fields["name"], zone),
        "type": kind,
        "content": _content(kind, fields),
        "proxiable": kind in PROXIABLE,
        "proxied": _proxied(kind, fields),
        "ttl": _ttl(fields),
        "settings": fields.get("settings") or {},
        "meta": {},
        "comment": _comment(fields),
        "tags": fields.get("tags") or [],
    }
    if kind == "MX":
        record["priority"] = _priority(fields.get("priority"))
    elif kind == "SRV":
        record["data"] = fields["data"]
        record["priority"] = fields["data"]["priority"]
    elif kind == "CAA":
        record["data"] = _caa_data(record["content"])
    return record


def patched(record: Record, body: Any, zone: str) -> Record:
    """`record` with the keys of a PATCH body laid over it."""
    writable = ("type", "name", "content", "ttl", "priority", "proxied", "comment", "tags", "data")
    before = {key: record[key] for key in writable if key in record}
    changes = _known(body)
    if "content" in changes:
        # The parsed form follows the content that was sent, not the one that was there.
        before.pop("data", None)
    return read({**before, **changes}, zone)


def conflict(record: Record, others: Mapping[str, Record]) -> None:
    """Refuse what may not stand beside `others` (81053, 81054, 81057, 81058, 8192 characters)."""
    same = [other for other in others.values() if other["name"] == record["name"]]
    kinds = {other["type"] for other in same}
    if record["type"] == "CNAME" and kinds & set(PROXIABLE):
        identical(record, same)
        raise Refused(400, 81053, "An A, AAAA, or CNAME record with that host already exists.")
    if record["type"] in {"A", "AAAA"} and "CNAME" in kinds:
        raise Refused(400, 81054, "A CNAME record with that host already exists.")
    identical(record, same)
    size = sum(
        len(other["content"])
        for other in [*same, record]
        if other is record or other["type"] == record["type"]
    )
    if size > MAX_SET:
        message = "The combined content of this name and type is longer than 8192 characters."
        raise Refused(400, 9101, message, "/content")


def identical(record: Record, same: list[Record]) -> None:
    for other in same:
        if key(other) != key(record):
            continue
        settings = ("ttl", "proxied", "priority", "comment")
        if all(other.get(name) == record.get(name) for name in settings):
            raise Refused(400, 81058, "An identical record already exists.")
        raise Refused(400, 81057, "The record already exists.")


def key(record: Record) -> tuple[str, str, bytes, object]:
    """What makes two records the same one."""
    content: str = record["content"]
    meaning = txt.meaning(content) if record["type"] == "TXT" else content.lower().encode()
    return record["name"], record["type"], meaning, record.get("priority")


def _known(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise Refused(400, 9207, "Request body is invalid.")
    unknown = sorted(set(body) - KEYS)
    if unknown:
        raise Refused(400, 9207, f"Request body is invalid: unknown key {unknown[0]!r}.")
    return dict(body)


def _name(text: str, zone: str) -> str:
    name = text.strip().lower().rstrip(".")
    if name in {"", "@"}:
        return zone
    if name != zone and not name.endswith("." + zone):
        # A name outside of the zone is read as relative to it.
        name = f"{name}.{zone}"
    if not HOST.match(name) or len(name) > 253:
        raise Refused(400, 9000, "DNS name is invalid.", "/name")
    return name


def _content(kind: str, fields: dict[str, Any]) -> str:
    if kind == "SRV":
        return _srv(fields)
    content: object
    if kind == "CAA" and isinstance(fields.get("data"), dict):
        data = fields["data"]
        content = f'{data.get("flags", 0)} {data.get("tag")} "{data.get("value")}"'
    else:
        content = fields.get("content") or ""
    if not isinstance(content, str) or not content.strip():
        raise Refused(400, 9207, f"Content for {kind} record is required.", "/content")
    content = content if kind == "TXT" else content.strip()
    if kind in {"A", "AAAA"}:
        return _address(kind, content)
    if kind in HOST_TYPES:
        return _host(kind, content)
    if kind == "CAA":
        _caa_data(content)
        return content
    return _text(content)


def _address(kind: str, content: str) -> str:
    version = 4 if kind == "A" else 6
    try:
        return str((ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address)(content))
    except ValueError as error:
        code = 9005 if version == 4 else 9006
        message = f"Content for {kind} record must be a valid IPv{version} address."
        raise Refused(400, code, message, "/content") from error


def _host(kind: str, content: str) -> str:
    if kind == "MX" and content == ".":
        return content  # The null MX of RFC 7505.
    host = content.lower().rstrip(".")
    if not HOST.match(host) or host.startswith("*"):
        code = {"CNAME": 9007, "MX": 9009, "NS": 9010, "PTR": 9017}[kind]
        raise Refused(400, code, f"Content for {kind} record is invalid.", "/content")
    return host


def _text(content: str) -> str:
    try:
        parts = txt.strings(content)
    except ValueError as error:
        raise Refused(
            400, 9101, f"Content for TXT record is invalid. {error}", "/content"
        ) from error
    if sum(len(part) + 1 for part in parts) > MAX_WIRE:
        raise Refused(400, 9101, "Content for TXT record is longer than 4096 bytes.", "/content")
    return content


def _srv(fields: dict[str, Any]) -> str:
    data = fields.get("data")
    wanted = ("priority", "weight", "port", "target")
    if not isinstance(data, dict) or any(name not in data for name in wanted):
        raise Refused(400, 9101, "data of an SRV record has priority, weight, port and target.")
    return f"{data['weight']} {data['port']} {data['target']}"


def _caa_data(content: str) -> dict[str, Any]:
    found = re.match(r'^(\d{1,3})\s+([a-z0-9]+)\s+"([^"]*)"$', content)
    if found is None or int(found[1]) > 255:
        raise Refused(400, 9101, "Content for CAA record is invalid.", "/content")
    return {"flags": int(found[1]), "tag": found[2], "value": found[3]}


def _proxied(kind: str, fields: dict[str, Any]) -> bool:
    proxied = fields.get("proxied", False)
    if not isinstance(proxied, bool):
        raise Refused(400, 9003, "Invalid 'proxied' value, must be a boolean.", "/proxied")
    if proxied and kind not in PROXIABLE:
        raise Refused(400, 9004, "This record type cannot be proxied.", "/proxied")
    return proxied


def _ttl(fields: dict[str, Any]) -> int:
    ttl = fields.get("ttl", 1)
    if (
        isinstance(ttl, bool)
        or not isinstance(ttl, int | float)
        or not (ttl == 1 or 60 <= ttl <= 86400)
    ):
        message = "Invalid TTL. Must be between 60 and 86400 seconds, or 1 for Automatic."
        raise Refused(400, 9021, message, "/ttl")
    return int(ttl)


def _priority(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 65535:
        raise Refused(400, 9100, "priority is required and between 0 and 65535.", "/priority")
    return int(value)


def _comment(fields: dict[str, Any]) -> str | None:
    comment = fields.get("comment")
    if comment is not None and (not isinstance(comment, str) or len(comment) > 500):
        raise Refused(400, 9301, "comment is a text of at most 500 characters.", "/comment")
    return comment or None
