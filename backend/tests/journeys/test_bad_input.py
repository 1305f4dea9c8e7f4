"""What strangers, thieves and accidents send; each has its answer, and the books do not move."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
import stripe
from sqlalchemy import func, select

from app import clock
from app.database.models import DomainPurchase, Job, JobState, ProviderEvent
from app.database.session import ALL_TENANTS, transaction
from sandbox.stripe.deliveries import SPOILT
from tests.fixtures.customer import Customer
from tests.fixtures.money import (
    at_stripe,
    audit,
    customer_id,
    kinds,
    later,
    quiet,
    stripe_control,
    tenant_of,
)
from tests.fixtures.world import eventually

WEBHOOK_SECRET = "whsec_sandbox"


def deliver(customer: Customer, body: dict[str, Any] | bytes, **headers: str) -> httpx.Response:
    """A body with Stripe's own good signature, as somebody who knows the secret would send it."""
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    at = int(clock.now().timestamp())
    signature = stripe.WebhookSignature.generate_signature_header(
        payload.decode(), WEBHOOK_SECRET, at
    )
    return httpx.post(
        f"{customer.world.api_url}/webhooks/stripe",
        content=payload,
        headers={"Stripe-Signature": signature, **headers},
        timeout=20,
    )


def event(kind: str, about: dict[str, Any], name: str = "evt_made_up") -> dict[str, Any]:
    return {
        "id": name,
        "object": "event",
        "type": kind,
        "created": int(clock.now().timestamp()),
        "livemode": False,
        "api_version": stripe.api_version,
        "data": {"object": about},
    }


def stored() -> int:
    with transaction(tenant=ALL_TENANTS) as db:
        return db.scalar(select(func.count()).select_from(ProviderEvent)) or 0


def outcome_of(name: str) -> str | None:
    with transaction(tenant=ALL_TENANTS) as db:
        return db.scalars(
            select(ProviderEvent.outcome).where(ProviderEvent.provider_id == name)
        ).one()


def books(customer: Customer) -> tuple[Any, ...]:
    tenant = tenant_of(customer)
    return (
        kinds(customer),
        tenant.subscription_status,
        tenant.subscription_tier,
        tenant.is_suspended,
        tenant.trial_converted,
        len(customer.get("/billing/invoices")),
    )


# Events -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", sorted(SPOILT))
def test_forged_stale_future_and_altered_events_are_refused(starter: Customer, how: str) -> None:
    """Really delivered, about a real charge: nothing of it is even stored."""
    (charge, *_) = stripe_control(starter, "events?type=charge.succeeded")["events"]
    known, before = stored(), books(starter)
    starter.world.control("stripe/redeliver", event=charge["id"], signature=how)
    eventually(
        lambda: stripe_control(starter, "deliveries")["count"] == 0, why="it was tried and dropped"
    )
    assert (stored(), books(starter)) == (known, before)


def test_an_unknown_kind_of_event_is_kept_and_changes_nothing(starter: Customer) -> None:
    before = books(starter)
    assert deliver(starter, event("moon.rose", {"id": "moon_1", "object": "moon"})).is_success
    quiet(starter)
    assert outcome_of("evt_made_up") == "ignored"
    assert books(starter) == before


def test_an_event_of_somebody_who_is_no_customer_of_ours(starter: Customer) -> None:
    about = {"id": "sub_stranger", "object": "subscription", "customer": "cus_stranger"}
    assert deliver(starter, event("customer.subscription.deleted", about)).is_success
    quiet(starter)
    assert outcome_of("evt_made_up") == "stranger"


@pytest.mark.parametrize(
    ("kind", "lie"),
    [
        ("invoice.paid", {"amount_paid": 1_000_000, "status": "paid"}),
        ("invoice.payment_failed", {"attempt_count": 9, "status": "open"}),
        ("charge.refunded", {"amount_refunded": 9_700, "refunded": True}),
        ("customer.subscription.deleted", {"status": "canceled"}),
        ("charge.dispute.created", {"amount": 9_700, "status": "needs_response"}),
    ],
)
def test_a_lie_in_a_signed_body_has_no_effect(
    starter: Customer, kind: str, lie: dict[str, Any]
) -> None:
    """Only what Stripe says when it is asked counts."""
    listed = {"invoice": "invoices", "charge": "charges", "customer": "subscriptions"}
    about = at_stripe(
        starter, listed[kind.split(".", maxsplit=1)[0]], customer=customer_id(starter)
    )["data"][0]
    before = books(starter)
    assert deliver(starter, event(kind, {**about, **lie})).is_success
    starter.drain()
    assert books(starter) == before
    assert audit(starter).balances


