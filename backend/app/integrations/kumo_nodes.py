"""The admin API of every KumoMTA node: orders to all at once, and what became of them.

kumod has no cluster: an order counts only on the node that took it, and is forgotten when that node
restarts. So each node's acknowledgement is kept in Redis (`ig:node:{url}`), and `align` puts back
what a node forgot. Losing those notes costs nothing: a node of which nothing is known is treated
like one that restarted. Source: kumod's HTTP API (suspend/v1, bounce/v1, rebind/v1, machine-info).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

import httpx
from redis import Redis
from redis.exceptions import RedisError

from app import clock
from app.errors import ProviderFailed, ProviderUnavailable
from app.integrations.ports import NodeOrder, NodeRepairs, NodeState, NodeVerdict

SUSPENSION = "30 days"
RENEW_BELOW = 7 * 86_400
"""Seconds: no message waits longer than this, so what is held now is held to its end."""

BOUNCING = "1h"
OURS = "ig:"
"""How the reasons of all our suspensions begin; others are left alone."""

_DURATION = re.compile(r"(\d{1,9}) ?([a-z]{1,7})")
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
T = TypeVar("T")


class KumoNodes:
    def __init__(
        self,
        *,
        http: httpx.Client,
        redis: Redis,
        admin_urls: Sequence[str],
        admin_token: str,
        timeout: httpx.Timeout,
    ) -> None:
        self._http, self._redis, self._timeout = http, redis, timeout
        self._urls = [url.rstrip("/") for url in admin_urls]
        # A kept connection may have been closed by the node in the meantime, and a kill order must
        # not fail of that; orders are rare enough for a new connection each.
        self._headers = {"Authorization": f"Bearer {admin_token}", "Connection": "close"}

    # Orders -------------------------------------------------------------------------------------

    def reload(self) -> None:
        self._order("reload", lambda node: self._call(node, "POST", "admin/bump-config-epoch"))

    def suspend(self, tenant_id: str, reason: str) -> None:
        body = _suspension("tenant", tenant_id, reason)
        self._order(
            f"kill {tenant_id}", lambda node: self._call(node, "POST", "admin/suspend/v1", body)
        )

    def resume(self, tenant_id: str) -> None:
        """Let the tenant's queued mail go, and take up at once what waited."""

        def order(node: str) -> None:
            for path in ("suspend", "bounce"):
                for entry in self._list(node, path):
                    if entry.get("tenant") == tenant_id and _ours(entry):
                        self._call(node, "DELETE", f"admin/{path}/v1", {"id": entry["id"]})
            # Stopped queues have a pool without sources; they are asked about anew in a new epoch.
            self._call(node, "POST", "admin/bump-config-epoch")
            self._flush(node, tenant=tenant_id)
            # A queue that was slow to see the new epoch has missed this flush; `align` repeats it.
            self._remember(node, f"flush:{tenant_id}", "once more")

        self._order(f"revive {tenant_id}", order)

    def bounce(self, tenant_id: str, reason: str) -> None:
        """Fail all queued mail of the tenant, for good, and what still arrives for an hour."""
        body = {"tenant": tenant_id, "reason": f"{OURS}bounce:{reason}", "duration": BOUNCING}
        self._order(
            f"bounce {tenant_id}", lambda node: self._call(node, "POST", "admin/bounce/v1", body)
        )

    def align(self, tenants: Set[str], inboxes: Set[str]) -> list[NodeRepairs]:
        wanted = {("tenant", id_) for id_ in tenants} | {("campaign", id_) for id_ in inboxes}
        return self._on_all(lambda node: self._align(node, wanted, tenants))

    # Questions ----------------------------------------------------------------------------------

    def states(self) -> list[NodeState]:
        return self._on_all(self._state)

    def verify(self, tenant_id: str, canary: str | None) -> list[NodeVerdict]:
        """Whether each node holds the tenant's queued mail and refuses a mail from `canary`."""
        return self._on_all(lambda node: self._verdict(node, tenant_id, canary))

    # One node -----------------------------------------------------------------------------------

    def _align(self, node: str, wanted: Set[tuple[str, str]], tenants: Set[str]) -> NodeRepairs:
        try:
            online_since = str(self._call(node, "GET", "machine-info").get("online_since"))
            note = self._note(node)
            restarted = note.get("online_since") != online_since
            held = {_subject(entry): entry for entry in self._list(node, "suspend") if _ours(entry)}
            fresh = {key for key, entry in held.items() if _seconds(entry) > RENEW_BELOW}
            missing = sorted(wanted - fresh)
            for kind, id_ in missing:
                body = _suspension(kind, id_, "reconciled")
                self._call(node, "POST", "admin/suspend/v1", body)
            # Only now may a hold on everybody end that a node without any list gave itself.
            stale = [key for key in held if key not in wanted]
            for kind, id_ in stale:
                entry = held[kind, id_]
                self._call(node, "DELETE", "admin/suspend/v1", {"id": entry["id"]})
                self._flush(node, **({kind: id_} if kind else {}))
            for field in note:
                kind, _, tenant_id = field.partition(":")
                if kind == "flush":
                    if tenant_id not in tenants:
                        self._flush(node, tenant=tenant_id)
                    self._forget(node, field)
        except (ProviderFailed, ProviderUnavailable) as error:
            self._keep(node, "align", _why(error))
            return NodeRepairs(node, reachable=False)
        self._keep(node, "align", None)
        self._remember(node, "online_since", online_since)
        return NodeRepairs(node, True, restarted, len(missing), len(stale))

    def _state(self, node: str) -> NodeState:
        orders = _orders(self._note(node))
        try:
            held = self._list(node, "suspend")
            info = self._call(node, "GET", "machine-info")
        except (ProviderFailed, ProviderUnavailable) as error:
            return NodeState(node, False, None, _why(error), orders=orders)
        since = str(info.get("online_since")) if isinstance(info, dict) else None
        return NodeState(node, True, len(held), online_since=since, orders=orders)

    def _verdict(self, node: str, tenant_id: str, canary: str | None) -> NodeVerdict:
        try:
            held = any(
                _subject(entry) == ("tenant", tenant_id) for entry in self._list(node, "suspend")
            )
            refuses = canary is None or self._refuses(node, canary)
        except (ProviderFailed, ProviderUnavailable) as error:
            return NodeVerdict(node, holds=False, refuses=False, detail=_why(error))
        return NodeVerdict(node, holds=held, refuses=refuses)

    def _refuses(self, node: str, sender: str) -> bool:
        """Hand in a mail that must not be taken; its recipient cannot exist (RFC 2606)."""
        body = {
            "envelope_sender": sender,
            "recipients": [{"email": "canary@inboxgrove.invalid"}],
            "content": f"From: {sender}\r\nSubject: canary\r\n\r\nThis mail must be refused.\r\n",
        }
        answer = self._call(node, "POST", "inject/v1", body)
        errors = " ".join(str(error) for error in answer.get("errors", []))
        return answer.get("success_count") == 0 and "5.7.1" in errors

    def _flush(self, node: str, **criteria: str) -> None:
        # What waited was put off for up to hours at each try; this makes it due now.
        body = {**criteria, "data": {}, "always_flush": True, "reason": "ig:resume"}
        self._call(node, "POST", "admin/rebind/v1", body)

    def _list(self, node: str, what: str) -> list[dict[str, Any]]:
        held = self._call(node, "GET", f"admin/{what}/v1")
        if not isinstance(held, list):
            raise ProviderUnavailable(provider="KumoMTA", reason=f"no list of {what} rules")
        return [entry for entry in held if isinstance(entry, dict)]

    def _call(self, node: str, method: str, path: str, body: Any = None) -> Any:
        try:
            answer = self._http.request(
                method,
                f"{node}/api/{path}",
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

    # All nodes, and their notes -----------------------------------------------------------------

    def _on_all(self, work: Callable[[str], T]) -> list[T]:
        with ThreadPoolExecutor(len(self._urls)) as pool:
            return list(pool.map(work, self._urls))

    def _order(self, name: str, order: Callable[[str], object]) -> None:
        """Give the order to all nodes at once; raises for the nodes that did not take it."""

        def attempt(node: str) -> str | None:
            try:
                order(node)
            except (ProviderFailed, ProviderUnavailable) as error:
                self._keep(node, name, _why(error))
                return f"{node}: {error.details.get('reason')}"
            self._keep(node, name, None)
            return None

        failures = [why for why in self._on_all(attempt) if why is not None]
        if failures:
            # A node that says no is tried again as well: a kill order must not be given up.
            told = "; ".join(failures)
            raise ProviderUnavailable(provider=f"KumoMTA ({told})", reason=told)

    def _keep(self, node: str, name: str, failure: str | None) -> None:
        """Note what became of the last order about a subject."""
        verb, _, subject = name.partition(" ")
        note = {"order": name, "at": clock.now().isoformat(), "failure": failure}
        self._remember(node, f"order:{subject or verb}", json.dumps(note))

    def _remember(self, node: str, field: str, value: str) -> None:
        # The order itself was given or refused; without a note it is given again by `align`.
        with suppress(RedisError):
            self._redis.hset(f"ig:node:{node}", field, value)

    def _forget(self, node: str, field: str) -> None:
        with suppress(RedisError):
            self._redis.hdel(f"ig:node:{node}", field)

    def _note(self, node: str) -> dict[str, str]:
        try:
            note = self._redis.hgetall(f"ig:node:{node}")
        except RedisError:
            return {}
        return {str(field): str(value) for field, value in note.items()}


def _suspension(kind: str, id_: str, reason: str) -> dict[str, str]:
    return {kind: id_, "reason": f"{OURS}kill:{id_}:{reason}", "duration": SUSPENSION}


def _ours(entry: dict[str, Any]) -> bool:
    return str(entry.get("reason")).startswith(OURS)


def _subject(entry: dict[str, Any]) -> tuple[str, str]:
    """What a suspension is about; ("", "") for everybody."""
    for kind in ("campaign", "tenant"):
        if entry.get(kind):
            return kind, str(entry[kind])
    return "", ""


def _seconds(entry: dict[str, Any]) -> int:
    """How long a suspension still lasts; kumod writes "29days 23h 59m 3s"."""
    pieces = _DURATION.findall(str(entry.get("duration"))[:100])
    return sum(int(n) * _UNITS.get(unit[0], 0) for n, unit in pieces if unit not in {"ms", "us"})


def _orders(note: dict[str, str]) -> tuple[NodeOrder, ...]:
    """The latest first."""
    kept = [json.loads(value) for field, value in note.items() if field.startswith("order:")]
    kept.sort(key=lambda order: str(order["at"]), reverse=True)
    return tuple(
        NodeOrder(order["order"], order["failure"] is None, order["at"], order["failure"])
        for order in kept
    )


def _why(error: ProviderFailed | ProviderUnavailable) -> str:
    return str(error.details.get("reason", error.message))


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError as error:
        raise ProviderUnavailable(provider="KumoMTA", reason="a damaged answer") from error
