"""Deliveries: signed, at least once, in the background, and made worse on request."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe

from tests.sandbox.stripe.tools import SECRET, Receiver, Sandbox, until


def _waiting(sandbox: Sandbox) -> int:
    count: int = httpx.get(f"{sandbox.url}/control/stripe/deliveries", timeout=10).json()["count"]
    return count


def test_every_event_arrives_once_signed_and_in_order(sandbox: Sandbox, receiver: Receiver) -> None:
    sandbox.trial()
    until(lambda: _waiting(sandbox) == 0, "the first deliveries")
    sandbox.advance(days=8)
    until(lambda: _waiting(sandbox) == 0, "the end of the deliveries")
    expected = [event["id"] for event in sandbox.events()]
    assert [event.id for event in receiver.events()] == expected
    assert len(expected) > 15
    header, body = receiver.requests[0]
    with pytest.raises(stripe.SignatureVerificationError):
        sandbox.client.construct_event(body + b" ", header, SECRET)
    moment = int(header.split(",")[0].removeprefix("t="))
    assert abs(moment - (sandbox.now() - 8 * 86_400)) < 30


def test_a_refused_event_is_sent_again_until_it_is_taken(
    sandbox: Sandbox, receiver: Receiver
) -> None:
    refusals = iter([500, 503, 404])
    receiver.answer = lambda kind: next(refusals, 200)
    customer = sandbox.v1.customers.create({})
    until(lambda: sandbox.world.store.collection("stripe.deliveries").values(), "a first attempt")
    for _ in range(3):
        sandbox.advance(seconds=60)
    until(lambda: receiver.types() == ["customer.created"], "the event")
    [event] = sandbox.v1.events.list({"type": "customer.created"}).data
    until(lambda: sandbox.v1.events.retrieve(event.id).pending_webhooks == 0, "the acknowledgement")
    assert event.data.object["id"] == customer.id


def test_a_dead_endpoint_does_not_slow_the_api_and_loses_nothing(
    start: Callable[..., Sandbox], receiver: Receiver
) -> None:
    sandbox = start()
    receiver.answer = lambda kind: 500
    made = sandbox.trial()
    sandbox.advance(days=30)
    assert sandbox.v1.subscriptions.retrieve(made.id).status == "active"
    assert {one.id for one in sandbox.v1.events.list({"delivery_success": False}).data}
    receiver.answer = lambda kind: 200
    sandbox.advance(seconds=120)
    until(lambda: _waiting(sandbox) == 0, "the end of the deliveries")
    assert {one.id for one in receiver.events()} == {one["id"] for one in sandbox.events()}


def test_duplicates_and_disorder_on_request(sandbox: Sandbox, receiver: Receiver) -> None:
    sandbox.control("deliveries", part="stripe", duplicate=2, shuffle=True)
    sandbox.trial()
    sandbox.advance(days=8)
    until(lambda: _waiting(sandbox) == 0, "the end of the deliveries")
    expected = [event["id"] for event in sandbox.events()]
    arrived = [event.id for event in receiver.events()]
    assert Counter(arrived) == Counter(expected * 3)
    assert list(dict.fromkeys(arrived)) != expected


def test_dropped_attempts_are_made_again(sandbox: Sandbox, receiver: Receiver) -> None:
    sandbox.control("deliveries", part="stripe", drop=1.0)
    sandbox.v1.customers.create({})
    until(
        lambda: any(
            waiting["attempts"]
            for waiting in sandbox.world.store.collection("stripe.deliveries").values()
        ),
        "a dropped attempt",
    )
    assert receiver.requests == []
    sandbox.control("deliveries", part="stripe", drop=0.0)
    sandbox.advance(seconds=60)
    until(lambda: receiver.types() == ["customer.created"], "the event")


def test_deliveries_can_be_late(sandbox: Sandbox, receiver: Receiver) -> None:
    sandbox.control("deliveries", part="stripe", delay_seconds=3_600)
    sandbox.v1.customers.create({})
    sandbox.control("deliveries", part="stripe", delay_seconds=0)
    sandbox.v1.products.create({"name": "X"})
    until(receiver.types, "the later event")
    assert receiver.types() == ["product.created"]
    sandbox.advance(hours=1)
    until(lambda: receiver.types() == ["product.created", "customer.created"], "the late event")


def test_pending_deliveries_survive_a_restart(
    start: Callable[..., Sandbox], receiver: Receiver, tmp_path: Path
) -> None:
    first = start(tmp_path)
    receiver.answer = lambda kind: 500
    subscription = first.trial()
    first.advance(days=3)
    now, events = first.now(), [event["id"] for event in first.events()]
    key: Any = {"idempotency_key": "k1"}
    kept = first.v1.customers.create({"name": "kept"}, key)
    first.close()
    receiver.answer = lambda kind: 200
    second = start(tmp_path)
    assert second.now() >= now
    assert second.v1.customers.create({"name": "kept"}, key).id == kept.id
    assert len(second.v1.prices.list().data) == 3
    second.advance(seconds=60)
    until(lambda: set(events) <= {event.id for event in receiver.events()}, "the old events")
    second.advance(days=5)
    after = second.v1.subscriptions.retrieve(subscription.id, {"expand": ["latest_invoice"]})
    assert isinstance(after.latest_invoice, stripe.Invoice)
    assert (after.status, after.latest_invoice.amount_paid) == ("active", 9_700)


def test_an_event_can_be_sent_again_also_badly_signed(sandbox: Sandbox, receiver: Receiver) -> None:
    sandbox.v1.customers.create({})
    until(lambda: len(receiver.requests) == 1, "the event")
    [event] = receiver.events()
    sandbox.control("stripe/redeliver", event=event.id)
    sandbox.control("stripe/redeliver", since=0)
    until(lambda: len(receiver.requests) == 3, "the repetitions")
    assert {one.id for one in receiver.events()} == {event.id}
    for signature in ("bad", "old"):
        receiver.requests.clear()
        sandbox.control("stripe/redeliver", event=event.id, signature=signature)
        until(lambda: receiver.requests, "the forgery")
        with pytest.raises(stripe.SignatureVerificationError):
            receiver.events()


def test_endpoints_get_what_they_asked_for_with_their_own_secret(
    start: Callable[..., Sandbox], receiver: Receiver
) -> None:
    sandbox, other = start(), Receiver()
    try:
        made = sandbox.v1.webhook_endpoints.create(
            {"url": other.url, "enabled_events": ["customer.updated"]}
        )
        assert made.secret is not None
        assert sandbox.v1.webhook_endpoints.retrieve(made.id).to_dict().get("secret") is None
        assert len(sandbox.v1.webhook_endpoints.list().data) == 2
        customer = sandbox.v1.customers.create({})
        sandbox.v1.customers.update(customer.id, {"name": "B"})
        until(lambda: other.requests, "the event")
        [(header, body)] = other.requests
        event = sandbox.client.construct_event(body, header, made.secret)
        assert event.type == "customer.updated"
        assert json.loads(body)["data"]["previous_attributes"] == {"name": None}
        sandbox.v1.webhook_endpoints.delete(made.id)
        assert len(sandbox.v1.webhook_endpoints.list().data) == 1
    finally:
        other.close()


def test_events_are_listed_by_type(sandbox: Sandbox) -> None:
    sandbox.trial()
    found = sandbox.v1.events.list({"types": ["customer.created", "invoice.paid"]}).data
    assert {event.type for event in found} == {"customer.created", "invoice.paid"}
    assert all(
        e.type.startswith("invoice") for e in sandbox.v1.events.list({"type": "invoice.*"}).data
    )


@pytest.mark.parametrize(
    "body", [{"retry_days": [0]}, {"after_retries": "forget"}, {"astrology": True}]
)
def test_settings_that_make_no_sense_are_refused(sandbox: Sandbox, body: dict[str, object]) -> None:
    answer = httpx.post(f"{sandbox.url}/control/stripe/settings", json=body, timeout=10)
    assert answer.status_code == 400
