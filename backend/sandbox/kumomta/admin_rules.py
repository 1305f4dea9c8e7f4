"""Suspend and bounce entries: in memory only, each with an end, as on a real node."""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sandbox.clock import VirtualClock
from sandbox.kumomta.options import PolicyError, checked

DEFAULT_SECONDS = 300.0


def queue_parts(name: str) -> dict[str, str | None]:
    """campaign:tenant@domain!routing_domain, taken apart."""
    rest, _, routing = name.partition("!")
    left, at, domain = rest.rpartition("@")
    campaign, colon, tenant = left.rpartition(":")
    return {
        "campaign": campaign if colon else None,
        "tenant": tenant if at else None,
        "domain": domain,
        "routing_domain": routing or None,
    }


@dataclass
class Rule:
    """Criteria that are all given must match; none given matches everything."""

    id: str
    reason: str
    expires: datetime
    criteria: dict[str, str]
    queue_names: tuple[str, ...] = ()
    suppress_logging: bool = False
    bounced: dict[str, int] = field(default_factory=dict)

    def covers(self, queue: str) -> bool:
        if self.queue_names:
            return queue in self.queue_names
        parts = queue_parts(queue)
        return all(parts[name] == value for name, value in self.criteria.items())


class _Rules:
    schema_extra: tuple[str, ...] = ()

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._rules: dict[str, Rule] = {}

    def add(self, request: object) -> str:
        """The new rule's id; the same criteria replace the older rule."""
        if not isinstance(request, dict):
            raise PolicyError("a table or object is needed")
        extra = {name: request.get(name) for name in self.schema_extra}
        rest = {k: v for k, v in request.items() if k not in extra and v is not None}
        wanted = checked("suspend", rest)
        expires = self._clock.now() + timedelta(seconds=wanted.get("duration", DEFAULT_SECONDS))
        if "expires" in wanted:
            expires = datetime.fromisoformat(wanted["expires"].replace("Z", "+00:00"))
        names: tuple[str, ...] = ("tenant", "campaign", "domain")
        criteria = {name: str(wanted[name]) for name in names if name in wanted}
        if extra.get("routing_domain"):
            criteria["routing_domain"] = str(extra["routing_domain"])
        rule = Rule(
            str(uuid.uuid4()),
            wanted["reason"],
            expires,
            criteria,
            tuple(wanted.get("queue_names", ())),
            bool(extra.get("suppress_logging")),
        )
        with self._lock:
            same = [
                old.id
                for old in self._rules.values()
                if (old.criteria, old.queue_names) == (rule.criteria, rule.queue_names)
            ]
            for old_id in same:
                del self._rules[old_id]
            self._rules[rule.id] = rule
        return rule.id

    def remove(self, rule_id: str) -> bool:
        with self._lock:
            return self._rules.pop(rule_id, None) is not None

    def live(self) -> list[Rule]:
        now = self._clock.now()
        with self._lock:
            for rule in list(self._rules.values()):
                if rule.expires <= now:
                    del self._rules[rule.id]
            return list(self._rules.values())

    def matching(self, queue: str) -> Rule | None:
        return next((rule for rule in self.live() if rule.covers(queue)), None)

    def forget(self) -> None:
        with self._lock:
            self._rules.clear()

    def listing(self) -> list[dict[str, Any]]:
        now = self._clock.now()
        return [
            {
                "id": rule.id,
                **rule.criteria,
                "reason": rule.reason,
                "duration": f"{max(1, int((rule.expires - now).total_seconds()))}s",
            }
            for rule in self.live()
        ]


class Suspensions(_Rules):
    """Hold the scheduled queues they cover."""


class Bounces(_Rules):
    """Fail the mail they cover, now and while they live."""

    schema_extra = ("routing_domain", "suppress_logging")

    def count(self, rule: Rule, queue: str) -> None:
        with self._lock:
            rule.bounced[queue] = rule.bounced.get(queue, 0) + 1

    def listing(self) -> list[dict[str, Any]]:
        by_id = {rule.id: rule for rule in self.live()}
        entries = super().listing()
        for entry in entries:
            bounced = by_id[entry["id"]].bounced
            entry.update(bounced=dict(bounced), total_bounced=sum(bounced.values()))
        return entries
