"""Cloudflare DNS, API v4: zones and records.

Writes are never repeated blindly: Cloudflare takes no idempotency keys. A record of ours carries
the comment `inboxgrove:<purpose>`; only such records are ever changed or deleted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import httpx
import stamina

from app.errors import OutcomeUnknown, ProviderFailed, ProviderUnavailable
from app.integrations.ports import DNSRecord, Zone

PROVIDER = "Cloudflare"
MARK = "inboxgrove:"
PAGE = 100
TXT_CHUNK = 255
"""Octets of one character-string (RFC 1035, 3.3.14)."""

ZONE_EXISTS = 1061
TIMEOUT = httpx.Timeout(15.0, connect=3.0)
Record = dict[str, Any]


class CloudflareClient:
    def __init__(self, *, http: httpx.Client, url: str, token: str, account_id: str) -> None:
        self._http, self._url, self._account_id = http, url.rstrip("/"), account_id
        self._headers = {"Authorization": f"Bearer {token}"}

    def ensure_zone(self, domain_name: str) -> Zone:
        found = self._find_zone(domain_name)
        if found is not None:
            return found
        body = {"name": domain_name, "account": {"id": self._account_id}, "type": "full"}
        try:
            return _zone(self._write("POST", "/zones", body))
        except ProviderFailed as error:
            # Somebody, perhaps we in a call whose answer was lost, made it meanwhile.
            found = self._find_zone(domain_name) if ZONE_EXISTS in _codes(error) else None
            if found is None:
                raise
            return found

    def get_zone(self, zone_id: str) -> Zone:
        return _zone(self._read(f"/zones/{zone_id}")["result"])

    def apply(self, zone_id: str, wanted: Sequence[DNSRecord]) -> int:
        batch = plan(self._records(zone_id), wanted)
        changes = sum(len(step) for step in batch.values())
        if changes:
            self._write("POST", f"/zones/{zone_id}/dns_records/batch", batch)
        return changes

    def _find_zone(self, domain_name: str) -> Zone | None:
        found = self._read("/zones", name=domain_name)["result"]
        return _zone(found[0]) if found else None

    def _records(self, zone_id: str) -> list[Record]:
        records: list[Record] = []
        page = 1
        while True:
            answer = self._read(f"/zones/{zone_id}/dns_records", per_page=PAGE, page=page)
            records += answer["result"]
            if len(answer["result"]) < PAGE:
                return records
            page += 1

    @stamina.retry(on=ProviderUnavailable, attempts=3, wait_max=2.0)
    def _read(self, path: str, **query: str | int) -> Any:
        try:
            return self._send("GET", path, params=query)
        except httpx.HTTPError as error:
            raise ProviderUnavailable(provider=PROVIDER, reason=type(error).__name__) from error

    def _write(self, method: str, path: str, body: Any) -> Any:
        try:
            return self._send(method, path, json=body)["result"]
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise ProviderUnavailable(provider=PROVIDER, reason=type(error).__name__) from error
        except httpx.HTTPError as error:
            # It was sent and not answered: the next try looks before it acts.
            raise OutcomeUnknown(provider=PROVIDER, reason=type(error).__name__) from error

    def _send(self, method: str, path: str, **options: Any) -> Any:
        answer = self._http.request(
            method, f"{self._url}{path}", headers=self._headers, timeout=TIMEOUT, **options
        )
        if answer.status_code == httpx.codes.TOO_MANY_REQUESTS or answer.is_server_error:
            raise ProviderUnavailable(provider=PROVIDER, reason=f"HTTP {answer.status_code}")
        try:
            body = answer.json()
        except ValueError as error:
            raise ProviderUnavailable(provider=PROVIDER, reason="not JSON") from error
        # The status of HTTP may say 200 while the body says no.
        if body.get("success") is not True:
            told = body.get("errors") or [{"code": 0, "message": f"HTTP {answer.status_code}"}]
            raise ProviderFailed(
                provider=PROVIDER,
                reason="; ".join(f"{e.get('code')} {e.get('message')}" for e in told),
                codes=[int(e.get("code") or 0) for e in told],
            )
        return body


def plan(seen: Sequence[Record], wanted: Sequence[DNSRecord]) -> dict[str, list[Record]]:
    """The batch that makes our own records exactly `wanted`.

    A record of somebody else with the very same content counts as there; any other of theirs is
    left alone.
    """
    missing = list(wanted)
    batch: dict[str, list[Record]] = {"deletes": [], "puts": [], "posts": []}
    for record in seen:
        same = next((w for w in missing if _key(record) == _wanted_key(w)), None)
        if same is not None:
            missing.remove(same)
        elif str(record.get("comment") or "").startswith(MARK):
            batch["deletes"].append({"id": record["id"]})
    batch["posts"] = [body_of(record) for record in missing]
    return {name: items for name, items in batch.items() if items}


def body_of(record: DNSRecord) -> Record:
    """What Cloudflare is sent for one record; mail-related hosts are never proxied."""
    content = quote_txt(record.content) if record.type == "TXT" else record.content
    body: Record = {
        "type": record.type,
        "name": record.name,
        "content": content,
        "ttl": record.ttl,
        "comment": f"{MARK}{record.purpose or record.type.lower()}",
    }
    if record.priority is not None:
        body["priority"] = record.priority
    if record.type in {"A", "AAAA", "CNAME"}:
        body["proxied"] = False
    return body


def quote_txt(text: str) -> str:
    """`"chunk" "chunk"`, each at most 255 octets."""
    raw = text.encode()
    chunks = [raw[i : i + TXT_CHUNK] for i in range(0, len(raw), TXT_CHUNK)] or [b""]
    quoted = (c.decode("latin-1").replace("\\", "\\\\").replace('"', '\\"') for c in chunks)
    return " ".join(f'"{chunk}"' for chunk in quoted)


def join_txt(content: str) -> str:
    """The text of TXT content, whether it was echoed in quoted chunks or plain."""
    if not content.startswith('"'):
        return content
    return "".join(
        re.sub(r"\\(.)", r"\1", chunk) for chunk in re.findall(r'"((?:[^"\\]|\\.)*)"', content)
    )


def _key(record: Record) -> tuple[object, ...]:
    content = str(record["content"])
    content = join_txt(content) if record["type"] == "TXT" else content.rstrip(".").lower()
    priority = record.get("priority") if record["type"] == "MX" else None
    return (record["type"], str(record["name"]).lower().rstrip("."), content, priority)


def _wanted_key(record: DNSRecord) -> tuple[object, ...]:
    content = record.content if record.type == "TXT" else record.content.rstrip(".").lower()
    return (record.type, record.name.lower(), content, record.priority)


def _zone(body: Record) -> Zone:
    return Zone(
        id=body["id"],
        name=body["name"],
        status=body["status"],
        name_servers=tuple(str(server).lower() for server in body.get("name_servers") or ()),
    )


def _codes(error: ProviderFailed) -> list[int]:
    return list(error.details.get("codes", []))
