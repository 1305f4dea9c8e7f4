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
from dataclasses import dataclass
from itertools import repeat
from typing import Any, TypeVar

import httpx
from redis import Redis
from redis.exceptions import RedisError

from app import clock
from app.errors import ProviderFailed, ProviderUnavailable
from app.integrations.calls import in_context
from app.integrations.kumo_api import NodeAPI
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
Subject = tuple[str, str]
"""Whose mail an order is about: ("tenant", id), or ("campaign", id) for one inbox."""


@dataclass(frozen=True)
class _Look:
    url: str
    online_since: str | None
    """None for a node that did not answer."""
    node_id: str | None
    held: dict[Subject, dict[str, Any]]
    """Our suspensions, by whom they hold."""


class KumoNodes:
    """`urls` names the nodes of the moment; it is asked at every order, because they change."""

    def __init__(
        self,
        *,
        http: httpx.Client,
        redis: Redis,
        urls: Callable[[], Sequence[str]],
        admin_token: str,
        timeout: httpx.Timeout,
    ) -> None:
        self._redis, self._urls = redis, urls
        self._api = NodeAPI(http=http, token=admin_token, timeout=timeout)

    # Orders -------------------------------------------------------------------------------------

    def reload(self) -> None:
        self._order("reload", lambda node: self._api.call(node, "POST", "admin/bump-config-epoch"))

    def suspend(self, subject: Subject, reason: str) -> None:
        """Hold all queued mail of a tenant or of one inbox."""
        body = _suspension(subject, reason)
        self._order(
            f"kill {subject[1]}",
            lambda node: self._api.call(node, "POST", "admin/suspend/v1", body),
        )

    def resume(self, subject: Subject) -> None:
        """Let queued mail go, and take up at once what waited."""
        kind, id_ = subject

        def order(node: str) -> None:
            held = 0
            for what in ("suspend", "bounce"):
                for entry in self._api.rules(node, what):
                    if _subject(entry) == subject and _ours(entry):
                        self._api.call(node, "DELETE", f"admin/{what}/v1", {"id": entry["id"]})
                        held += 1
            if kind == "campaign" and not held:
                return  # It only has a new password, say; an epoch costs every queue of the node.
            # Stopped queues have a pool without sources; they are asked about anew in a new epoch.
            self._api.call(node, "POST", "admin/bump-config-epoch")
            self._api.flush(node, **{kind: id_})
            # A queue that was slow to see the new epoch has missed this flush; `align` repeats it.
            self._remember(node, f"flush:{id_}", kind)

        self._order(f"revive {id_}", order)

    def bounce(self, subject: Subject, reason: str) -> None:
        """Fail all queued mail, for good, and what still arrives for an hour."""
        kind, id_ = subject
        body = {kind: id_, "reason": f"{OURS}bounce:{reason}", "duration": BOUNCING}
        self._order(
            f"bounce {id_}", lambda node: self._api.call(node, "POST", "admin/bounce/v1", body)
        )

    def align(self, wanted: Callable[[], Set[Subject]]) -> list[NodeRepairs]:
        """Look at all nodes, then ask what is wanted, then give orders.

        In this order, because what a node was told has been decided before it was told: a
        suspension that is held and not wanted by now is over, and none is too young to be known.
        """
        looks = self._on_all(self._look)
        now = wanted()
        with ThreadPoolExecutor(len(looks)) as pool:
            return list(pool.map(in_context(self._align), looks, repeat(now)))

    # Questions ----------------------------------------------------------------------------------

    def probe(self, node: str) -> NodeState:
        """A node that may not be among ours. Raises as NodeAPI does."""
        info = self._api.info(node)
        held = self._api.rules(node, "suspend")
        return NodeState(
            node,
            True,
            len(held),
            node_id=_text(info.get("node_id")),
            online_since=_text(info["online_since"]),
            queued=self._api.queued(node),
            orders=_orders(self._note(node)),
        )

    def states(self) -> list[NodeState]:
        return self._on_all(self._state)

    def verify(self, subject: Subject, canary: str | None) -> list[NodeVerdict]:
        """Whether each node holds the queued mail and refuses a mail from `canary`."""
        return self._on_all(lambda node: self._verdict(node, subject, canary))

    def forget(self, node: str) -> None:
        """Drop what is kept about a node that is gone."""
        with suppress(RedisError):
            self._redis.delete(f"ig:node:{node}")

    # One node -----------------------------------------------------------------------------------

    def _look(self, node: str) -> _Look:
        try:
            info = self._api.info(node)
            held = {_subject(e): e for e in self._api.rules(node, "suspend") if _ours(e)}
        except (ProviderFailed, ProviderUnavailable) as error:
            self._keep(node, "align", _why(error))
            return _Look(node, None, None, {})
        return _Look(node, str(info["online_since"]), _text(info.get("node_id")), held)

    def _align(self, look: _Look, wanted: Set[Subject]) -> NodeRepairs:
        node, held = look.url, look.held
        if look.online_since is None:
            return NodeRepairs(node, reachable=False)
        try:
            note = self._note(node)
            restarted = note.get("online_since") != look.online_since
            fresh = {key for key, entry in held.items() if _seconds(entry) > RENEW_BELOW}
            missing = sorted(wanted - fresh)
            for subject in missing:
                body = _suspension(subject, "reconciled")
                self._api.call(node, "POST", "admin/suspend/v1", body)
            # Only now may a hold on everybody end that a node without any list gave itself.
            stale = [key for key in held if key not in wanted]
            for kind, id_ in stale:
                entry = held[kind, id_]
                self._api.call(node, "DELETE", "admin/suspend/v1", {"id": entry["id"]})
                self._api.flush(node, **({kind: id_} if kind else {}))
            for field, kind in note.items():
                if field.startswith("flush:"):
                    id_ = field.removeprefix("flush:")
                    if (kind, id_) not in wanted:
                        self._api.flush(node, **{kind: id_})
                    self._drop(node, field)
        except (ProviderFailed, ProviderUnavailable) as error:
            self._keep(node, "align", _why(error))
            return NodeRepairs(node, reachable=False, node_id=look.node_id)
        self._keep(node, "align", None)
        self._remember(node, "online_since", look.online_since)
        return NodeRepairs(node, True, restarted, len(missing), len(stale), look.node_id)

    def _state(self, node: str) -> NodeState:
        try:
            return self.probe(node)
        except (ProviderFailed, ProviderUnavailable) as error:
            orders = _orders(self._note(node))
            return NodeState(node, False, None, _why(error), orders=orders)

    def _verdict(self, node: str, subject: Subject, canary: str | None) -> NodeVerdict:
        try:
            held = any(_subject(entry) == subject for entry in self._api.rules(node, "suspend"))
            refuses = canary is None or self._api.refuses(node, canary)
        except (ProviderFailed, ProviderUnavailable) as error:
            return NodeVerdict(node, holds=False, refuses=False, detail=_why(error))
        return NodeVerdict(node, holds=held, refuses=refuses)

    # All nodes, and their notes -----------------------------------------------------------------

    def _on_all(self, work: Callable[[str], T]) -> list[T]:
        urls = [url.rstrip("/") for url in self._urls()]
        if not urls:
            # Without nodes every order, the kill switch too, would count as obeyed.
            raise ProviderUnavailable(provider="KumoMTA", reason="no node is known")
        with ThreadPoolExecutor(len(urls)) as pool:
            return list(pool.map(in_context(work), urls))

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

    def _drop(self, node: str, field: str) -> None:
        with suppress(RedisError):
            self._redis.hdel(f"ig:node:{node}", field)

    def _note(self, node: str) -> dict[str, str]:
        try:
            note = self._redis.hgetall(f"ig:node:{node}")
        except RedisError:
            return {}
        return {str(field): str(value) for field, value in note.items()}


def _suspension(subject: Subject, reason: str) -> dict[str, str]:
    kind, id_ = subject
    return {kind: id_, "reason": f"{OURS}kill:{id_}:{reason}", "duration": SUSPENSION}


def _ours(entry: dict[str, Any]) -> bool:
    return str(entry.get("reason")).startswith(OURS)


def _subject(entry: dict[str, Any]) -> Subject:
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


def _text(value: object) -> str | None:
    return None if value is None else str(value)
