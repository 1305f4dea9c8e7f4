"""KumoMTA: the directory its nodes read in Redis, and orders to all of them.

Suspensions live in one node's memory and end after `duration`: 30 days here, longer than any
message waits in a queue (3 days). New mail is refused by the kill set in Redis, which never ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from types import TracebackType
from typing import Any
from uuid import uuid4

import httpx
from redis import Redis
from redis.exceptions import RedisError

from app.errors import ProviderUnavailable
from app.integrations.kumo_nodes import KumoNodes
from app.integrations.ports import InboxEntry, NodeRepairs, NodeState, NodeVerdict, Sent

BLOCK = 500
"""Inboxes written in one round trip."""

NODE_TIMEOUT = httpx.Timeout(2.0, connect=1.0)
KILLED = "ig:killed"

WHOLE = "!"
"""Member of the kill set that says that nothing was lost; a wiped Redis lacks it."""

DRAINING = "ig:draining"
"""Set of the `node_id`s that let nobody log in."""

RESTORING = "ig:restoring"
_MARK = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('SADD', KEYS[2], ARGV[2])
return 1
"""

DAY_TTL, MONTH_TTL = 2 * 86_400, 40 * 86_400
"""Seconds, as the policy sets them (kumomta/policy/ig/quota.lua)."""

_DRIFTED = """
local wrong = {}
for i, key in ipairs(KEYS) do
  local held = redis.call('HMGET', key, unpack(ARGV, #KEYS + 1))
  for j = 1, #held do held[j] = held[j] or '' end
  if table.concat(held, '\\n') ~= ARGV[i] then wrong[#wrong + 1] = i end
end
return wrong
"""
"""KEYS: entries. ARGV: the values of each as they should be, a line each, then the names of fields.
The answer is the places of those that are otherwise: entries are long, and nearly all are right."""

_RAISE = """
if tonumber(redis.call('GET', KEYS[1]) or '0') < tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
end
"""