@pytest.mark.parametrize(
    "about",
    [
        {"id": "ch_nowhere", "object": "charge"},
        {"id": None, "object": "charge"},
        {"id": {"not": "an id"}, "object": "charge"},
        {"object": "charge"},
        {},
    ],
    ids=["unknown", "null", "object", "none", "empty"],
)
def test_an_event_about_nothing_harms_no_other(
    starter: Customer, about: dict[str, Any], drain: Callable[..., list[str]]
) -> None:
    before = books(starter)
    answer = deliver(
        starter, event("charge.succeeded", {**about, "customer": customer_id(starter)})
    )
    assert answer.status_code in {200, 400}
    drain()
    assert books(starter) == before
    # Those that come after it are handled all the same.
    starter.upgrade("growth")
    eventually(
        lambda: stripe_control(starter, "deliveries")["count"] == 0 and not drain(),
        why="the others have arrived",
    )
    assert kinds(starter)["charge"] == 2
    with transaction(tenant=ALL_TENANTS) as db:
        waiting = select(func.count()).where(Job.state == JobState.SENT)
        assert db.scalar(waiting) == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b'{"id": "evt_1"}',
        b'{"id": "evt_1", "type": "charge.failed", "created": "soon", "data": {"object": {}}}',
        b'{"id": "evt_1", "type": "charge.failed", "created": 1e99, "data": {"object": {}}}',
        b'{"id": "evt_1", "type": "charge.failed", "created": 1, "data": []}',
    ],
)
def test_signed_bodies_that_are_no_events(starter: Customer, body: bytes) -> None:
    known = stored()
    answer = deliver(starter, body)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "VALIDATION_ERROR")
    assert stored() == known


# Purchases --------------------------------------------------------------------------------------


def test_a_purchase_of_another_tenant_does_not_exist(signed_in: Customer, other: Customer) -> None:
    offer = signed_in.offer()
    signed_in.confirm("payment_intent", offer).raise_for_status()
    answer = other.try_post("/domains/purchase", purchase_id=offer["purchase_id"])
    assert (answer.status_code, answer.json()["error_code"]) == (404, "NOT_FOUND")
    assert other.get("/domains") == []
    # Its owner buys it unharmed.
    assert signed_in.try_post("/domains/purchase", purchase_id=offer["purchase_id"]).is_success


def test_a_paid_intent_for_another_amount_buys_nothing(signed_in: Customer) -> None:
    """Two offers whose payments were swapped in our rows: the cheaper one pays for no dearer."""
    cheap = signed_in.offer(f"cheap-{signed_in.tag}.com")
    signed_in.confirm("payment_intent", cheap).raise_for_status()
    with transaction(tenant=ALL_TENANTS) as db:
        purchase = db.get_one(DomainPurchase, UUID(cheap["purchase_id"]))
        purchase.price_cents += 100
    answer = signed_in.try_post("/domains/purchase", purchase_id=cheap["purchase_id"])
    assert (answer.status_code, answer.json()["error_code"]) == (409, "CONFLICT")
    assert signed_in.get("/domains") == []


def test_an_offer_that_expired_buys_nothing(signed_in: Customer) -> None:
    offer = signed_in.offer()
    signed_in.confirm("payment_intent", offer).raise_for_status()
    signed_in.world.advance(seconds=15 * 60 + 1)
    signed_in.sign_in_again()
    answer = signed_in.try_post("/domains/purchase", purchase_id=offer["purchase_id"])
    assert (answer.status_code, answer.json()["error_code"]) == (409, "QUOTE_EXPIRED")
    quiet(signed_in)
    assert kinds(signed_in)["capture"] == 0


# Cards that want their holder ---------------------------------------------------------------------


@pytest.mark.parametrize("holder_agrees", [True, False])
def test_a_card_is_saved_only_after_its_holder_was_asked(
    signed_in: Customer, holder_agrees: bool
) -> None:
    intent = signed_in.signed_up["setup_intent"]
    asked = signed_in.confirm("setup_intent", intent, "pm_card_authenticationRequiredOnSetup")
    assert asked.json()["status"] == "requires_action"
    quiet(signed_in)
    assert signed_in.get("/billing/payment-methods") == []
    signed_in.world.control("stripe/authenticate", intent=intent["id"], succeed=holder_agrees)
    quiet(signed_in)
    assert len(signed_in.get("/billing/payment-methods")) == holder_agrees
    later(signed_in, days=7, hours=2)
    assert kinds(signed_in)["charge"] == holder_agrees


@pytest.mark.parametrize("holder_agrees", [True, False])
def test_a_purchase_waits_for_its_holder(signed_in: Customer, holder_agrees: bool) -> None:
    offer = signed_in.offer()
    asked = signed_in.confirm("payment_intent", offer, "pm_card_authenticationRequired").json()
    assert asked["status"] == "requires_action"
    answer = signed_in.try_post("/domains/purchase", purchase_id=offer["purchase_id"])
    assert (answer.status_code, answer.json()["error_code"]) == (402, "PAYMENT_NOT_COMPLETED")
    signed_in.world.control(
        "stripe/authenticate", intent=offer["payment_intent_id"], succeed=holder_agrees
    )
    answer = signed_in.try_post("/domains/purchase", purchase_id=offer["purchase_id"])
    assert answer.status_code == (202 if holder_agrees else 402)
