"""Traces by OpenTelemetry: off, and free, unless OTEL_EXPORTER_OTLP_ENDPOINT is set.

A trace begins with a request, goes on in the outbox (`traceparent` of its row), in the jobs that
come of it, and in their calls of providers, whose answers end it. Batches are sent by OTLP over
HTTP; sampling, headers and timeouts follow the OTEL_… variables of the specification.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.propagate import extract, inject
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode

_tracer = trace.get_tracer("inboxgrove")
_provider: TracerProvider | None = None


def configure(endpoint: str, *, process: str, release: str, environment: str) -> None:
    """Begin to export to `endpoint`, without /v1/traces at its end, if there is one.

    Safe to repeat.
    """
    global _provider, _tracer
    if _provider is not None or not endpoint:
        return
    # Protocol buffers are slow to load, and who does not trace need not wait for them.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )

    _provider = TracerProvider(
        resource=Resource.create(
            {
                "service.name": f"inboxgrove-{process}",
                "service.version": release,
                "deployment.environment.name": environment,
            }
        )
    )
    # Its thread begins anew in a forked child by itself.
    _provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces"))
    )
    _tracer = _provider.get_tracer("inboxgrove")


def stop() -> None:
    """Send what is waiting, and trace no more; at the end of a process."""
    global _provider, _tracer
    if _provider is not None:
        _provider.force_flush(5_000)
        _provider.shutdown()
    _provider, _tracer = None, trace.NoOpTracer()


@contextmanager
def span(
    name: str,
    kind: SpanKind = SpanKind.INTERNAL,
    *,
    parent: str | None = None,
    **attributes: str | int | None,
) -> Iterator[Span]:
    """Measure what is done within; `parent` is a traceparent (W3C Trace Context) from elsewhere.

    An exception marks the span as failed by its class only: its text may hold what is secret.
    Attribute names are written with `_` for the dots of the semantic conventions.
    """
    context = extract({"traceparent": parent}) if parent else None
    given = {key.replace("_", "."): value for key, value in attributes.items() if value is not None}
    with _tracer.start_as_current_span(
        name,
        context=context,
        kind=kind,
        attributes=given,
        record_exception=False,
        set_status_on_exception=False,
    ) as opened:
        try:
            yield opened
        except BaseException as error:
            opened.set_status(StatusCode.ERROR, type(error).__name__)
            raise


def traceparent() -> str | None:
    """Where we are in a trace, to be carried elsewhere; None when nothing is traced."""
    carrier: dict[str, str] = {}
    inject(carrier)
    return carrier.get("traceparent")


def pass_on(headers: MutableMapping[str, str]) -> None:
    """Tell whoever is called where we are in the trace."""
    here = traceparent()
    if here is not None:
        headers["traceparent"] = here


def ids() -> dict[str, str]:
    """`trace_id` and `span_id` for a line of the log; {} when nothing is traced."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
