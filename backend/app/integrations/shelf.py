"""Answers of others that are kept for an hour, in Redis, because asking is what is scarce."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

SECONDS = 3600


class Shelf:
    """JSON by kind and name. Without Redis it is empty, and everything is asked each time."""

    def __init__(self, redis: Redis, name: str, *, seconds: int = SECONDS) -> None:
        """`name` starts the keys, so that two registrars' answers are never mixed."""
        self._redis, self._name, self._seconds = redis, name, seconds

    def read(self, kind: str, names: Sequence[str]) -> dict[str, Any]:
        """What is kept of these names; damaged entries are as good as none."""
        found: dict[str, Any] = {}
        if not names:
            return found
        with suppress(RedisError):
            held: Any = self._redis.mget([self._key(kind, name) for name in names])
            for name, text in zip(names, held, strict=True):
                with suppress(ValueError, TypeError):
                    found[name] = json.loads(text)
        return found

    def keep(self, kind: str, answers: Mapping[str, Any]) -> None:
        if not answers:
            return
        with suppress(RedisError), self._redis.pipeline(transaction=False) as pipe:
            for name, answer in answers.items():
                pipe.set(self._key(kind, name), json.dumps(answer), ex=self._seconds)
            pipe.execute()

    def forget(self, kind: str, name: str) -> None:
        """Something happened to that name: the next one who asks hears the present."""
        with suppress(RedisError):
            self._redis.delete(self._key(kind, name))

    def _key(self, kind: str, name: str) -> str:
        return f"{self._name}:{kind}:{name.lower()}"
