"""The policy, run off the event loop: a few threads, each with a Lua state of its own.

Lua states are not thread safe and their calls block (Redis, HTTP); kumod likewise keeps a pool of
contexts.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from sandbox.kumomta.host import Host
from sandbox.kumomta.lua_state import LuaState

T = TypeVar("T")


class Policy:
    """`init.lua` at `path`, in `threads` states that are loaded when first needed."""

    def __init__(self, path: Path, host: Host, threads: int) -> None:
        self._path = path
        self._host = host
        self._local = threading.local()
        self._generation = 0
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="lua")

    async def fire(self, event: str, *arguments: Any, mode: str = "single") -> Any:
        """What the handler returned or MISSING; raises Rejected or PolicyFailed."""
        return await self.run(lambda state: state.fire(event, *arguments, mode=mode))

    async def run(self, work: Callable[[LuaState], T]) -> T:
        """`work` with one of the states, on its thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: work(self._state()))

    def drop_states(self) -> None:
        """A new configuration epoch: every state loads the policy afresh at its next use."""
        self._generation += 1

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _state(self) -> LuaState:
        if getattr(self._local, "generation", None) != self._generation:
            self._local.state = LuaState(self._path, self._host.functions(), self._host.support())
            self._local.generation = self._generation
        state: LuaState = self._local.state
        return state
