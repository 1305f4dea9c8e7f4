"""Logs, metrics and error reports of a process."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any, TextIO

import sentry_sdk
import structlog
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

_LATENCIES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

REQUESTS = Counter("requests_total", "HTTP requests answered.", ["method", "endpoint", "status"])
DURATION = Histogram(
    "request_duration_seconds",
    "Time until an HTTP answer was complete.",
    ["method", "endpoint"],
    buckets=_LATENCIES,
)
STRIPE_SUCCESS = Counter("stripe_payment_success_total", "Payments that Stripe reported as made.")
ALERTS = Counter("ig_operator_alerts_total", "Calls for a person of the platform.", ["kind"])
PROVISIONED = Counter("provisioning_inboxes_total", "Inboxes made.")
QUARANTINED = Counter("ig_task_quarantined_total", "Jobs set aside because their worker died.")
KILL_LATENCY = Histogram(
    "ig_kill_latency_seconds",
    "From the suspension of a tenant to the relay's acknowledgement.",
    buckets=_LATENCIES,
)
MAIL_PLANE_REPAIRS = Counter(
    "ig_mail_plane_repairs_total",
    "What the mail plane had otherwise than the database and was mended.",
    ["what"],
)
NODES_UNREACHABLE = Gauge(
    "ig_mail_nodes_unreachable",
    "Relay nodes that did not answer at the last comparison.",
    multiprocess_mode="mostrecent",
)
WEBHOOKS = Counter("ig_webhook_attempts_total", "Calls of tenants' own servers.", ["result"])
RETRIES = Counter("ig_retries_total", "Calls repeated at a dependency.", ["dep"])
INGESTED = Counter("ig_delivery_records_total", "Log records of the relay.", ["result"])
LIMITER_FALLBACKS = Counter(
    "ig_rate_limit_fallbacks_total", "Requests counted locally because Redis was away."
)
LIMITER_LOCAL = Gauge(
    "ig_rate_limit_local",
    "1 while requests are counted by each process alone, at half the limits.",
    multiprocess_mode="mostrecent",
)
THROTTLED = Counter(
    "ig_throttle_attempts_total",
    "Attempts at doors that guessers try: passed, refused, refunded (they succeeded).",
    ["door", "result"],
)
SEARCHED = Counter(
    "ig_domain_search_names_total", "Names searched for: kept answers and asked ones.", ["answer"]
)
SEARCH_CALLS_SAVED = Counter(
    "ig_domain_search_calls_saved_total", "Calls of the registrar that kept answers made needless."
)
JOB_DURATION = Histogram(
    "job_duration_seconds", "Time a job's run took.", ["task"], buckets=_LATENCIES
)
JOB_RUNS = Counter("job_runs_total", "Runs of jobs.", ["task", "result"])

# Read from the database when somebody looks, so that any process gives the same answer.
OUTBOX_OLDEST = Gauge(
    "ig_outbox_oldest_seconds",
    "Age of the oldest event without jobs.",
    multiprocess_mode="mostrecent",
)
ORDERS = Gauge("ig_orders", "Domain purchases by state.", ["state"], multiprocess_mode="mostrecent")
VIOLATIONS = Gauge(
    "ig_invariant_violations",
    "Rows that break an invariant.",
    ["name"],
    multiprocess_mode="mostrecent",
)
WEBHOOKS_UNHANDLED = Gauge(
    "ig_webhook_unhandled", "Provider events without effect yet.", multiprocess_mode="mostrecent"
)
JOB_LAST_SUCCESS = Gauge(
    "ig_job_last_success",
    "When a job of this name last ended well (Unix seconds).",
    ["job"],
    multiprocess_mode="mostrecent",
)

METRICS_TYPE = CONTENT_TYPE_LATEST
log = structlog.get_logger()


def exposition() -> bytes:
    """All metrics in the text format.

    With PROMETHEUS_MULTIPROC_DIR set, those of all processes that share the directory.
    """
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


@contextmanager
def job(name: str) -> Iterator[None]:
    """Measure one run of a job."""
    began = time.perf_counter()
    result = "failed"
    try:
        yield
        result = "done"
    finally:
        JOB_DURATION.labels(task=name).observe(time.perf_counter() - began)
        JOB_RUNS.labels(task=name, result=result).inc()


def report(error: BaseException) -> None:
    """Tell Sentry, when there is one, and the log."""
    sentry_sdk.capture_exception(error)
    log.error("unexpected error", exc_info=error)


# Set-up -----------------------------------------------------------------------------------------


def configure(*, level: str, fmt: str, sentry_dsn: str, release: str, environment: str) -> None:
    """Set up logs (`fmt` is json or console) and, with a DSN, Sentry. Safe to repeat."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    renderer: Any = (
        structlog.processors.JSONRenderer(default=str)
        if fmt == "json"
        else structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    )
    handler = _Stdout()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [old for old in root.handlers if not isinstance(old, _Stdout)] + [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        # The server's own handlers write plain text; one stream has one format.
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True
    # We write one line a request ourselves, with the request id and without the query string.
    logging.getLogger("uvicorn.access").disabled = True
    for chatty in ("alembic", "httpx", "httpcore", "stripe", "urllib3", "faker"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    if sentry_dsn:
        sentry_sdk.init(
            dsn=sentry_dsn,
            release=release,
            environment=environment,
            data_collection=_NOTHING_PERSONAL,
            traces_sample_rate=0.05,
            before_send=lambda event, _: _clean("", event),
            before_send_transaction=lambda event, _: _clean("", event),
            before_breadcrumb=lambda crumb, _: _clean("", crumb),
        )


_NOTHING_PERSONAL: Any = {
    "user_info": False,
    "cookies": {"mode": "off"},
    "http_headers": {"request": {"mode": "off"}},
    "http_bodies": [],
    "url_query_params": {"mode": "off"},
    "database_query_data": False,
    "stack_frame_variables": False,
}
"""What Sentry may collect besides the error."""


class _Stdout(logging.StreamHandler[TextIO]):
    """Writes to what sys.stdout is at the moment, not to what it was at set-up."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stdout


_SECRET_NAME = re.compile(
    r"password|passwd|secret|token|authorization|cookie|api_?key|private|pepper|dsn|command"
    r"|otpauth|(?:^|_)(?:totp|otp|recovery)_?codes?$",
    re.I,
)
_HIDDEN = "[hidden]"
_CALLERS_OWN = frozenset({"request_id"})
"""Random on purpose, and useless when hidden."""

# Of each alternative the first group, if any, is kept. None looks further than it must: whatever
# begins where another could have begun is found from there, so that time grows with the length.
_SECRET_TEXT = re.compile(
    # Keys that say what they are: ours, Stripe's, hashes in PHC format, what an app scans.
    r"(?<![A-Za-z0-9])(ig_(?:live|test|op)_|[rs]k_(?:live|test)_|whsec_)[\w.~+/=-]+"
    r"|(?<!\w)\w+_secret_\w+"
    r"|(?<![\w-])eyJ[\w-]{8,}\.[\w.=-]+"
    r"|(\$argon2)\S+"
    r"|(otpauth://)\S+"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    # What stands where credentials stand: headers, URLs, and `password=…`, `'token': '…'`.
    r"|\b((?i:bearer|basic)\s{1,8})[\w.~+/=-]{8,}"
    r"|(?<=://)[^\s/@]{1,500}(?=@)"
    r"|((?i:password|passwd|secret|token|api_?key|authorization|cookie|pepper)\w{0,40}"
    r"[\"'\\]{0,4}\s{0,4}[=:]\s{0,4}b?[\"'\\]{0,4})(?!\[hidden\])[^\s\"'\\&,;)}\]]+"
    # Seeds of one-time codes (base 32) and recovery codes.
    r"|\b[A-Z2-7]{26,}\b=*"
    r"|(?<![\w-])(?i:[a-z0-9]{4}(?:-[a-z0-9]{4}){5})(?![\w-])"
)
_ADDRESS = re.compile(
    r"(?<![^\s\"'<>()\[\]{},;:=|/\\])"
    r"([^\s\"'<>()\[\]{},;:=|/\\@%])[^\s\"'<>()\[\]{},;:=|/\\@%]*(@|%40)(?=[\w\[])"
)
_ODD_ADDRESS = re.compile(
    r"(?<![\w.!#$%&'*+/=?^`{|}~\"-])[\w.!#$%&'*+/=?^`{|}~\"-]+(?<!\*\*\*)@(?=[\w\[])"
)
"""What is left of those with a quote or the like in them."""
_RANDOM = re.compile(r"[A-Za-z0-9_-]{32,}")


def redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Hide values under secret names, and secrets of known shapes wherever they stand.

    E-mail addresses keep their first letter and their domain: `a***@example.com`.
    """
    for key in list(event):
        # What structlog carries along for itself.
        if not key.startswith("_"):
            value = event.pop(key)
            event[_clean_text(key)] = _clean(key, value)
    return event


def _clean(key: str, value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if _SECRET_NAME.search(key):
        return _HIDDEN
    if isinstance(value, int | float):
        return value
    if isinstance(value, Mapping):
        return {_clean_text(str(name)): _clean(str(name), inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean("", inner) for inner in value]
    if isinstance(value, bytes | bytearray):
        return _clean_text(bytes(value).decode(errors="replace"))
    # Whatever else it is, the renderer would make a text of it later, out of our sight.
    return _clean_text(str(value), random_too=key not in _CALLERS_OWN)


def _clean_text(text: str, *, random_too: bool = True) -> str:
    text = _SECRET_TEXT.sub(_hide, text)
    text = _ODD_ADDRESS.sub("***@", _ADDRESS.sub(r"\1***\2", text))
    return _RANDOM.sub(_hide_random, text) if random_too else text


def _hide(found: re.Match[str]) -> str:
    return (found[found.lastindex] if found.lastindex else "") + _HIDDEN


def _hide_random(run: re.Match[str]) -> str:
    """Upper case, lower case and digits in one long run were drawn by a machine to be secret."""
    text = run[0]
    mixed = any(map(str.isupper, text)) and any(map(str.islower, text))
    return _HIDDEN if mixed and any(map(str.isdigit, text)) else text
