"""Cloudflare DNS, API v4: zones and records.

Writes are never repeated blindly: Cloudflare takes no idempotency keys. A record of ours carries
the comment `inboxgrove:<purpose>`; only such records are ever changed or deleted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import stamina

from app.errors import OutcomeUnknown, ProviderFailed, ProviderUnavailable
from app.integrations.namecheap_limits import RateLimit
from app.integrations.ports import DNSRecord, Zone

PROVIDER = "Cloudflare"
MARK = "inboxgrove:"
PAGE = 100
TXT_CHUNK = 255
"""Octets of one character-string (RFC 1035, 3.3.14)."""

ZONE_EXISTS = 1061
TOO_MANY_PENDING = frozenset({1118})
"""The account has as many zones without their delegation as it may."""

PENDING_SECONDS = 300
OVERTAKEN = frozenset({81044, 81053, 81057, 81058})
"""The records are not as they were when we looked: one is gone, or stands there already."""

NO_SUCH_ZONE = frozenset({1001, 7003})

TIMEOUT = httpx.Timeout(15.0, connect=3.0)
Record = dict[str, Any]


class CloudflareClient:
    """`token` needs Zone:Edit and DNS:Edit on all zones of the account."""

    def __init__(
        self,
        *,
        http: httpx.Client,
        url: str,
        token: str,
        account_id: str,
        timeout: httpx.Timeout = TIMEOUT,
        limit: RateLimit | None = None,
        pending_zones: int | None = None,
    ) -> None:
        """`limit` is shared by all who use the token; `pending_zones` caps those that wait."""
        self._http, self._url, self._account_id = http, url.rstrip("/"), account_id
        self._headers = {"Authorization": f"Bearer {token}"}
        self._timeout, self._limit, self._pending = timeout, limit, pending_zones

    def ensure_zone(self, domain_name: str) -> Zone:
        found = self._find_zone(domain_name)
        if found is not None:
            return found
        self._wait_for_room()
        body = {"name": domain_name, "account": {"id": self._account_id}, "type": "full"}
        try:
            return _zone(self._write("/zones", body))
        except ProviderFailed as error:
            if TOO_MANY_PENDING & set(_codes(error)):
                raise _full(error.details["reason"]) from error
            # Somebody, perhaps we in a call whose answer was lost, made it meanwhile.
            found = self._find_zone(domain_name) if ZONE_EXISTS in _codes(error) else None
            if found is None:
                raise
            return found

    def get_zone(self, zone_id: str) -> Zone:
        return _zone(self._read(f"/zones/{zone_id}"))

    def apply(self, zone_id: str, wanted: Sequence[DNSRecord]) -> int:
        """All in one call, which Cloudflare carries out as a whole or not at all."""
        batch = plan(self._records(zone_id), wanted)
        if not batch:
            return 0
        try:
            self._write(f"/zones/{zone_id}/dns_records/batch", batch)
        except ProviderFailed as error:
            if not OVERTAKEN & set(_codes(error)):
                raise
            # What stands there decides: our own record, put there meanwhile, is no conflict.
            seen, batch = batch, plan(self._records(zone_id), wanted)
            if batch == seen:
                raise
            if batch:
                self._write(f"/zones/{zone_id}/dns_records/batch", batch)
        return sum(len(step) for step in batch.values())

    def remove_zone(self, zone_id: str) -> bool:
        try:
            self.apply(zone_id, [])
            if self._records(zone_id):
                return False
            self._send("DELETE", f"/zones/{zone_id}", OutcomeUnknown)
        except ProviderFailed as error:
            if not NO_SUCH_ZONE & set(_codes(error)):
                raise
        return True

    def _wait_for_room(self) -> None:
        """Cloudflare caps zones without their delegation, and at which number it says nobody."""
        if self._pending is None:
            return
        waiting = self._pending_now()
        if waiting >= self._pending:
            raise _full(f"{waiting} zones wait for their delegation, {self._pending} may")

    def _find_zone(self, domain_name: str) -> Zone | None:
        query = {"name": domain_name, "account.id": self._account_id}
        zones = [_zone(body) for body in self._read("/zones", **query)]
        return next((zone for zone in zones if zone.name == domain_name), None)

    def _records(self, zone_id: str) -> list[Record]:
        records: list[Record] = []
        page = 1
        while True:
            found = self._read(f"/zones/{zone_id}/dns_records", per_page=PAGE, page=page)
            records += found
            if len(found) < PAGE:
                return records
            page += 1

    def _read(self, path: str, **query: str | int) -> Any:
        return self._asked(path, query).get("result")

    def _pending_now(self) -> int:
        query = {"account.id": self._account_id, "status": "pending", "per_page": "5"}
        info: Any = self._asked("/zones", query).get("result_info")
        try:
            return int(info["total_count"])
        except (KeyError, TypeError, ValueError) as error:
            reason = "a list that does not say how long it is"
            raise ProviderUnavailable(provider=PROVIDER, reason=reason) from error

    def _asked(self, path: str, query: Mapping[str, str | int]) -> Record:
        for attempt in stamina.retry_context(on=_worth_repeating, attempts=3, wait_max=2.0):
            with attempt:
                body = self._send("GET", path, ProviderUnavailable, params=query)
        return body

    def _write(self, path: str, body: Any) -> Any:
        # Never repeated here: when the answer is lost, the next run looks before it acts.
        return self._send("POST", path, OutcomeUnknown, json=body).get("result")

    def _send(
        self, method: str, path: str, lost: type[ProviderUnavailable], **options: Any
    ) -> Record:
        """The whole answer; `lost` is raised when it is not known what happened."""
        if self._limit is not None:
            self._limit.take()
        try:
            answer = self._http.request(
                method,
                f"{self._url}{path}",
                headers=self._headers,
                timeout=self._timeout,
                follow_redirects=False,
                **options,
            )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            # Nothing was sent, so nothing happened.
            raise ProviderUnavailable(provider=PROVIDER, reason=type(error).__name__) from error
        except httpx.HTTPError as error:
            raise lost(provider=PROVIDER, reason=type(error).__name__) from error
        if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
            # Five minutes of refusal follow; asking within them is of no use.
            wait = answer.headers.get("retry-after", "")
            seconds = int(wait) if wait.isdecimal() else 300
            raise ProviderUnavailable(
                provider=PROVIDER, reason="rate limit", retry_after=min(seconds, 3600)
            )
        if answer.is_server_error:
            raise lost(provider=PROVIDER, reason=f"HTTP {answer.status_code}")
        try:
            body = answer.json()
        except ValueError as error:
            raise lost(provider=PROVIDER, reason="an answer that is no JSON") from error
        if not isinstance(body, dict):
            raise lost(provider=PROVIDER, reason="an answer that is no object")
        # The status of HTTP may say 200 while the body says no.
        if body.get("success") is not True:
            raise _refusal(answer.status_code, body.get("errors"))
        return body


def _full(why: str) -> ProviderUnavailable:
    """No room for another zone; delegations take minutes to hours to be seen."""
    return ProviderUnavailable(provider=PROVIDER, reason=why[:500], retry_after=PENDING_SECONDS)


def _worth_repeating(error: Exception) -> bool:
    return isinstance(error, ProviderUnavailable) and "retry_after" not in error.details


def _refusal(status: int, told: Any) -> ProviderFailed:
    found = [e for e in told if isinstance(e, dict)] if isinstance(told, list) else []
    reason = "; ".join(f"{e.get('code')} {e.get('message')}" for e in found) or f"HTTP {status}"
    codes = [int(str(e["code"])) for e in found if str(e.get("code")).isdecimal()]
    return ProviderFailed(provider=PROVIDER, reason=reason[:500], codes=codes)


def plan(seen: Sequence[Record], wanted: Sequence[DNSRecord]) -> dict[str, list[Record]]:
    """The batch that makes our own records exactly `wanted`; {} when they are.

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
    """`"chunk" "chunk"`, each at most 255 octets; \\DDD for what is no printable ASCII."""
    raw = text.encode()
    chunks = [raw[i : i + TXT_CHUNK] for i in range(0, len(raw), TXT_CHUNK)] or [b""]
    return " ".join(f'"{"".join(map(_escaped, chunk))}"' for chunk in chunks)


