"""The functions of the `kumo` module, and what the policy declared through them."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.clock import VirtualClock
from sandbox.kumomta.admin_rules import Suspensions
from sandbox.kumomta.authentication import Authentication
from sandbox.kumomta.clients import HttpClient, RedisPools
from sandbox.kumomta.dkim import Signer
from sandbox.kumomta.lua_object import Config, Digest
from sandbox.kumomta.memo import Memos, Ticket
from sandbox.kumomta.options import PolicyError, checked
from sandbox.kumomta.throttle import Throttle

log = logging.getLogger("sandbox.kumomta.policy")
RECORD_TYPES = frozenset(
    {
        "Reception", "Delivery", "Bounce", "TransientFailure", "Expiration", "AdminBounce", "OOB",
        "Feedback", "Rejection", "AdminRebind", "DeferredInjectionRebind", "Delayed", "XferOut",
        "XferIn", "Any",
    }
)  # fmt: skip


@dataclass
class Declared:
    """What pre_init and init set up."""

    spools: dict[str, dict[str, Any]] = field(default_factory=dict)
    smtp: list[dict[str, Any]] = field(default_factory=list)
    http: list[dict[str, Any]] = field(default_factory=list)
    hooks: dict[str, dict[str, Any]] = field(default_factory=dict)
    cache_capacity: dict[str, int] = field(default_factory=dict)
    tasks: list[tuple[str, Any]] = field(default_factory=list)
    """Events that run from the start to the end of the process, with their arguments."""


class Host:
    """One process's worth of kumod behind all its Lua states."""

    def __init__(
        self,
        clock: VirtualClock,
        suspensions: Suspensions,
        env: Mapping[str, str],
        authentication: Authentication,
    ) -> None:
        self.declared = Declared()
        self.memos = Memos(lambda: clock.now().timestamp())
        self.pools = RedisPools()
        self._clients: list[HttpClient] = []
        self._clock = clock
        self._suspensions = suspensions
        self._env = env
        self._authentication = authentication
        self._throttles: dict[tuple[str, str], Throttle] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    def end_tasks(self) -> None:
        """Wake what sleeps; its next call of kumo.time.sleep is its last."""
        self._stopping.set()

    def close(self) -> None:
        self.pools.close()
        for client in self._clients:
            client.close()

    def support(self) -> dict[str, Callable[..., Any]]:
        """What prelude.lua needs besides the module's functions."""
        return {
            "now": self._clock.timestamp,
            "getenv": self._env.get,
            "memo_declare": self.memos.declare,
            "memo_take": self._memo_take,
            "memo_put": lambda slot, value: self.memos.put(slot.ticket, value),
            "memo_fail": lambda slot, error: self.memos.fail(slot.ticket, error),
        }

    def _memo_take(self, name: str, *arguments: Any) -> tuple[bool, Any]:
        hit, value = self.memos.take(name, list(arguments))
        return hit, _Slot(value) if isinstance(value, Ticket) else value

    def functions(self) -> dict[str, Callable[..., Any]]:
        def config(name: str) -> Callable[..., Config]:
            def make(options: object = None) -> Config:
                return self._config(name, options)

            return make

        return {
            "aaa.make_access_control_list": self._access_list,
            "api.admin.suspend.suspend": self._suspend,
            "configure_bounce_classifier": self._classifier,
            "configure_local_logs": self._local_logs,
            "configure_log_hook": self._log_hook,
            "define_spool": self._spool,
            "digest.hmac_sha256": _hmac_sha256,
            "digest.sha256": lambda text: Digest(hashlib.sha256(text.encode()).digest()),
            "dkim.rsa_sha256_signer": Signer,
            "http.build_client": self._http_client,
            "log_debug": lambda *parts: log.debug("%s", " ".join(map(str, parts))),
            "log_error": lambda *parts: log.error("%s", " ".join(map(str, parts))),
            "log_info": lambda *parts: log.info("%s", " ".join(map(str, parts))),
            "log_warn": lambda *parts: log.warning("%s", " ".join(map(str, parts))),
            "make_egress_path": config("make_egress_path"),
            "make_egress_pool": self._pool,
            "make_egress_source": config("make_egress_source"),
            "make_listener_domain": config("make_listener_domain"),
            "make_queue_config": self._queue_config,
            "redis_open": self.pools.open,
            "make_throttle": self._throttle,
            "serde.json_encode": lambda value: json.dumps(value, separators=(",", ":")),
            "serde.json_parse": _json_parse,
            "spawn_task": self._spawn_task,
            "spf.check_msg": self._authentication.spf,
            "time.sleep": self._sleep,
            "set_lruttl_cache_capacity": self._cache_capacity,
            "start_esmtp_listener": self._smtp_listener,
            "start_http_listener": self._http_listener,
        }

    def _http_client(self, options: object) -> HttpClient:
        self._clients.append(HttpClient(options))
        return self._clients[-1]

    def _suspend(self, request: object) -> dict[str, str]:
        return {"id": self._suspensions.add(request)}

    def _spawn_task(self, options: object) -> None:
        wanted = checked("spawn_task", options)
        self.declared.tasks.append((wanted["event_name"], wanted.get("args")))

    def _sleep(self, seconds: float) -> None:
        """In real seconds: a task's pace is no business of the world's clock."""
        if self._stopping.wait(seconds):
            raise PolicyError("the process is shutting down")

    def _throttle(self, name: str, spec: str) -> Throttle:
        with self._lock:
            key = (name, spec)
            if key not in self._throttles:
                self._throttles[key] = Throttle(spec, lambda: self._clock.now().timestamp())
            return self._throttles[key]

    # Constructors.

    def _config(self, name: str, options: object) -> Config:
        return Config(name, checked(name, options))

    def _pool(self, options: object) -> Config:
        made = self._config("make_egress_pool", options)
        entries = made.values["entries"]
        made.values["entries"] = [checked("egress_pool_entry", entry) for entry in entries]
        return made

    def _queue_config(self, options: object = None) -> Config:
        made = self._config("make_queue_config", options)
        for name, value in made.values.get("protocol", {}).items():
            if name != "custom_lua":
                raise PolicyError(f"make_queue_config: unknown protocol `{name}`")
            made.values["protocol"][name] = checked("custom_lua", value)
        return made

    def _access_list(self, rules: list[object]) -> Config:
        return Config("acl", {"rules": [checked("acl_rule", rule) for rule in rules]})

    # Declarations of pre_init and init.

    def _spool(self, options: object) -> None:
        wanted = checked("define_spool", options)
        self.declared.spools[wanted["name"]] = wanted

    def _smtp_listener(self, options: object) -> None:
        wanted = checked("start_esmtp_listener", options)
        wanted["trace_headers"] = checked("trace_headers", wanted.get("trace_headers"))
        self.declared.smtp.append(wanted)

    def _http_listener(self, options: object) -> None:
        self.declared.http.append(checked("start_http_listener", options))

    def _local_logs(self, options: object) -> None:
        _check_records(checked("configure_local_logs", options))

    def _log_hook(self, options: object) -> None:
        wanted = checked("configure_log_hook", options)
        _check_records(wanted)
        self.declared.hooks[wanted["name"]] = wanted

    def _classifier(self, options: object) -> None:
        # Checked only: the sandbox classifies by itself (records.py).
        checked("configure_bounce_classifier", options)

    def _cache_capacity(self, name: str, capacity: int) -> None:
        self.declared.cache_capacity[name] = capacity


class _Slot(Config):
    """Carries a ticket of the memo caches through Lua."""

    lua_name = "MemoTicket"

    def __init__(self, ticket: Ticket) -> None:
        super().__init__("memo", {})
        self.ticket = ticket


def _check_records(options: dict[str, Any]) -> None:
    for kind, settings in options.get("per_record", {}).items():
        if kind not in RECORD_TYPES:
            raise PolicyError(f"per_record: unknown record type `{kind}`")
        checked("per_record", settings)


def _hmac_sha256(key: dict[str, str], message: str) -> Digest:
    if list(key) != ["key_data"]:
        raise PolicyError("hmac_sha256: the key must be {key_data=…} here")
    return Digest(hmac.digest(key["key_data"].encode(), message.encode(), "sha256"))


def _json_parse(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise PolicyError(f"json_parse: {error}") from error
