"""Every call of a provider over HTTP: measured, traced, one line in the log, and not made for a
while when the provider failed again and again.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, Final, ParamSpec, TypeVar
from urllib.parse import parse_qs, urlsplit

import httpx
import requests
import stamina.instrumentation
import stripe
import structlog
from opentelemetry.trace import SpanKind

from app.telemetry import tracing
from app.utils import monitoring

FAILURES: Final = 10
"""In a row, after which a provider is left alone."""

PAUSE: Final = 5.0
"""Seconds it is left alone; then one call is let through to see."""

_MOST_OPS: Final = 60
"""Names of operations kept for each provider, so that there can be no flood of series."""

_NODES: Final = "kumomta"
"""Who is called at an address that is nobody else's."""

_WORD = re.compile(r"[a-z][a-z_-]{0,30}|checkDomain|updateNs|v\d|[a-z]+\.response")
_COMMAND = re.compile(r"[a-z.]{1,60}", re.IGNORECASE)
P = ParamSpec("P")
T = TypeVar("T")
log = structlog.get_logger()


class LeftAlone(Exception):
    """The provider has failed again and again, and was not asked."""


class Breaker:
    """Of one provider in one process; thread-safe. Only what is lost or fails (5xx) counts."""

    def __init__(self, dep: str, *, failures: int = FAILURES, pause: float = PAUSE) -> None:
        self._dep, self._failures, self._pause = dep, failures, pause
        self._in_a_row = 0
        self._until = 0.0
        self._lock = threading.Lock()
        monitoring.BREAKER.labels(dep=dep).set(0)

    def require_closed(self) -> None:
        """Raises LeftAlone; one caller in each pause is let through."""
        with self._lock:
            if self._in_a_row < self._failures:
                return
            if time.monotonic() < self._until:
                raise LeftAlone(self._dep)
            self._until = time.monotonic() + self._pause

    def note(self, *, good: bool) -> None:
        with self._lock:
            was_open = self._in_a_row >= self._failures
            self._in_a_row = 0 if good else self._in_a_row + 1
            is_open = self._in_a_row >= self._failures
            if is_open:
                self._until = time.monotonic() + self._pause
        if is_open != was_open:
            monitoring.BREAKER.labels(dep=self._dep).set(int(is_open))
            log.warning("provider left alone" if is_open else "provider is back", dep=self._dep)


@dataclass
class Outcome:
    """What the caller of `watched` says of the answer."""

    status: int | None = None

    @property
    def result(self) -> str:
        if self.status is None:
            return "lost"
        return "ok" if self.status < 400 else "refused" if self.status < 500 else "failed"


class Watch:
    """One provider, as this process calls it."""

    def __init__(self, provider: str, *, breaker: Breaker | None = None) -> None:
        """Without a breaker it is asked whatever happened: an order to stop mail must be tried."""
        self._provider, self._breaker = provider, breaker
        self._ops: set[str] = set()

    @contextmanager
    def call(self, op: str, headers: Any) -> Iterator[Outcome]:
        """Around one call; adds to `headers`. Raises LeftAlone."""
        if self._breaker is not None:
            self._breaker.require_closed()
        if op not in self._ops and len(self._ops) >= _MOST_OPS:
            op = "other"
        self._ops.add(op)
        outcome = Outcome()
        began = time.perf_counter()
        with tracing.span(
            f"{self._provider} {op}", SpanKind.CLIENT, peer_service=self._provider
        ) as span:
            tracing.pass_on(headers)
            try:
                yield outcome
            finally:
                if outcome.status is not None:
                    span.set_attribute("http.response.status_code", outcome.status)
                self._tell(op, outcome, time.perf_counter() - began)

    def _tell(self, op: str, outcome: Outcome, seconds: float) -> None:
        monitoring.PROVIDER_CALLS.labels(
            provider=self._provider, op=op, result=outcome.result
        ).observe(seconds)
        if self._breaker is not None:
            self._breaker.note(good=outcome.result in {"ok", "refused"})
        log.info(
            "provider call",
            provider=self._provider,
            op=op,
            result=outcome.result,
            status=outcome.status,
            ms=round(seconds * 1000, 1),
        )


