"""kumo.memoize: process-wide caches that all Lua states share.

As in kumod: the key is the JSON of the arguments, one caller loads while others with the same key
wait, and a loader's error is served to everyone for 60 seconds.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sandbox.kumomta.options import PolicyError, checked

ERROR_SECONDS = 60.0


@dataclass
class _Entry:
    ready: threading.Event = field(default_factory=threading.Event)
    value: Any = None
    error: str | None = None
    expires: float = float("inf")


@dataclass
class _Cache:
    ttl: float
    capacity: int
    with_epoch: bool
    patience: float
    entries: OrderedDict[str, _Entry] = field(default_factory=OrderedDict)


@dataclass
class Ticket:
    """The duty to load one entry."""

    cache: _Cache
    entry: _Entry


class Memos:
    """`now` gives seconds on the world's clock, so that advancing it ages the caches too."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._caches: dict[str, _Cache] = {}
        self.epoch = 0

    def declare(self, options: object) -> str:
        wanted = checked("memoize", options)
        name = str(wanted["name"])
        with self._lock:
            cache = self._caches.setdefault(name, _Cache(0, 0, False, 0))
            cache.ttl = wanted["ttl"]
            cache.capacity = wanted["capacity"]
            cache.with_epoch = bool(wanted.get("invalidate_with_epoch"))
            cache.patience = wanted.get("populate_timeout", 120.0)
        return name

    def take(self, name: str, arguments: list[Any]) -> tuple[bool, Any]:
        """(True, value) on a hit, (False, ticket) when the caller must load."""
        cache = self._caches[name]
        epoch = self.epoch if cache.with_epoch else 0
        key = json.dumps([epoch, arguments], sort_keys=True)
        with self._lock:
            entry = cache.entries.get(key)
            if entry is None or self._now() >= entry.expires:
                entry = cache.entries[key] = _Entry()
                cache.entries.move_to_end(key)
                while len(cache.entries) > cache.capacity:
                    cache.entries.popitem(last=False)
                return False, Ticket(cache, entry)
            cache.entries.move_to_end(key)
        if not entry.ready.wait(cache.patience):
            raise PolicyError(f"{name}: timed out waiting for the cache to populate")
        if entry.error is not None:
            raise PolicyError(entry.error)
        return True, entry.value

    def put(self, ticket: Ticket, value: Any) -> None:
        ticket.entry.value = value
        ticket.entry.expires = self._now() + ticket.cache.ttl
        ticket.entry.ready.set()

    def fail(self, ticket: Ticket, error: str) -> None:
        ticket.entry.error = error
        ticket.entry.expires = self._now() + ERROR_SECONDS
        ticket.entry.ready.set()
