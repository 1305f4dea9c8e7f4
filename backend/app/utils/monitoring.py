"""Logs, metrics and error reports of a process."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO

import sentry_sdk
import structlog
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

from app.telemetry import exporter, redaction, tracing

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
PROVIDER_CALLS = Histogram(
    "provider_call_duration_seconds",
    "Time a call of a provider took; result is ok, refused (its no), failed (5xx) or lost.",
    ["provider", "op", "result"],
    buckets=_LATENCIES,
)
RETRIES = Counter("ig_retries_total", "Calls repeated at a dependency.", ["dep"])
BREAKER = Gauge(
    "ig_breaker_state",
    "1 while a process leaves a dependency alone that failed it again and again.",
    ["dep"],
    multiprocess_mode="livemax",
)
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
PAYMENTS_FAILED = Counter("ig_payments_failed_total", "Payments that Stripe reported as failed.")
RELAY_ROUNDS = Counter("ig_relay_rounds_total", "Looks of the relay for work.", ["result"])
RELAY_SENT = Counter("ig_relay_jobs_sent_total", "Jobs handed to the broker.")
BEAT_TICKS = Counter("ig_beat_ticks_total", "Ticks that beat sent.")
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

JOBS = Gauge("ig_jobs", "Jobs by state.", ["state"], multiprocess_mode="mostrecent")
JOBS_LATE = Gauge(
    "ig_jobs_late_seconds",
    "How long the oldest job that is due has waited; those of suspended tenants wait by intent.",
    multiprocess_mode="mostrecent",
)
KILLS_OPEN = Gauge(
    "ig_kills_unacknowledged_seconds",
    "Age of the oldest suspension that not every node has acknowledged.",
    multiprocess_mode="mostrecent",
)
SCHEDULE_LAG = Gauge(
    "ig_schedule_lag_seconds",
    "How long ago the work of the newest begun period should have been set going, and was not.",
    ["schedule"],
    multiprocess_mode="mostrecent",
)
SUBSCRIPTIONS = Gauge(
    "ig_subscriptions",
    "Tenants by plan and state of subscription.",
    ["plan", "status"],
    multiprocess_mode="mostrecent",
)
SUSPENDED = Gauge(
    "ig_tenants_suspended", "Suspended tenants.", ["reason"], multiprocess_mode="mostrecent"
)
MAIL_TODAY = Gauge(
    "ig_mail_today",
    "Messages since midnight UTC by fate, as the nodes told it.",
    ["fate"],
    multiprocess_mode="mostrecent",
)
DOMAINS = Gauge("ig_domains", "Domains by state.", ["status"], multiprocess_mode="mostrecent")
INBOXES = Gauge("ig_inboxes", "Inboxes by state.", ["status"], multiprocess_mode="mostrecent")

BACKUP_AGE = Gauge(
    "ig_backup_age_seconds",
    "Age of the newest backup, or of the installation when none was made.",
    multiprocess_mode="mostrecent",
)
RESTORED_HELD = Gauge(
    "ig_restored_held_seconds",
    "For how long a restored database has waited for its release; 0 for none.",
    multiprocess_mode="mostrecent",
)

METRICS_TYPE = CONTENT_TYPE_LATEST
log = structlog.get_logger()


def exposition() -> bytes:
    """All metrics in the text format."""
    return generate_latest(exporter.registry())


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


# What every line and report says beside the event itself ----------------------------------------

_circumstances: ContextVar[dict[str, str]] = ContextVar("circumstances")


@contextmanager
def about(**known: str | None) -> Iterator[None]:
    """What is logged and reported within carries these names, `request_id` and the like."""
    before = _circumstances.set({})
    try:
        add_circumstances(**known)
        yield
    finally:
        _circumstances.reset(before)


def add_circumstances(**known: str | None) -> None:
    """Of the request or job that runs: what became known of it on the way, as its tenant.

    In a thread of its own as well: threads share what the request began with.
    """
    held = _circumstances.get(None)
    for name, value in known.items():
        if value is not None:
            if held is not None:
                held[name] = value
            sentry_sdk.get_isolation_scope().set_tag(name, value)


# Set-up -----------------------------------------------------------------------------------------


def configure(
    *,
    level: str,
    fmt: str,
    sentry_dsn: str,
    release: str,
    environment: str,
    process: str = "api",
    sentry_traces: float = 0.0,
) -> None:
    """Set up logs (`fmt` is json or console) and, with a DSN, Sentry. Safe to repeat.

    `sentry_traces` is the share of requests and jobs whose performance is reported.
    """
    shared: list[Any] = [
        _add_circumstances,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redaction.redact,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    renderer: Any = (
        structlog.processors.JSONRenderer(default=str)
        if fmt == "json"
        else structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    )
    # What a command prints is its answer alone, for whoever reads it as JSON.
    handler = _Stream("stderr" if process == "shell" else "stdout")
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [old for old in root.handlers if not isinstance(old, _Stream)] + [handler]
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
            traces_sample_rate=sentry_traces,
            before_send=lambda event, _: redaction.clean("", event),
            before_send_transaction=lambda event, _: redaction.clean("", event),
            before_breadcrumb=lambda crumb, _: redaction.clean("", crumb),
        )
        sentry_sdk.get_global_scope().set_tag("process", process)


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


def _add_circumstances(
    _: Any, __: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for name, value in {**_circumstances.get({}), **tracing.ids()}.items():
        event.setdefault(name, value)
    return event


class _Stream(logging.StreamHandler[TextIO]):
    """Writes to what sys.stdout or sys.stderr is at the moment, not to what it was at set-up."""

    def __init__(self, name: str) -> None:
        logging.Handler.__init__(self)
        self._name = name

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stdout if self._name == "stdout" else sys.stderr
