"""One kumod: policy, listeners, queues and hooks, from its start to its end."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from sandbox.kumomta.access import Access
from sandbox.kumomta.admin_rules import Bounces, Suspensions
from sandbox.kumomta.authentication import Authentication
from sandbox.kumomta.egress import Egress
from sandbox.kumomta.host import Host
from sandbox.kumomta.log_hook import LogHook
from sandbox.kumomta.lua_state import PolicyFailed
from sandbox.kumomta.mx import Resolver
from sandbox.kumomta.policy import Policy
from sandbox.kumomta.queues import Queues
from sandbox.kumomta.records import Journal, Reply
from sandbox.kumomta.reports import Reports
from sandbox.kumomta.submission import Listener
from sandbox.kumomta.tls import server_context
from sandbox.receivers.lookups import Lookups
from sandbox.world import World

log = logging.getLogger("sandbox.kumomta.node")
POLICY = Path(__file__).parents[2] / "kumomta" / "policy" / "init.lua"
# Lua waits for Redis most of its time, so more threads than cores.
THREADS = 8


class Node:
    """What a process holds in memory; its end is a restart. The spool is the world's."""

    def __init__(self, world: World, env: dict[str, str], folder: Path, drawer: str) -> None:
        """`drawer` is the prefix of the node's collections in the world's store."""
        self.clock = world.clock
        self.online_since = world.clock.now()
        self.running = False
        self._world, self._folder, self._drawer = world, folder, drawer
        identity = world.store.collection(f"{drawer}.node")
        if "id" not in identity:
            identity["id"] = {"value": str(uuid.uuid4())}
        # As kumod: the environment names the machine, else a file that its first start wrote.
        self.node_id: str = env.get("KUMO_NODE_ID") or identity["id"]["value"]
        env = {**env, "KUMO_NODE_ID": self.node_id}

        self.suspensions = Suspensions(world.clock)
        self.bounces = Bounces(world.clock)
        lookups = Lookups(lambda: (world.config.host, world.ports.get("dns", 53)))
        self.authentication = Authentication(world.clock, lookups)
        self.host = Host(world.clock, self.suspensions, env, self.authentication)
        self.policy = Policy(POLICY, self.host, THREADS)
        # The hook's connection is a Lua object; it must always meet its own state.
        self.hook_policy = Policy(POLICY, self.host, 1)
        self.journal = Journal(world.clock, self.node_id)
        self.queues = Queues(
            world.clock,
            world.store.collection(f"{drawer}.spool"),
            self.policy,
            self.journal,
            self.suspensions,
            self.bounces,
        )
        self.access = Access(self.policy, world.clock, lambda: self.host.declared.http)
        self.hooks: list[LogHook] = []
        self._listeners: list[Listener] = []
        self._egress: Egress | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def hostname(self) -> str:
        listeners = self.host.declared.smtp
        return str(listeners[0].get("hostname", "localhost")) if listeners else "localhost"

    async def start(self) -> None:
        """pre_init, init, hooks, spool, listeners: in kumod's order.

        Raises PolicyFailed when the policy does not load or init fails, as kumod then ends.
        """
        await self.hook_policy.fire("pre_init", mode="all")
        await self.hook_policy.fire("init", mode="all")
        for name, options in self.host.declared.hooks.items():
            hook = LogHook(
                options,
                self.clock,
                self._world.store.collection(f"{self._drawer}.log.{name}"),
                self.hook_policy,
                self._world.faults,
            )
            await hook.start()
            self.hooks.append(hook)
            self.journal.listeners.append(hook.enqueue)
        resolver = Resolver(self.clock, self._world.config.host, self._world.ports.get("dns", 53))
        self._egress = Egress(
            self.clock,
            self.policy,
            self.queues,
            resolver,
            self._world.ports.get("mx") or self._world.config.mx_port,
        )
        for event, arguments in self.host.declared.tasks:
            self._tasks.append(asyncio.create_task(self._background(event, arguments)))
        self.queues.sender = self._egress
        self.queues.load()
        self.running = True
        for options in self.host.declared.smtp:
            await self._listen(options)

    async def _background(self, event: str, arguments: Any) -> None:
        """A task of the policy, in a Lua state of its own; an error ends it, as in kumod."""
        policy = Policy(POLICY, self.host, 1)
        try:
            await policy.fire(event, arguments)
        except PolicyFailed:
            if self.running:
                log.exception("task %s", event)
        finally:
            await asyncio.to_thread(policy.close)

    async def _listen(self, options: dict[str, Any]) -> None:
        tls = server_context(
            options.get("tls_certificate"),
            options.get("tls_private_key"),
            options.get("hostname", "localhost"),
            self._folder,
        )
        listener = Listener(
            options,
            tls,
            self.policy,
            self.journal,
            self.clock,
            self._world.faults,
            self.queues.accept,
            Reports(self.journal),
            self.authentication.dkim,
        )
        host, _, port = options["listen"].rpartition(":")
        await listener.start(host, int(port))
        self._listeners.append(listener)

    @property
    def smtp_ports(self) -> list[int]:
        """In the order of the start_esmtp_listener calls."""
        return [listener.port for listener in self._listeners]

    async def stop(self) -> None:
        self.running = False
        self.host.end_tasks()
        for listener in self._listeners:
            await listener.stop()
        await self.queues.drain()
        if self._egress is not None:
            await self._egress.stop()
        for hook in self.hooks:
            await hook.stop()
        await asyncio.gather(*self._tasks)
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self.policy.close()
        self.hook_policy.close()
        self.host.close()

    async def tick(self) -> None:
        if self.running:
            self.queues.tick()
            for hook in self.hooks:
                hook.tick()

    # What the HTTP API does to the whole node.

    def sweep_soon(self) -> None:
        asyncio.get_running_loop().call_soon(self.queues.tick)

    def bump_epoch(self) -> None:
        """A new configuration epoch: contexts and epoch-keyed caches go, TTL caches stay."""
        self.host.memos.epoch += 1
        self.queues.refresh()
        self.policy.drop_states()
        self.hook_policy.drop_states()

    def rebind(
        self, matches: Callable[[str], bool], data: dict[str, str], flush: bool, reason: str
    ) -> None:
        """Change queue metadata of waiting mail; `flush` makes it due at once."""
        for message in self.queues.waiting(matches):
            before = message.queue_name()
            message.meta.update(data)
            if flush or message.queue_name() != before:
                message.due = self.clock.now()
            text = f"Rebound from {before} to {message.queue_name()}: {reason}"
            self.journal.write("AdminRebind", Reply(250, text), message)
        self.queues.tick()

    def metrics(self) -> Iterable[tuple[str, str, list[tuple[str, int]]]]:
        """(name, help, [(labels, value)]) in Prometheus terms."""
        by_tenant: dict[str, int] = {}
        ready = 0
        for entry in self.queues.summary():
            tenant = entry["tenant"] or ""
            by_tenant[tenant] = by_tenant.get(tenant, 0) + entry["scheduled"]
            ready += entry["ready"]
        yield (
            "scheduled_by_tenant",
            "number of messages in the scheduled queues of a tenant",
            [(f'{{tenant="{tenant}"}}', count) for tenant, count in sorted(by_tenant.items())],
        )
        yield "ready_count", "number of messages in ready queues", [("", ready)]
        backlog = sum(hook.backlog for hook in self.hooks)
        yield "log_hook_backlog_count", "records waiting for a log hook", [("", backlog)]
