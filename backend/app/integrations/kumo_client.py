"""KumoMTA: the directory its nodes read in Redis, and the admin API of every node.

Suspensions live in one node's memory and end after `duration`: 30 days here, longer than any
message waits in a queue (7 days). New mail is refused by the kill set in Redis, which never ends.
Source: kumod's HTTP API (/api/admin/suspend/v1, bump-config-epoch, rebind/v1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
from redis import Redis
from redis.exceptions import RedisError

from app.errors import ProviderFailed, ProviderUnavailable
from app.integrations.ports import InboxEntry, NodeState

BLOCK = 500
"""Inboxes written in one round trip."""

NODE_TIMEOUT = httpx.Timeout(2.0, connect=1.0)
SUSPENSION = "30 days"
KILLED = "ig:killed"


class KumoClient:
    """`admin_urls` names every node; an order counts as done when all of them took it."""

    def __init__(
        self,
        *,
        http: httpx.Client,
        redis: Redis,
        admin_urls: Sequence[str],
        admin_token: str,
        timeout: httpx.Timeout = NODE_TIMEOUT,
    ) -> None:
        if not admin_urls:
            # Without nodes every order, the kill switch too, would count as obeyed.
            raise ValueError("KUMO_ADMIN_URLS names no node.")
        self._http, self._redis, self._timeout = http, redis, timeout
        self._nodes = [url.rstrip("/") for url in admin_urls]
        self._headers = {"Authorization": f"Bearer {admin_token}"}

    # Directory ----------------------------------------------------------------------------------

    def publish_inboxes(self, entries: Sequence[InboxEntry]) -> None:
        for start in range(0, len(entries), BLOCK):
            with _redis_errors():
                pipeline = self._redis.pipeline(transaction=False)
                for entry in entries[start : start + BLOCK]:
                    pipeline.hset(_inbox(entry.username), mapping=_fields(entry))
                pipeline.execute()

    def remove_inboxes(self, usernames: Sequence[str]) -> None:
        with _redis_errors():
            if usernames:
                self._redis.delete(*(_inbox(name) for name in usernames))

    def directory(self, usernames: Sequence[str]) -> dict[str, InboxEntry]:
        with _redis_errors():
            pipeline = self._redis.pipeline(transaction=False)
            for name in usernames:
                pipeline.hgetall(_inbox(name))
            rows: list[dict[str, str]] = pipeline.execute()
        found = (_entry(name, row) for name, row in zip(usernames, rows, strict=True))
        return {entry.username: entry for entry in found if entry is not None}

    def add_relay(self, domain: str, *, tenant_id: str, selector: str) -> None:
        with _redis_errors():
            self._redis.hset(
                f"ig:domain:{domain}",
                mapping={"tenant": tenant_id, "selector": selector, "status": "active"},
            )

    def remove_relay(self, domain: str) -> None:
        with _redis_errors():
            self._redis.delete(f"ig:domain:{domain}")

    def suppress(self, tenant_id: str, targets: Sequence[str]) -> None:
        with _redis_errors():
            if targets:
                self._redis.sadd(f"ig:suppressed:{tenant_id}", *targets)

    def unsuppress(self, tenant_id: str, targets: Sequence[str]) -> None:
        with _redis_errors():
            if targets:
                self._redis.srem(f"ig:suppressed:{tenant_id}", *targets)

    # Nodes --------------------------------------------------------------------------------------

    def reload(self) -> None:
        self._on_every_node(lambda node: self._call(node, "POST", "bump-config-epoch"))

    def kill_tenant(self, tenant_id: str, *, reason: str) -> None:
        order = {
            "tenant": tenant_id,
            "reason": f"ig:kill:{tenant_id}:{reason}",
            "duration": SUSPENSION,
        }
        try:
            # Redis first: it stops logins and open sessions everywhere at once.
            with _redis_errors():
                self._redis.sadd(KILLED, f"t:{tenant_id}")
        finally:
            # Without Redis the nodes can still hold what is queued; the caller hears of both.
            self._on_every_node(lambda node: self._call(node, "POST", "suspend/v1", order))

    def revive_tenant(self, tenant_id: str) -> None:
        with _redis_errors():
            self._redis.srem(KILLED, f"t:{tenant_id}")
        self._on_every_node(lambda node: self._revive(node, tenant_id))

    def killed_tenants(self) -> set[str]:
        with _redis_errors():
            members = {str(member) for member in self._redis.smembers(KILLED)}
        return {member[2:] for member in members if member.startswith("t:")}

    def nodes(self) -> list[NodeState]:
        with ThreadPoolExecutor(len(self._nodes)) as pool:
            return list(pool.map(self._state, self._nodes))

    def _state(self, node: str) -> NodeState:
        try:
            held = self._held(node)
        except (ProviderFailed, ProviderUnavailable) as error:
            why = str(error.details.get("reason", error.message))
            return NodeState(node, reachable=False, suspensions=None, detail=why)
        return NodeState(node, reachable=True, suspensions=len(held))

    def _revive(self, node: str, tenant_id: str) -> None:
        for entry in self._held(node):
            if entry.get("tenant") == tenant_id and str(entry.get("reason")).startswith("ig:"):
                self._call(node, "DELETE", "suspend/v1", {"id": entry["id"]})
        # What waited was put off for up to hours at each try; this makes it due now.
        flush = {"tenant": tenant_id, "data": {}, "always_flush": True, "reason": "ig:resume"}
        self._call(node, "POST", "rebind/v1", flush)

    def _on_every_node(self, order: Callable[[str], object]) -> None:
        """Give the order to all nodes at once; raises for the nodes that did not take it."""

        def attempt(node: str) -> str | None:
            try:
                order(node)
            except (ProviderFailed, ProviderUnavailable) as error:
                return f"{node}: {error.details.get('reason')}"
            return None

        with ThreadPoolExecutor(len(self._nodes)) as pool:
            failures = [why for why in pool.map(attempt, self._nodes) if why is not None]
        if failures:
            # A node that says no is tried again as well: a kill order must not be given up.
            told = "; ".join(failures)
            raise ProviderUnavailable(provider=f"KumoMTA ({told})", reason=told)

    def _call(self, node: str, method: str, path: str, body: Any = None) -> Any:
        try:
            answer = self._http.request(
                method,
                f"{node}/api/admin/{path}",
                json=body,
                headers=self._headers,
                timeout=self._timeout,
                follow_redirects=False,
            )
        except httpx.HTTPError as error:
            raise ProviderUnavailable(provider="KumoMTA", reason=type(error).__name__) from error
        if answer.is_success:
            return _json(answer) if answer.content[:1] in (b"{", b"[") else None
        if method == "DELETE" and answer.status_code == httpx.codes.NOT_FOUND:
            return None  # It ran out meanwhile, which is what was wanted.
        kind = ProviderUnavailable if answer.is_server_error else ProviderFailed
        raise kind(provider="KumoMTA", reason=f"{answer.status_code} {answer.text[:200]}")

    def _held(self, node: str) -> list[dict[str, Any]]:
        """The suspensions of a node."""
        held = self._call(node, "GET", "suspend/v1")
        if not isinstance(held, list):
            raise ProviderUnavailable(provider="KumoMTA", reason="no list of suspensions")
        return [entry for entry in held if isinstance(entry, dict)]


class _redis_errors:
    """Redis that is away is a provider that is away."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, RedisError):
            raise ProviderUnavailable(provider="Redis", reason=type(error).__name__) from error


