"""The log hook: records become messages in a queue of their own; the policy delivers them."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from datetime import timedelta
from typing import Any

from sandbox.clock import VirtualClock
from sandbox.faults import Faults
from sandbox.kumomta.lua_object import Config
from sandbox.kumomta.lua_state import MISSING, LuaState, PolicyFailed, Rejected
from sandbox.kumomta.message import Message
from sandbox.kumomta.policy import Policy
from sandbox.kumomta.records import Record
from sandbox.store import Collection

log = logging.getLogger("sandbox.kumomta.log_hook")


class LogHook:
    """One configure_log_hook.

    `policy` must have a single thread, because the connection lives in its Lua state. Delivery is
    at least once: a record is kept in `spool` until the policy's send_batch has returned. Told to
    by the world's faults it delivers twice, out of order, late, or loses an acknowledgement.
    """

    def __init__(
        self,
        options: dict[str, Any],
        clock: VirtualClock,
        spool: Collection,
        policy: Policy,
        faults: Faults,
    ) -> None:
        self._options = options
        self._clock, self._spool, self._policy, self._faults = clock, spool, policy, faults
        self._fresh: list[Message] = []
        self._waiting: dict[str, Message] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._connection: Any = None
        self._config: Config | None = None

    async def start(self) -> None:
        name = f"{self._options['name']}.log_hook"
        config = await self._policy.fire("get_queue_config", name, None, None, None, mode="first")
        if not isinstance(config, Config) or "custom_lua" not in config.values.get("protocol", {}):
            raise PolicyFailed(f"{name}: the policy gives no custom_lua protocol")
        self._config = config
        for message_id in self._spool:
            message = Message.from_document(message_id, self._spool[message_id], self._clock.now)
            self._waiting[message_id] = message
        self._wake.set()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def enqueue(self, record: Record, meta: dict[str, Any]) -> None:
        """Take a record; it is in the spool when this returns."""
        settings = self._options.get("per_record", {})
        chosen = settings.get(record["type"], settings.get("Any", {}))
        if not chosen.get("enable", True):
            return
        wanted = self._options.get("meta", [])
        record = {**record, "meta": {name: meta[name] for name in wanted if name in meta}}
        recipient = record["recipient"]
        message = Message(
            record["sender"],
            [recipient] if isinstance(recipient, str) else recipient,
            json.dumps(record, separators=(",", ":")).encode(),
            {"log_record": record, "reception_protocol": "LogRecord"},
            self._clock.now,
        )
        message.due += timedelta(seconds=self._faults.deliveries("kumomta").delay_seconds)
        self._spool[message.spool_id] = message.document()
        self._fresh.append(message)
        self._wake.set()

    def tick(self) -> None:
        self._wake.set()

    @property
    def backlog(self) -> int:
        return len(self._fresh) + len(self._waiting)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._admit()
                while batch := self._due():
                    await self._deliver(batch)
            except Exception:  # Whatever went wrong, later records must still be delivered.
                log.exception("log hook")

    async def _admit(self) -> None:
        """Ask should_enqueue_log_record about the new ones."""
        fresh, self._fresh = self._fresh, []
        if not fresh:
            return
        name = self._options["name"]

        def judge(state: LuaState) -> list[bool]:
            return [
                state.fire("should_enqueue_log_record", message, name, mode="first") is True
                for message in fresh
            ]

        for message, wanted in zip(fresh, await self._policy.run(judge), strict=True):
            if wanted:
                self._waiting[message.spool_id] = message
            else:
                self._spool.pop(message.spool_id, None)

    def _due(self) -> list[Message]:
        assert self._config is not None
        now = self._clock.now()
        size = self._config.values["protocol"]["custom_lua"].get("batch_size", 1)
        due = [message for message in self._waiting.values() if message.due <= now]
        if self._faults.deliveries("kumomta").shuffle:
            random.shuffle(due)
        return due[:size]

    async def _deliver(self, batch: list[Message]) -> None:
        wanted = self._faults.deliveries("kumomta")
        try:
            for _ in range(1 + wanted.duplicate):
                await self._policy.run(lambda state: self._send(state, batch))
        except Rejected as refusal:
            if 400 <= refusal.code < 500:
                self._postpone(batch)
                return
            log.error("log hook dropped %d records: %s", len(batch), refusal)
        except PolicyFailed:
            log.exception("log hook connection failed")
            self._connection = None
            self._postpone(batch)
            return
        for message in batch:
            if random.random() < wanted.drop:
                # The acknowledgement was lost: the same record comes again later.
                self._postpone([message])
                continue
            self._waiting.pop(message.spool_id, None)
            self._spool.pop(message.spool_id, None)

    def _send(self, state: LuaState, batch: list[Message]) -> None:
        assert self._config is not None
        custom = self._config.values["protocol"]["custom_lua"]
        if self._connection is None or self._connection[0] is not state:
            name = f"{self._options['name']}.log_hook"
            made = state.fire_raw(custom["constructor"], name, None, None)
            if made is MISSING:
                raise PolicyFailed(f"no handler for {custom['constructor']}")
            self._connection = (state, made)
        if custom.get("batch_size", 1) == 1:
            state.call_method(self._connection[1], "send", batch[0])
        elif state.call_method(self._connection[1], "send_batch", batch) is MISSING:
            raise PolicyFailed("the connection has no send_batch")

    def _postpone(self, batch: list[Message]) -> None:
        assert self._config is not None
        values = self._config.values
        for message in batch:
            message.attempts += 1
            delay = values.get("retry_interval", 60.0) * 2 ** min(message.attempts - 1, 30)
            delay = min(delay, values.get("max_retry_interval", delay))
            message.due = self._clock.now() + timedelta(seconds=delay)
            age = (message.due - message.created).total_seconds()
            if age > values.get("max_age", 604800.0):
                self._waiting.pop(message.spool_id, None)
                self._spool.pop(message.spool_id, None)
            else:
                self._spool[message.spool_id] = message.document()