class KumoClient:
    """`nodes` names every node; an order counts as done when all of them took it."""

    def __init__(
        self,
        *,
        http: httpx.Client,
        redis: Redis,
        nodes: Callable[[], Sequence[str]],
        admin_token: str,
        timeout: httpx.Timeout = NODE_TIMEOUT,
    ) -> None:
        self._redis = redis
        self._nodes = KumoNodes(
            http=http,
            redis=redis,
            urls=nodes,
            admin_token=admin_token,
            timeout=timeout,
        )

    # Directory ----------------------------------------------------------------------------------

    def publish_inboxes(self, entries: Sequence[InboxEntry]) -> None:
        for start in range(0, len(entries), BLOCK):
            with _redis_errors():
                pipeline = self._redis.pipeline(transaction=False)
                for entry in entries[start : start + BLOCK]:
                    fields: dict[Any, Any] = dict(entry.fields())
                    pipeline.hset(_inbox(entry.username), mapping=fields)
                pipeline.execute()

    def remove_inboxes(self, usernames: Sequence[str]) -> None:
        with _redis_errors():
            if usernames:
                self._redis.delete(*(_inbox(name) for name in usernames))

    def drifted(self, entries: Sequence[InboxEntry]) -> list[InboxEntry]:
        wrong: list[InboxEntry] = []
        for start in range(0, len(entries), BLOCK):
            block = entries[start : start + BLOCK]
            wanted = [entry.fields() for entry in block]
            names = list(wanted[0])
            texts = ["\n".join(fields.values()) for fields in wanted]
            keys = [_inbox(entry.username) for entry in block]
            with _redis_errors():
                found = self._redis.eval(_DRIFTED, len(keys), *keys, *texts, *names)
            wrong += [block[int(place) - 1] for place in found]
        return wrong

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

    def usernames(self) -> Iterator[list[str]]:
        for keys in self._keys("ig:inbox:*"):
            yield [key.removeprefix("ig:inbox:") for key in keys]

    def relays(self) -> dict[str, tuple[str, str] | None]:
        held: dict[str, tuple[str, str] | None] = {}
        for keys in self._keys("ig:domain:*"):
            with _redis_errors():
                pipeline = self._redis.pipeline(transaction=False)
                for key in keys:
                    pipeline.hmget(key, "tenant", "selector", "status")
                for key, (tenant, selector, status) in zip(keys, pipeline.execute(), strict=True):
                    sends = tenant and selector and status == "active"
                    held[key.removeprefix("ig:domain:")] = (tenant, selector) if sends else None
        return held

    def suppressed(self) -> dict[str, set[str]]:
        held: dict[str, set[str]] = {}
        for keys in self._keys("ig:suppressed:*"):
            with _redis_errors():
                pipeline = self._redis.pipeline(transaction=False)
                for key in keys:
                    pipeline.smembers(key)
                for key, members in zip(keys, pipeline.execute(), strict=True):
                    held[key.removeprefix("ig:suppressed:")] = set(members)
        return held

    def _keys(self, pattern: str) -> Iterator[list[str]]:
        """All keys that fit, in blocks; one that is there from begin to end is never missed."""
        cursor = 0
        while True:
            with _redis_errors():
                cursor, keys = self._redis.scan(cursor, match=pattern, count=2 * BLOCK)
            if keys:
                yield [str(key) for key in keys]
            if cursor == 0:
                return

    def is_whole(self) -> bool:
        with _redis_errors():
            return bool(self._redis.sismember(KILLED, WHOLE))

    def begin_restore(self) -> str:
        token = uuid4().hex
        with _redis_errors():
            self._redis.set(RESTORING, token)
        return token

    def end_restore(self, token: str) -> bool:
        with _redis_errors():
            return bool(self._redis.eval(_MARK, 2, RESTORING, KILLED, token, WHOLE))

    def restore_counters(self, sent: Sequence[Sent]) -> None:
        for start in range(0, len(sent), BLOCK):
            with _redis_errors():
                pipeline = self._redis.pipeline(transaction=False)
                for one in sent[start : start + BLOCK]:
                    day = f"ig:q:{one.inbox_id}:d:{one.day:%Y%m%d}"
                    month = f"ig:q:{one.inbox_id}:m:{one.day:%Y%m}"
                    pipeline.eval(_RAISE, 1, day, one.today, DAY_TTL)
                    pipeline.eval(_RAISE, 1, month, one.this_month, MONTH_TTL)
                pipeline.execute()

    # Nodes --------------------------------------------------------------------------------------

    def reload(self) -> None:
        self._nodes.reload()

    def kill_tenant(self, tenant_id: str, *, reason: str) -> None:
        try:
            # Redis first: it stops logins and open sessions everywhere at once.
            with _redis_errors():
                self._redis.sadd(KILLED, f"t:{tenant_id}")
        finally:
            # Without Redis the nodes can still hold what is queued; the caller hears of both.
            self._nodes.suspend(("tenant", tenant_id), reason)

    def revive_tenant(self, tenant_id: str) -> None:
        with _redis_errors():
            self._redis.srem(KILLED, f"t:{tenant_id}")
        self._nodes.resume(("tenant", tenant_id))

    def bounce_tenant(self, tenant_id: str, *, reason: str) -> None:
        self._nodes.bounce(("tenant", tenant_id), reason)

    def hold_inbox(self, inbox_id: str) -> None:
        self._nodes.suspend(("campaign", inbox_id), "paused")

    def release_inbox(self, inbox_id: str) -> None:
        self._nodes.resume(("campaign", inbox_id))

    def bounce_inbox(self, inbox_id: str) -> None:
        self._nodes.bounce(("campaign", inbox_id), "the inbox was deleted")

    def verify_killed(self, tenant_id: str, *, canary: str | None) -> list[NodeVerdict]:
        return self._nodes.verify(("tenant", tenant_id), canary)

    def killed_tenants(self) -> set[str]:
        with _redis_errors():
            members = {str(member) for member in self._redis.smembers(KILLED)}
        return {member[2:] for member in members if member.startswith("t:")}

    def mark_killed(self, tenant_ids: Set[str]) -> None:
        self._put(KILLED, {f"t:{id_}" for id_ in tenant_ids})

    def unmark_killed(self, tenant_ids: Set[str]) -> None:
        self._take(KILLED, {f"t:{id_}" for id_ in tenant_ids})

    def align_nodes(self, wanted: Callable[[], tuple[Set[str], Set[str]]]) -> list[NodeRepairs]:
        def subjects() -> set[tuple[str, str]]:
            tenants, inboxes = wanted()
            return {("tenant", id_) for id_ in tenants} | {("campaign", id_) for id_ in inboxes}

        return self._nodes.align(subjects)

    def nodes(self) -> list[NodeState]:
        return self._nodes.states()

    def probe_node(self, url: str) -> NodeState:
        return self._nodes.probe(url.rstrip("/"))

    def forget_node(self, url: str) -> None:
        self._nodes.forget(url.rstrip("/"))

    def draining_nodes(self) -> set[str]:
        with _redis_errors():
            return {str(member) for member in self._redis.smembers(DRAINING)}

    def drain_nodes(self, node_ids: Set[str]) -> None:
        self._put(DRAINING, node_ids)

    def undrain_nodes(self, node_ids: Set[str]) -> None:
        self._take(DRAINING, node_ids)

    def _put(self, key: str, members: Set[str]) -> None:
        with _redis_errors():
            if members:
                self._redis.sadd(key, *members)

    def _take(self, key: str, members: Set[str]) -> None:
        with _redis_errors():
            if members:
                self._redis.srem(key, *members)


class _redis_errors:
    """Redis that is away is a provider that is away."""

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        if isinstance(error, RedisError):
            raise ProviderUnavailable(provider="Redis", reason=type(error).__name__) from error


def _inbox(username: str) -> str:
    return f"ig:inbox:{username}"