def _escaped(octet: int) -> str:
    """RFC 1035, 5.1."""
    if octet in b'"\\':
        return "\\" + chr(octet)
    return chr(octet) if 32 <= octet < 127 else f"\\{octet:03d}"


def join_txt(content: str) -> str:
    """The text of TXT content, whether it was echoed in quoted chunks or plain."""
    if not content.startswith('"'):
        return content
    # A chunk that nobody closes goes on to the end, so that no part is looked at twice.
    chunks = re.findall(r'"((?:[^"\\]|\\.?)*+)(?:"|\Z)', content, re.DOTALL)
    return b"".join(_octets(chunk) for chunk in chunks).decode("utf-8", "replace")


def _octets(chunk: str) -> bytes:
    parts = re.findall(r"\\([0-9]{3})|\\(.)|([^\\]+)", chunk, re.DOTALL)
    return b"".join(
        bytes([int(number) & 255]) if number else (char or plain).encode()
        for number, char, plain in parts
    )


def _key(record: Record) -> tuple[object, ...]:
    content = str(record.get("content") or "")
    content = join_txt(content) if record["type"] == "TXT" else content.rstrip(".").lower()
    priority = record.get("priority") if record["type"] == "MX" else None
    return (record["type"], str(record["name"]).lower().rstrip("."), content, priority)


def _wanted_key(record: DNSRecord) -> tuple[object, ...]:
    content = record.content if record.type == "TXT" else record.content.rstrip(".").lower()
    return (record.type, record.name.lower(), content, record.priority)


def _zone(body: Any) -> Zone:
    try:
        return Zone(
            id=body["id"],
            name=body["name"],
            status=body["status"],
            name_servers=tuple(str(server).lower() for server in body.get("name_servers") or ()),
        )
    except (KeyError, TypeError) as error:
        raise ProviderUnavailable(provider=PROVIDER, reason="an answer without a zone") from error


def _codes(error: ProviderFailed) -> list[int]:
    return list(error.details.get("codes", []))
