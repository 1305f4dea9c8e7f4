"""What comes in from Stripe: stored once, believed when asked about, settled by a person at worst."""

from __future__ import annotations

import random
from typing import Any

import pytest
from sqlalchemy import select, text

from app import clock, errors
from app.database.models import (
    ProviderEvent,
)
from app.database.session import ALL_TENANTS, transaction
from app.integrations import ports
from app.services import event_store, stripe_events
from app.services.billing_service import BillingService
from tests.fixtures.customer import Customer
from tests.fixtures.money import (
    alerts,
    at_stripe,
    charges,
    command,
    customer_id,
    payments,
    quiet,
)
from tests.fixtures.world import Running


def told(kind: str, body: dict[str, Any], **more: Any) -> ports.WebhookEvent:
    payload = {
        "id": f"evt_{random.randrange(10**12)}",
        "type": kind,
        "livemode": False,
        "api_version": payments().api_version,
        "data": {"object": body},
        **more,
    }
    return ports.WebhookEvent(
        id=str(payload["id"]), type=kind, created=clock.now(), object=body, payload=payload
    )


def outcome(event: ports.WebhookEvent) -> str | None:
    with transaction(tenant=ALL_TENANTS) as db:
        row = db.scalars(select(ProviderEvent).where(ProviderEvent.provider_id == event.id)).one()
        assert row.handled_at is not None
        return row.outcome


def test_what_became_of_an_event_is_kept(starter: Customer) -> None:
    unknown = told("balance.available", {"object": "balance"})
    stranger = told("customer.updated", {"object": "customer", "id": "cus_of_nobody"})
    ours = told("customer.updated", {"object": "customer", "id": customer_id(starter)})
    for event in (unknown, stranger, ours):
        event_store.receive(event, payments())
    quiet(starter)
    assert [outcome(e) for e in (unknown, stranger, ours)] == ["ignored", "stranger", "applied"]


def test_an_event_of_the_other_mode_is_refused(world: Running) -> None:
    event = told("customer.updated", {"object": "customer", "id": "cus_1"}, livemode=True)
    with pytest.raises(errors.Invalid, match="other mode"):
        event_store.receive(event, payments())


def test_another_api_version_is_taken_and_told_of(world: Running) -> None:
    event = told(
        "customer.updated", {"object": "customer", "id": "cus_1"}, api_version="2020-08-27"
    )
    assert event_store.receive(event, payments()) is not None
    assert alerts() == ["api_version"]


def test_an_event_without_effect_is_set_going_again_when_it_comes_again(
    starter: Customer,
) -> None:
    event = told("customer.updated", {"object": "customer", "id": customer_id(starter)})
    event_store.receive(event, payments())
    with transaction(tenant=ALL_TENANTS) as db:
        db.execute(text("DELETE FROM outbox WHERE routed_at IS NULL"))
    assert event_store.receive(event, payments()) is None
    starter.world.advance(seconds=120)
    event_store.receive(event, payments())
    quiet(starter)
    assert outcome(event) == "applied"


def test_a_night_sets_going_what_was_given_up(starter: Customer) -> None:
    """A job whose worker died three times, say: Stripe got its 200 and sends nothing again."""
    quiet(starter)
    starter.world.advance(seconds=600)
    with transaction(tenant=ALL_TENANTS) as db:
        db.execute(text("UPDATE provider_events SET handled_at = NULL, outcome = NULL"))
    code, told = command("reconcile")
    assert (code, told["missed_events"]) == (0, 0)
    quiet(starter)
    with transaction(tenant=ALL_TENANTS) as db:
        left = "SELECT DISTINCT event_type FROM provider_events WHERE handled_at IS NULL"
        waiting = set(db.scalars(text(left)))
    assert not waiting & set(stripe_events.HANDLERS)


def test_an_event_cannot_lie_about_money(starter: Customer) -> None:
    """The body says anything; only what Stripe answers when asked is believed."""
    (charge,) = at_stripe(starter, "charges", customer=customer_id(starter))["data"]
    lie = told("charge.succeeded", {**charge, "amount": 1, "amount_captured": 1})
    event_store.receive(lie, payments())
    quiet(starter)
    assert charges(starter) == [9_700]


def test_every_event_of_the_list_is_handled() -> None:
    """Those that the product's documentation tells operators to subscribe to."""
    from pathlib import Path

    page = (Path(__file__).parents[1] / "docs" / "billing.md").read_text()
    missing = [name for name in stripe_events.HANDLERS if f"`{name}`" not in page]
    assert not missing


@pytest.mark.parametrize(
    "kind", ["radar.early_fraud_warning.created", "invoice.finalization_failed"]
)
def test_what_only_a_person_can_settle_calls_one(starter: Customer, kind: str) -> None:
    (charge,) = at_stripe(starter, "charges", customer=customer_id(starter))["data"]
    (invoice, *_) = at_stripe(starter, "invoices", customer=customer_id(starter))["data"]
    body = {
        "radar.early_fraud_warning.created": {
            "object": "radar.early_fraud_warning",
            "id": "issfr_1",
            "charge": charge["id"],
            "actionable": True,
        },
        "invoice.finalization_failed": {
            **invoice,
            "last_finalization_error": {"message": "No tax location."},
        },
    }[kind]
    for _ in range(2):
        event_store.receive(told(kind, body), payments())
    quiet(starter)
    assert len(alerts()) == 1


def test_alerts_reach_a_letter_box_and_are_resolved(starter: Customer) -> None:
    from app.services import notices

    with transaction(tenant=ALL_TENANTS) as db:
        assert notices.alert(db, "loss", "p1", "Look after it.")
        assert not notices.alert(db, "loss", "p1", "Look after it.")
    starter.drain()
    code, told_ = command("alerts")
    assert (code, [one["kind"] for one in told_["open"]]) == (1, ["loss"])
    assert command("alerts", "--resolve", told_["open"][0]["id"]) == (0, {"open": []})


def test_signatures_are_judged_by_the_webhook_itself(world: Running) -> None:
    with pytest.raises(errors.Invalid):
        BillingService.handle_webhook(b"{}", "t=1,v1=00")
