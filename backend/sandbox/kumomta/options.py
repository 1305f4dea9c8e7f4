"""Arguments of kumod's constructors: names as documented, anything else is an error.

kumod refuses unknown fields (`deny_unknown_fields`), so a typing mistake must fail here too.
Names: the folders of docs/reference/kumo/* in the kumomta repository.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

Options = dict[str, Any]


class PolicyError(Exception):
    """What the policy did wrong; becomes a Lua error in the policy."""


_UNITS = {
    "ms": 0.001, "msec": 0.001,
    "s": 1, "sec": 1, "secs": 1, "second": 1, "seconds": 1,
    "m": 60, "min": 60, "mins": 60, "minute": 60, "minutes": 60,
    "h": 3600, "hr": 3600, "hour": 3600, "hours": 3600,
    "d": 86400, "day": 86400, "days": 86400,
    "w": 604800, "week": 604800, "weeks": 604800,
}  # fmt: skip


def seconds(value: object) -> float:
    """A duration as kumod reads it: "30s", "1 day", "1h 30m" or plain seconds.

    Raises PolicyError for anything else.
    """
    if isinstance(value, bool):
        raise PolicyError("a duration is a number or a text")
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str):
        pieces = re.findall(r"(\d+(?:\.\d+)?)\s*([a-z]+)", value)
        rest = re.sub(r"(\d+(?:\.\d+)?)\s*([a-z]+)", "", value).strip()
        if pieces and not rest and all(unit in _UNITS for _, unit in pieces):
            return sum(float(number) * _UNITS[unit] for number, unit in pieces)
    raise PolicyError(f"invalid duration {value!r}")


# Kind of each argument: a Python type, or "duration"; "!" after the name means required.
_PATH = dict.fromkeys(
    (
        "connect_timeout", "banner_timeout", "ehlo_timeout", "mail_from_timeout", "rcpt_to_timeout",
        "data_timeout", "data_dot_timeout", "rset_timeout", "idle_timeout", "starttls_timeout",
        "refresh_interval",
    ),
    "duration",
)  # fmt: skip

SCHEMAS: dict[str, dict[str, Any]] = {
    "define_spool": {
        "name!": str, "path!": str, "kind": str, "flush": bool, "min_free_space": object,
        "min_free_inodes": object, "rocks_params": dict,
    },
    "start_esmtp_listener": {
        "listen!": str, "hostname": str, "relay_hosts": list, "banner": str,
        "tls_certificate": object, "tls_private_key": object, "max_message_size": int,
        "max_recipients_per_message": int,
        "max_messages_per_connection": int, "max_connections": int, "client_timeout": "duration",
        "data_processing_timeout": "duration", "line_length_hard_limit": int,
        "invalid_line_endings": str, "deferred_spool": bool, "deferred_queue": bool,
        "batch_handling": str, "trace_headers": dict, "meta": dict, "peer": dict, "via": dict,
    },
    "trace_headers": {
        "received_header": bool, "supplemental_header": bool, "header_name": str,
        "include_meta_names": list,
    },
    "start_http_listener": {
        "listen!": str, "hostname": str, "trusted_hosts": list, "use_tls": bool,
        "tls_certificate": object, "tls_private_key": object, "request_body_limit": int,
    },
    "configure_local_logs": {
        "log_dir!": str, "max_file_size": int, "max_segment_duration": "duration",
        "compression_level": int, "back_pressure": int, "meta": list, "headers": list,
        "per_record": dict, "min_free_space": object, "min_free_inodes": object,
        "filter_event": str,
    },
    "configure_log_hook": {
        "name!": str, "meta": list, "headers": list, "per_record": dict, "back_pressure": int,
        "deferred_spool": bool,
    },
    "per_record": {
        "enable": bool, "suffix": str, "log_dir": str, "template": str, "segment_header": str,
    },
    "configure_bounce_classifier": {"files!": list},
    "make_listener_domain": {
        "relay_to": bool, "relay_from": list, "log_oob": object, "log_arf": object,
    },
    "make_queue_config": {
        "egress_pool": str, "max_age": "duration", "retry_interval": "duration",
        "max_retry_interval": "duration", "max_message_rate": str, "protocol": dict,
        "reap_interval": "duration", "refresh_interval": "duration", "refresh_strategy": str,
        "shrink_policy": list, "strategy": str, "timerwheel_tick_interval": "duration",
    },
    "custom_lua": {
        "constructor!": str, "batch_size": int, "min_batch_size": int,
        "max_batch_latency": "duration",
    },
    "make_egress_pool": {"name!": str, "entries!": list, "ttl": "duration"},
    "egress_pool_entry": {"name!": str, "weight": int},
    "make_egress_source": {
        "name!": str, "ehlo_domain": str, "remote_port": int, "source_address": str,
        "ha_proxy_server": str, "ha_proxy_source_address": str, "socks5_proxy_server": str,
        "socks5_proxy_source_address": str, "suspend_when_proxy_unhealthy": bool,
        "suspend_when_unplumbed": bool, "ttl": "duration",
    },
    "make_egress_path": _PATH | {
        "enable_tls": str, "connection_limit": object, "max_deliveries_per_connection": int,
        "max_connection_rate": str, "max_message_rate": str, "max_ready": int, "smtp_port": int,
        "ehlo_domain": str, "enable_pipelining": bool, "enable_rset": bool, "enable_mta_sts": bool,
        "enable_dane": bool, "prohibited_hosts": list, "skip_hosts": list, "refresh_strategy": str,
        "opportunistic_tls_reconnect_on_failed_handshake": bool,
    },
    "memoize": {
        "name!": str, "ttl!": "duration", "capacity!": int, "invalidate_with_epoch": bool,
        "populate_timeout": "duration", "retry_on_populate_timeout": bool,
        "allow_stale_reads": bool,
    },
    "http.build_client": {
        "timeout": "duration", "user_agent": str, "pool_idle_timeout": "duration",
        "connection_verbose": bool, "accept_invalid_certs": bool,
    },
    "redis.open": {
        "node!": str, "pool_size": int, "connect_timeout": "duration", "wait_timeout": "duration",
        "response_timeout": "duration", "recycle_timeout": "duration", "cluster": bool,
        "username": str, "password": str, "read_from_replicas": bool,
    },
    "dkim.rsa_sha256_signer": {
        "domain!": str, "selector!": str, "headers!": list, "key!": dict, "over_sign": bool,
        "expiration": int, "header_canonicalization": str, "body_canonicalization": str,
        "agent_user_identifier": str, "body_length": bool, "reporting": bool, "ttl": "duration",
    },
    "suspend": {
        "reason!": str, "tenant": str, "campaign": str, "domain": str, "queue_names": list,
        "duration": "duration", "expires": str,
    },
    "spawn_task": {"event_name!": str, "args": object},
    "acl_rule": {"criteria!": dict, "privilege!": str, "access!": str},
}  # fmt: skip


def checked(schema: str, given: object) -> Options:
    """The arguments with durations in seconds; PolicyError names the first mistake."""
    if given == [] or given is None:
        given = {}
    if not isinstance(given, Mapping):
        raise PolicyError(f"{schema} takes a table")
    kinds = {name.rstrip("!"): kind for name, kind in SCHEMAS[schema].items()}
    for name in SCHEMAS[schema]:
        if name.endswith("!") and given.get(name[:-1]) is None:
            raise PolicyError(f"{schema}: missing field `{name[:-1]}`")
    result: Options = {}
    for name, value in given.items():
        if name not in kinds:
            raise PolicyError(
                f"{schema}: unknown field `{name}`, expected one of {', '.join(sorted(kinds))}"
            )
        result[name] = _convert(f"{schema}.{name}", kinds[name], value)
    return result


def _convert(where: str, kind: Any, value: object) -> object:
    if kind == "duration":
        return seconds(value)
    # An empty Lua table is an empty list and an empty map at once.
    if value == [] and kind is dict:
        return {}
    if value == {} and kind is list:
        return []
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if kind is not object and (not isinstance(value, kind) or (kind is int and value is True)):
        raise PolicyError(f"{where}: expected {kind.__name__}, got {type(value).__name__}")
    return value
