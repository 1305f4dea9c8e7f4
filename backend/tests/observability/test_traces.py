"""One trace and one request id from the Magic Button to the node's acknowledgement."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from sqlalchemy import select

from app.database.models import Job, OutboxEvent
from app.database.session import ALL_TENANTS, transaction
from app.telemetry import tracing
from tests.fixtures.customer import Customer
from tests.observability.conftest import receiver

Press = Callable[[], str]
SERVER, CLIENT, CONSUMER = Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_CONSUMER


@pytest.fixture
def press(paying: Customer, own_domain: Callable[[Customer], str]) -> Press:
    """Presses the Magic Button and has the jobs done; the request's id."""
    domain_id = own_domain(paying)

    def once() -> str:
        answer = paying.try_post("/infrastructure/provision", domain_id=domain_id, inbox_count=2)
        assert answer.status_code == 201, answer.text
        assert "provisioning.publish_inboxes" in paying.drain()
        return answer.headers["X-Request-ID"]

    return once


@pytest.fixture
def spans() -> Iterator[list[Span]]:
    """What arrives at a collector."""
    arrived: list[Span] = []

    def take(path: str, body: bytes) -> None:
        assert path == "/v1/traces"
        told = ExportTraceServiceRequest.FromString(body)
        for resource in told.resource_spans:
            for scope in resource.scope_spans:
                arrived.extend(scope.spans)

    with receiver(take) as url:
        tracing.configure(url, process="test", release="1", environment="test")
        yield arrived
        tracing.stop()


def attributes(span: Span) -> dict[str, Any]:
    return {a.key: a.value.string_value or a.value.int_value for a in span.attributes}


def test_one_trace_from_the_button_to_the_node(press: Press, spans: list[Span]) -> None:
    request_id = press()
    tracing.stop()
    (pressed,) = [s for s in spans if attributes(s).get("request.id") == request_id]
    assert (pressed.kind, pressed.name) == (SERVER, "POST /api/v1/infrastructure/provision")
    assert attributes(pressed)["http.response.status_code"] == 201
    trace = [s for s in spans if s.trace_id == pressed.trace_id]
    (job,) = [s for s in trace if s.name == "provisioning.publish_inboxes"]
    assert (job.kind, job.parent_span_id) == (CONSUMER, pressed.span_id)
    (call,) = [s for s in trace if s.name.startswith("kumomta ")]
    assert (call.kind, call.parent_span_id) == (CLIENT, job.span_id)
    assert call.name.endswith("/api/admin/bump-config-epoch")
    # The node took it, and only then was the job done.
    assert attributes(call)["http.response.status_code"] == 200
    assert call.end_time_unix_nano <= job.end_time_unix_nano


def test_nothing_is_traced_without_an_endpoint(press: Press) -> None:
    press()
    with transaction(tenant=ALL_TENANTS) as db:
        assert set(db.scalars(select(OutboxEvent.traceparent))) == {None}
        assert set(db.scalars(select(Job.traceparent))) == {None}


def test_what_failed_says_so_without_its_text(spans: list[Span]) -> None:
    with pytest.raises(ValueError, match="hunter2"), tracing.span("step"):
        raise ValueError("hunter2")
    tracing.stop()
    (span,) = spans
    assert span.status.message == "ValueError"
    assert "hunter2" not in str(span)


def test_one_request_id_from_http_to_the_call_of_the_node(
    press: Press, said: None, capsys: pytest.CaptureFixture[str]
) -> None:
    request_id = press()
    # A command that a test ran before has its logs on the other stream.
    printed = "".join(capsys.readouterr()).splitlines()
    lines = [json.loads(line) for line in printed if line.startswith("{")]
    mine = [line for line in lines if line.get("request_id") == request_id]
    (answered,) = [line for line in mine if line["event"] == "request"]
    (called,) = [line for line in mine if line["event"] == "provider call"]
    assert answered["status"] == 201
    assert (called["provider"], called["result"]) == ("kumomta", "ok")
    assert called["task"] == "provisioning.publish_inboxes"
    assert called["tenant_id"] == answered["tenant_id"]
    with transaction(tenant=ALL_TENANTS) as db:
        row = db.scalars(select(OutboxEvent).where(OutboxEvent.event == "InboxesProvisioned")).one()
    assert row.request_id == request_id
