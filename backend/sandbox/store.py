"""JSON documents that outlive the process: what the imitated providers remember."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

Document = dict[str, Any]


class Store:
    """Named collections, in memory, written through to SQLite when a folder is given.

    Safe to use from several threads: each write is one short statement under a lock.
    """

    def __init__(self, data_dir: Path | None = None) -> None:
        self._lock = threading.RLock()
        self._collections: dict[str, Collection] = {}
        target = ":memory:"
        if data_dir is not None:
            data_dir.mkdir(parents=True, exist_ok=True)
            target = str(data_dir / "sandbox.sqlite3")
        self._persistent = data_dir is not None
        self._db = sqlite3.connect(target, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS documents (collection TEXT, key TEXT, body TEXT,"
            " PRIMARY KEY (collection, key))"
        )
        self._db.execute("CREATE TABLE IF NOT EXISTS counters (collection TEXT PRIMARY KEY, n INT)")

    def collection(self, name: str) -> Collection:
        with self._lock:
            if name not in self._collections:
                self._collections[name] = Collection(self, name)
            return self._collections[name]

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _load(self, name: str) -> dict[str, Document]:
        with self._lock:
            rows = self._db.execute(
                "SELECT key, body FROM documents WHERE collection = ? ORDER BY rowid",
                (name,),
            ).fetchall()
        return {key: json.loads(body) for key, body in rows}

    def _write(self, name: str, key: str, document: Document) -> None:
        if not self._persistent:
            return
        body = json.dumps(document, separators=(",", ":"))
        with self._lock:
            self._db.execute(
                "INSERT INTO documents VALUES (?, ?, ?)"
                " ON CONFLICT (collection, key) DO UPDATE SET body = excluded.body",
                (name, key, body),
            )

    def _delete(self, name: str, key: str) -> None:
        if self._persistent:
            with self._lock:
                self._db.execute(
                    "DELETE FROM documents WHERE collection = ? AND key = ?",
                    (name, key),
                )

    def _count(self, name: str) -> int:
        with self._lock:
            row = self._db.execute(
                "INSERT INTO counters VALUES (?, 1)"
                " ON CONFLICT (collection) DO UPDATE SET n = n + 1 RETURNING n",
                (name,),
            ).fetchone()
        return int(row[0])


class Collection(MutableMapping[str, Document]):
    """Documents by key, in the order they were first put in.

    Changing a document in place is not seen by the disk: call `save(key)` afterwards.
    """

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name
        self._documents = store._load(name)

    def __getitem__(self, key: str) -> Document:
        return self._documents[key]

    def __setitem__(self, key: str, document: Document) -> None:
        self._documents[key] = document
        self._store._write(self._name, key, document)

    def __delitem__(self, key: str) -> None:
        del self._documents[key]
        self._store._delete(self._name, key)

    def __iter__(self) -> Iterator[str]:
        # A copy, so that a caller may delete while it walks.
        return iter(list(self._documents))

    def __len__(self) -> int:
        return len(self._documents)

    def save(self, key: str) -> None:
        self._store._write(self._name, key, self._documents[key])

    def next_id(self) -> int:
        """1, 2, 3 … and never the same number again, also after a restart."""
        return self._store._count(self._name)
