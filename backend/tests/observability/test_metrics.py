"""What is counted: on every process, by names that stay, with labels that cannot grow."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest
import stripe
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families

from app.integrations import calls
from app.tasks import jobs, schedule
from app.tasks.routing import ROUTES
from app.utils import monitoring
from tests.fixtures.world import Running, eventually, free_port
from tests.observability.conftest import process

FIXED = {
    "requests_total",
    "request_duration_seconds",
    "stripe_payment_success_total",
    "provisioning_inboxes_total",
    "ig_outbox_oldest_seconds",
    "ig_orders",
    "ig_invariant_violations",
    "ig_kill_latency_seconds",
    "ig_breaker_state",
    "ig_retries_total",
    "ig_task_quarantined_total",
    "ig_webhook_unhandled",
    "ig_job_last_success",
}
"""Names that others build on: of the product's guide, and of whoever checks it from outside."""

WORD = re.compile(r"[A-Za-z0-9_]{1,60}")
BOUNDED: dict[str, Callable[[str], Any]] = {
    # Of routes that exist, or `unmatched`.
    "endpoint": re.compile(r"unmatched|(/([a-z0-9_.-]+|\{[a-z_]+\}))+/?|/").fullmatch,
    "method": re.compile(r"GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|OTHER").fullmatch,
    "status": re.compile(r"[1-5]\d\d|[a-z_]+").fullmatch,
    "task": lambda value: value in jobs.known() or value in {"test.step", "area.verb"},
    "job": lambda value: value in jobs.known() or value == "test.step",
    "schedule": lambda value: value in schedule.PERIODS,
    "op": re.compile(
        r"other|[a-z.A-Z]+|[A-Z]+ (/([a-z_-]+|v\d|\{\}|[a-z]+\.response))*/?"
    ).fullmatch,
    "provider": re.compile(r"[a-z]{3,20}").fullmatch,
    "dep": re.compile(r"[a-z]{3,20}").fullmatch,
    "kind": WORD.fullmatch,
    "what": WORD.fullmatch,
    "name": WORD.fullmatch,
    "door": WORD.fullmatch,
    "answer": WORD.fullmatch,
    "result": WORD.fullmatch,
    "state": WORD.fullmatch,
    "fate": WORD.fullmatch,
    "plan": WORD.fullmatch,
    "reason": WORD.fullmatch,
}
"""For each label what its values may be: words of ours, never what a caller or an id says."""


def exposed(text: str) -> dict[str, list[dict[str, str]]]:
    """Samples by name: the labels of each."""
    found: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(text):
        found.setdefault(family.name, [])
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


def value(text: str, name: str, **labels: str) -> float | None:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return sample.value
    return None


def test_the_names_that_others_build_on(world: Running) -> None:
    text = httpx.get(f"{world.api_url}/metrics", timeout=30).text
    told = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert told >= FIXED


def test_no_label_grows_with_what_strangers_send(world: Running) -> None:
    with httpx.Client(base_url=world.api_url, timeout=30) as client:
        client.get("/metrics")  # It is an endpoint too.
        before = {}
        for round_ in range(2):
            for _ in range(5):
                tag = uuid4().hex
                client.get(f"/{tag}")
                client.get(f"/api/v1/domains/{tag}")
                client.get(f"/api/v1/infrastructure/inboxes/{uuid4()}?x={tag}")
                client.request(f"X{tag[:8].upper()}", "/api/v1/billing/plans")
                client.post("/api/v1/auth/login", json={"email": f"{tag}@x.test", "password": tag})
            seen = exposed(client.get("/metrics").text)
            if round_ == 0:
                before = {name: len(labels) for name, labels in seen.items()}
    assert {name: len(labels) for name, labels in seen.items()} == before
    for name, samples in seen.items():
        for labels in samples:
            for label, content in labels.items():
                if label in {"le", "quantile"} or name.startswith(("python_", "process_")):
                    continue
                assert label in BOUNDED, f"{name} has a label nobody thought about: {label}"
                assert BOUNDED[label](content), f"{name} {label}={content}"


def test_every_label_of_ours_was_thought_about() -> None:
    ours = [
        collector
        for collector in vars(monitoring).values()
        if isinstance(collector, MetricWrapperBase)
    ]
    assert len(ours) > 30
    assert all(collector in REGISTRY._collector_to_names for collector in ours)
    assert {label for collector in ours for label in collector._labelnames} <= set(BOUNDED)