def _inbox(username: str) -> str:
    return f"ig:inbox:{username}"


def _fields(entry: InboxEntry) -> dict[Any, Any]:
    return {
        "inbox": entry.inbox_id,
        "tenant": entry.tenant_id,
        "domain": entry.domain,
        "email": entry.email,
        "h": entry.password_hmac,
        "status": entry.status,
        "day_limit": str(entry.daily_limit),
        "month_limit": str(entry.monthly_limit),
        "hour_limit": str(entry.hourly_limit),
        "domain_limit": str(entry.recipient_domain_limit),
    }


def _entry(username: str, row: dict[str, str]) -> InboxEntry | None:
    """None for a row that nobody of us wrote whole, so that it is written anew."""
    try:
        return InboxEntry(
            username=username,
            inbox_id=row["inbox"],
            tenant_id=row["tenant"],
            domain=row["domain"],
            email=row["email"],
            password_hmac=row["h"],
            status=row["status"],
            daily_limit=int(row["day_limit"]),
            monthly_limit=int(row["month_limit"]),
            hourly_limit=int(row["hour_limit"]),
            recipient_domain_limit=int(row["domain_limit"]),
        )
    except (KeyError, ValueError):
        return None


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError as error:
        raise ProviderUnavailable(provider="KumoMTA", reason="a damaged answer") from error
