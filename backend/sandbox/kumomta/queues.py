"""Scheduled queues: what waits, when it is tried next, and what holds it back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from sandbox.clock import VirtualClock
from sandbox.kumomta.admin_rules import Bounces, Suspensions, queue_parts
from sandbox.kumomta.lua_object import Config
from sandbox.kumomta.lua_state import MISSING, PolicyFailed, Rejected
from sandbox.kumomta.message import Message
from sandbox.kumomta.policy import Policy
from sandbox.kumomta.records import Journal, Reply
from sandbox.store import Collection

log = logging.getLogger("sandbox.kumomta.queues")

# kumod's defaults (docs/reference/kumo/make_queue_config).
RETRY_SECONDS = 1200.0
MAX_AGE_SECONDS = 604800.0
REFRESH_SECONDS = 60.0


class Sender(Protocol):
    """The way out; it reports back with `delivered`, `failed` or `postponed`."""

    def submit(self, message: Message, pool: str) -> None: ...


@dataclass
class _Cached:
    config: Config
    read_at: datetime


class Queues:
    """The spool and the timers; delivery itself is the sender's."""

    def __init__(
        self,
        clock: VirtualClock,
        spool: Collection,
        policy: Policy,
        journal: Journal,
        suspensions: Suspensions,
        bounces: Bounces,
    ) -> None:
        self._clock, self._spool, self._policy, self._journal = clock, spool, policy, journal
        self._suspensions, self._bounces = suspensions, bounces
        self.sender: Sender | None = None
        self._waiting: dict[str, Message] = {}
        self._in_hand: dict[str, Message] = {}
        self._configs: dict[str, _Cached] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def load(self) -> None:
        """Enumerate the spool, as at a start of kumod."""
        for message_id in self._spool:
            message = Message.from_document(message_id, self._spool[message_id], self._clock.now)
            self._waiting[message_id] = message

    async def accept(self, messages: list[Message]) -> None:
        """Spool the messages and try them at once."""
        for message in messages:
            self._spool[message.spool_id] = message.document()
            self._promote(message)

    def tick(self) -> None:
        """Take up all that is due, and what a bounce rule covers, due or not."""
        now = self._clock.now()
        sweeping = bool(self._bounces.live())
        for message in list(self._waiting.values()):
            if message.due <= now or (sweeping and self._bounces.matching(message.queue_name())):
                self._promote(message)

    async def drain(self) -> None:
        """Wait for the decisions in progress; nothing new is begun."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)

    def refresh(self) -> None:
        """A new epoch: ask the policy again about the queues that wait for one."""
        for name, cached in list(self._configs.items()):
            if cached.config.values.get("refresh_strategy") == "Epoch":
                del self._configs[name]

    def waiting(self, matches: Callable[[str], bool]) -> list[Message]:
        """The scheduled mail of the queues that `matches(queue name)` picks."""
        return [m for m in self._waiting.values() if matches(m.queue_name())]

    def find(self, message_id: str) -> Message | None:
        return self._waiting.get(message_id) or self._in_hand.get(message_id)

    def summary(self) -> list[dict[str, Any]]:
        """One entry per queue with mail in it."""
        queues: dict[str, dict[str, Any]] = {}
        for state, messages in (("scheduled", self._waiting), ("ready", self._in_hand)):
            for message in list(messages.values()):
                name = message.queue_name()
                parts = queue_parts(name)
                entry = queues.setdefault(
                    name, {"queue": name, **parts, "scheduled": 0, "ready": 0, "next_due": None}
                )
                entry[state] += 1
                due = message.due.isoformat()
                entry["next_due"] = min(entry["next_due"] or due, due)
        return list(queues.values())

    # Outcomes, reported by the sender.

    def held(self, message: Message) -> bool:
        """True when a rule has come up meanwhile; the message has been dealt with then."""
        queue = message.queue_name()
        bounce = self._bounces.matching(queue)
        if bounce is not None:
            self._bounces.count(bounce, queue)
            if not bounce.suppress_logging:
                text = f"Administrator bounced with reason: {bounce.reason}"
                self._journal.write(
                    "AdminBounce", Reply(551, text, (5, 7, 1)), message, site="localhost"
                )
            self._remove(message)
            return True
        suspension = self._suspensions.matching(queue)
        if suspension is not None:
            text = f"KumoMTA internal: scheduled queue is suspended: {suspension.reason}"
            self.postponed(message, Reply(451, text, (4, 4, 4)))
            return True
        return False

    def delivered(self, message: Message, reply: Reply, **fields: Any) -> None:
        self._journal.write("Delivery", reply, message, **fields)
        self._remove(message)

    def failed(self, message: Message, reply: Reply, **fields: Any) -> None:
        self._journal.write("Bounce", reply, message, **fields)
        self._remove(message)

    def postponed(self, message: Message, reply: Reply, **fields: Any) -> None:
        """Log a TransientFailure and wait: the interval doubles from attempt to attempt."""
        self._journal.write("TransientFailure", reply, message, **fields)
        cached = self._configs.get(message.queue_name())
        values = cached.config.values if cached else {}
        message.attempts += 1
        delay = values.get("retry_interval", RETRY_SECONDS) * 2 ** (message.attempts - 1)
        delay = min(delay, values.get("max_retry_interval", delay))
        message.due = self._clock.now() + timedelta(seconds=delay)
        max_age = values.get("max_age", MAX_AGE_SECONDS)
        age = (message.due - message.created).total_seconds()
        if age > max_age:
            text = (
                f"Next delivery time would be {int(age)}s after creation, "
                f"which exceeds max_age={int(max_age)}s"
            )
            self._journal.write("Expiration", Reply(551, text, (5, 4, 7)), message)
            self._remove(message)
            return
        self._in_hand.pop(message.spool_id, None)
        self._waiting[message.spool_id] = message
        self._save(message)

    # The way from waiting to ready.

    def _promote(self, message: Message) -> None:
        self._waiting.pop(message.spool_id, None)
        self._in_hand[message.spool_id] = message
        task = asyncio.get_running_loop().create_task(self._route(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _route(self, message: Message) -> None:
        try:
            config = await self._config(message.queue_name())
        except (Rejected, PolicyFailed) as error:
            log.error("get_queue_config failed: %s", error)
            self.postponed(message, Reply(451, "KumoMTA internal: no queue config", (4, 4, 4)))
            return
        if self.held(message):
            return
        assert self.sender is not None
        self.sender.submit(message, config.values.get("egress_pool", "unspecified"))

    async def _config(self, queue: str) -> Config:
        now = self._clock.now()
        cached = self._configs.get(queue)
        if cached is not None:
            age = (now - cached.read_at).total_seconds()
            if cached.config.values.get("refresh_strategy") == "Epoch":
                return cached.config
            if age < cached.config.values.get("refresh_interval", REFRESH_SECONDS):
                return cached.config
        parts = queue_parts(queue)
        made = await self._policy.fire(
            "get_queue_config",
            parts["domain"],
            parts["tenant"],
            parts["campaign"],
            parts["routing_domain"],
            mode="first",
        )
        config = made if made is not MISSING and made is not None else Config("queue", {})
        self._configs[queue] = _Cached(config, now)
        return config

    def _save(self, message: Message) -> None:
        self._spool[message.spool_id] = message.document()

    def _remove(self, message: Message) -> None:
        self._waiting.pop(message.spool_id, None)
        self._in_hand.pop(message.spool_id, None)
        self._spool.pop(message.spool_id, None)