def test_scheduled_events_have_routes() -> None:
    assert set(schedule.PERIODS) <= set(ROUTES)


# Every process ----------------------------------------------------------------------------------


def scraped(url: str, name: str, **labels: str) -> float | None:
    try:
        return value(httpx.get(url, timeout=5).text, name, **labels)
    except httpx.HTTPError:
        return None


@pytest.mark.slow
def test_relay_worker_and_beat_show_what_they_do(world: Running) -> None:
    with (
        process("beat") as beat,
        process("worker", "--concurrency", "1") as worker,
        process("relay") as relay,
    ):
        looks = {
            (beat, "ig_beat_ticks_total"): {},
            (relay, "ig_relay_rounds_total"): {"result": "done"},
            (relay, "ig_relay_jobs_sent_total"): {},
            # Counted by a child of the worker, and shown by the worker.
            (worker, "job_runs_total"): {"result": "done"},
            (worker, "provider_call_duration_seconds_count"): {"provider": "kumomta"},
        }
        for (url, name), labels in looks.items():
            eventually(
                lambda url=url, name=name, labels=labels: scraped(url, name, **labels),
                within=30,
                why=name,
            )


# Calls of providers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body", "op"),
    [
        (
            "POST",
            "/xml.response",
            b"ApiKey=x&Command=namecheap.domains.check",
            "namecheap.domains.check",
        ),
        ("POST", "/xml.response", b"Command=%00%ff", "other"),
        (
            "GET",
            "/client/v4/zones/023e105f4ecef8ad9ca31a8372d0c353/dns_records",
            b"",
            "GET /client/v4/zones/{}/dns_records",
        ),
        ("GET", "/v1/customers/cus_Abc123", b"", "GET /v1/customers/{}"),
        ("GET", "/domain/example.com", b"", "GET /domain/{}"),
    ],
)
def test_an_operation_is_named_without_ids(method: str, path: str, body: bytes, op: str) -> None:
    assert calls.operation(method, path, body) == op


def breaker_state(dep: str) -> float:
    return float(monitoring.BREAKER.labels(dep=dep)._value.get())


def test_a_provider_that_fails_is_left_alone_and_tried_again() -> None:
    refused = free_port()
    url = f"http://127.0.0.1:{refused}"
    client = calls.Client({url: "tested"}, timeout=2)
    with client:
        for _ in range(calls.FAILURES):
            with pytest.raises(httpx.ConnectError, match="refused"):
                client.get(url)
        assert breaker_state("tested") == 1
        with pytest.raises(httpx.ConnectError, match="left alone"):
            client.get(url)
    monitoring.BREAKER.remove("tested")


def test_one_call_after_the_pause_says_whether_it_is_back() -> None:
    breaker = calls.Breaker("paused", failures=2, pause=0.0)
    for _ in range(2):
        breaker.require_closed()
        breaker.note(good=False)
    assert breaker_state("paused") == 1
    breaker.require_closed()
    breaker.note(good=True)
    assert breaker_state("paused") == 0
    slow = calls.Breaker("slow", failures=1, pause=60.0)
    slow.note(good=False)
    with pytest.raises(calls.LeftAlone):
        slow.require_closed()


def test_repetitions_are_counted(world: Running) -> None:
    from app.errors import ProviderUnavailable
    from app.integrations import ports

    def counted(dep: str) -> float:
        return float(monitoring.RETRIES.labels(dep=dep)._value.get())

    before = counted("cloudflare"), counted("stripe")
    world.fault("cloudflare", "zones", "fail_before", times=3, status=500)
    world.fault("stripe", "prices", "fail_before", times=1, status=500)
    try:
        with pytest.raises(ProviderUnavailable):
            ports.current().dns.get_zone("023e105f4ecef8ad9ca31a8372d0c353")
        client = ports.current().payments._client  # type: ignore[attr-defined]
        assert isinstance(client, stripe.StripeClient)
        client.v1.prices.list({"limit": 1})
    finally:
        httpx.delete(f"{world.sandbox_url}/control/faults", timeout=10)
    assert counted("cloudflare") - before[0] == 2
    assert counted("stripe") - before[1] == 1
