"""What Sentry is told: of whom and of which release, how fast, and no secrets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sentry_sdk

from app import clock
from app.database.models import Job, JobState, OutboxEvent
from app.database.session import ALL_TENANTS, transaction
from app.tasks import jobs
from app.utils import monitoring
from tests.fixtures.customer import Customer
from tests.observability.conftest import SETTINGS, receiver

Envelopes = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def envelopes(said: None) -> Iterator[Envelopes]:
    """The JSON items that were sent."""
    bodies: list[bytes] = []
    with receiver(lambda _, body: bodies.append(body)) as url:
        dsn = url.replace("://", "://key@") + "/1"
        monitoring.configure(sentry_dsn=dsn, process="worker", sentry_traces=1.0, **SETTINGS)

        def sent() -> list[dict[str, Any]]:
            sentry_sdk.flush(10)
            lines = [line for body in bodies for line in body.splitlines() if line[:1] == b"{"]
            return [json.loads(line) for line in lines]

        yield sent
        sentry_sdk.init()


def test_an_error_names_release_environment_tenant_and_request(envelopes: Envelopes) -> None:
    with (
        sentry_sdk.isolation_scope() as scope,
        monitoring.about(request_id="r-12345678", task="area.verb"),
    ):
        # What tests before ran in this thread, they ran outside of any request or job.
        scope.remove_tag("job")
        monitoring.add_circumstances(tenant_id="0198-tenant")
        monitoring.report(
            RuntimeError("the password=hunter2 of ann@example.com was sk_live_abc123")
        )
    (event,) = [item for item in envelopes() if "exception" in item]
    assert (event["release"], event["environment"]) == ("1.2.3", "production")
    assert event["tags"] == {
        "process": "worker",
        "request_id": "r-12345678",
        "task": "area.verb",
        "tenant_id": "0198-tenant",
    }
    text = json.dumps(event)
    assert "a***@example.com" in text
    assert not [secret for secret in ("hunter2", "abc123", "ann@") if secret in text]


def test_performance_is_told_without_secrets(envelopes: Envelopes) -> None:
    with (
        sentry_sdk.isolation_scope(),
        sentry_sdk.start_transaction(op="queue.task", name="area.verb"),
        sentry_sdk.start_span(op="http.client", name="GET https://x.test/?token=hunter2"),
    ):
        pass
    (told,) = [item for item in envelopes() if "spans" in item]
    assert told["transaction"] == "area.verb"
    assert len(told["spans"]) == 1
    assert "hunter2" not in json.dumps(told)


def test_a_request_s_performance_names_its_tenant(customer: Customer, envelopes: Envelopes) -> None:
    customer.sign_up()
    customer.get("/auth/me")
    told = [item for item in envelopes() if "spans" in item]
    # Sentry's name for it depends on whether it was set up before the API was.
    (asked,) = [item for item in told if item["transaction"].endswith("/auth/me")]
    assert asked["tags"]["tenant_id"] == customer.tenant_id
    assert asked["tags"]["request_id"]
    text = json.dumps(told)
    assert customer.http.headers["Authorization"] not in text
    assert f"Correct-{customer.tag}-horse" not in text
    assert f"owner@company-{customer.tag}" not in text


def test_a_job_that_fails_is_reported_with_its_tenant(
    envelopes: Envelopes, make_tenant: Callable[..., Any], drain: Callable[..., list[str]]
) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        tenant_id = make_tenant(db).id
        event = OutboxEvent(event="Test", payload={}, routed_at=clock.now())
        db.add(event)
        db.flush()
        job = Job(
            outbox_id=event.id,
            task="test.step",
            payload={},
            tenant_id=tenant_id,
            request_id="r-87654321",
            state=JobState.SENT,
            next_try_at=clock.now(),
        )
        db.add(job)
        db.flush()
        job_id = job.id

    def fail(_: object) -> None:
        raise ValueError("no")

    with sentry_sdk.isolation_scope():
        jobs.run(job_id, {"test.step": fail})
    (event,) = [item for item in envelopes() if "exception" in item]
    assert event["tags"]["tenant_id"] == str(tenant_id)
    assert event["tags"]["request_id"] == "r-87654321"
    assert event["tags"]["task"] == "test.step"
