"""What will happen by itself, and when: one entry for each thing that waits."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from sandbox.store import Collection


@dataclass(frozen=True)
class Due:
    at: int
    kind: str
    target: str


class Agenda:
    """A persistent queue ordered by time, then by the order in which entries were made.

    There is at most one entry of a kind for one object; setting it again moves it.
    """

    def __init__(self, entries: Collection) -> None:
        self._entries = entries
        self._heap = [(doc["at"], doc["n"], key) for key, doc in entries.items()]
        heapq.heapify(self._heap)

    def set(self, kind: str, target: str, at: int) -> None:
        key, n = f"{kind}:{target}", self._entries.next_id()
        self._entries[key] = {"at": at, "n": n}
        heapq.heappush(self._heap, (at, n, key))

    def clear(self, kind: str, target: str) -> None:
        self._entries.pop(f"{kind}:{target}", None)

    def pop(self, until: int) -> Due | None:
        """The earliest entry due at `until`, taken off; None when nothing is."""
        while self._heap and self._heap[0][0] <= until:
            at, n, key = heapq.heappop(self._heap)
            entry = self._entries.get(key)
            # Entries that were moved or cleared leave a stale row in the heap.
            if entry is not None and entry["n"] == n:
                del self._entries[key]
                kind, _, target = key.partition(":")
                return Due(at, kind, target)
        return None

    def next(self) -> int | None:
        """When something happens by itself next; None when nothing will."""
        while self._heap:
            at, n, key = self._heap[0]
            entry = self._entries.get(key)
            if entry is not None and entry["n"] == n:
                return int(at)
            heapq.heappop(self._heap)
        return None