class Client(httpx.Client):
    """httpx, watched. `providers` says who is called at addresses that begin so; all others are
    nodes of the mail plane.
    """

    def __init__(self, providers: Mapping[str, str], **options: Any) -> None:
        super().__init__(**options)
        self._watches = {url: Watch(name, breaker=Breaker(name)) for url, name in providers.items()}
        self._nodes = Watch(_NODES)

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        url = str(request.url)
        watch = next((w for start, w in self._watches.items() if url.startswith(start)), None)
        op = operation(request.method, request.url.path, request.content)
        try:
            with (watch or self._nodes).call(op, request.headers) as outcome:
                answer = super().send(request, **options)
                outcome.status = answer.status_code
        except LeftAlone as error:
            # To its callers, like a refused connection: nothing was sent, so nothing happened.
            raise httpx.ConnectError(f"{error} is left alone", request=request) from error
        return answer


class StripeAdapter(requests.adapters.HTTPAdapter):
    """The adapter of the session that Stripe's SDK speaks through, watched."""

    _watch: Watch

    @classmethod
    def new(cls, **options: Any) -> StripeAdapter:
        made = cls(**options)
        made._watch = Watch("stripe", breaker=Breaker("stripe"))
        return made

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> Any:
        op = operation(request.method or "", urlsplit(request.url or "").path)
        try:
            with self._watch.call(op, request.headers) as outcome:
                answer = super().send(request, *args, **options)
                outcome.status = answer.status_code
        except LeftAlone as error:
            raise requests.exceptions.ConnectionError(f"{error} is left alone") from error
        return answer


class StripeHTTP(stripe.RequestsClient):
    """Counts what the SDK repeats; it asks for the time to sleep before each repetition."""

    def _should_retry(
        self,
        response: Any,
        api_connection_error: stripe.APIConnectionError | None,
        num_retries: int,
        max_network_retries: int | None,
    ) -> bool:
        # Who waited in vain for a frozen server would wait as long again, and a person with him;
        # jobs have a ladder of their own.
        cause = None if api_connection_error is None else api_connection_error.__cause__
        if isinstance(cause, requests.exceptions.ReadTimeout):
            return False
        return bool(
            super()._should_retry(response, api_connection_error, num_retries, max_network_retries)
        )

    def _sleep_time_seconds(self, num_retries: int) -> float:
        monitoring.RETRIES.labels(dep="stripe").inc()
        return super()._sleep_time_seconds(num_retries)


def operation(method: str, path: str, body: bytes = b"") -> str:
    """The kind of a call, without what is different each time: ids, names, numbers.

    Namecheap has one path for everything and names the command in the form.
    """
    if path.endswith("/xml.response"):
        command = parse_qs(body.decode("ascii", "replace")).get("Command", [""])[0]
        return command if _COMMAND.fullmatch(command) else "other"
    parts = [part if _WORD.fullmatch(part) else "{}" for part in path.split("/") if part]
    return f"{method} /{'/'.join(parts)}"


def in_context(work: Callable[P, T]) -> Callable[P, T]:
    """`work` for threads of a pool: they know whose request, which job and trace this is about."""
    here = copy_context()

    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        # A context is entered by one thread at a time.
        return here.copy().run(work, *args, **kwargs)

    return run


def count_retries() -> None:
    """Have stamina tell of each repetition. Safe to repeat."""
    stamina.instrumentation.set_on_retry_hooks([_count_retry])


def _count_retry(details: stamina.instrumentation.RetryDetails) -> None:
    error = details.caused_by
    told = getattr(error, "details", {}).get("provider") or str(error).partition(":")[0]
    name = told.lower()
    monitoring.RETRIES.labels(dep=name if re.fullmatch(r"[a-z]{3,20}", name) else "other").inc()
