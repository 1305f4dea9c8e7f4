"""Plans, cards, invoices, the ledger, Stripe's webhook, over HTTP."""

from __future__ import annotations

import hashlib
import hmac
import json
from uuid import UUID

import httpx
import pytest
from sqlalchemy import func, select

from app import clock
from app.database.models import Invoice, ProviderEvent
from app.database.session import ALL_TENANTS, transaction
from tests.fixtures.customer import Customer


def test_plans_are_public(api: httpx.Client) -> None:
    plans = api.get("/api/v1/billing/plans").json()["data"]
    assert [(plan["name"], plan["price_cents"]) for plan in plans] == [
        ("starter", 9700),
        ("growth", 29700),
        ("enterprise", 99700),
    ]
    assert plans[0]["limits"]["inboxes"] == 100
    assert plans[0]["interval"] == "month"


def test_the_subscription_of_a_trial(signed_in: Customer) -> None:
    data = signed_in.get("/billing/subscription")
    assert (data["status"], data["plan"], data["trial_days_remaining"]) == (
        "trialing",
        "starter",
        7,
    )
    assert data["limits"]["inboxes"] == 5
    assert data["usage"] == {"inboxes": 0, "domains": 0}
    assert not data["trial_converted"]


def test_a_card_and_an_upgrade(signed_in: Customer) -> None:
    early = signed_in.try_post("/billing/upgrade", plan="growth")
    assert (early.status_code, early.json()["error_code"]) == (402, "PAYMENT_REQUIRED")
    intent = signed_in.post("/billing/setup-intent")
    assert intent["id"].startswith("seti_")
    assert intent["publishable_key"] == "pk_test_sandbox"
    assert signed_in.get("/billing/payment-methods") == []
    signed_in.add_card()
    (card,) = signed_in.get("/billing/payment-methods")
    assert (card["card_brand"], card["card_last_four"], card["is_default"]) == (
        "visa",
        "4242",
        True,
    )
    data = signed_in.post("/billing/upgrade", key="up-1", plan="growth")
    assert (data["status"], data["plan"]) == ("active", "growth")
    assert data["limits"]["inboxes"] == 1000
    signed_in.settle(lambda: signed_in.get("/billing/invoices"), why="an invoice arrives")
    assert signed_in.try_post("/billing/upgrade", plan="growth").status_code == 409
    assert signed_in.try_post("/billing/upgrade", plan="gold").status_code == 400
    signed_in.settle(
        lambda: any(
            row["transaction_type"] == "charge" for row in signed_in.get("/billing/transactions")
        ),
        why="the charge is in the ledger",
    )
    assert signed_in.get("/billing/transactions", transaction_type="refund") == []


def test_invoices_are_paged(paying: Customer) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        for number in range(5):
            db.add(
                Invoice(
                    tenant_id=UUID(paying.tenant_id),
                    stripe_invoice_id=f"in_{number}",
                    status="paid",
                    amount_due_cents=1,
                    amount_paid_cents=1,
                    currency="usd",
                )
            )
    first = paying.http.get("/billing/invoices?limit=3").json()
    assert [row["stripe_invoice_id"] for row in first["data"]] == ["in_4", "in_3", "in_2"]
    rest = paying.get("/billing/invoices", limit=3, cursor=first["meta"]["next_cursor"])
    assert [row["stripe_invoice_id"] for row in rest] == ["in_1", "in_0"]


def test_an_offer_for_a_domain(signed_in: Customer, other: Customer) -> None:
    offer = signed_in.offer("offered-mail.com")
    assert {
        "purchase_id",
        "payment_intent_id",
        "client_secret",
        "amount",
        "currency",
        "expires_at",
    } <= set(offer)
    for body in (
        {"domain_name": "no name"},
        {"domain_name": "paypa1.com"},
        {"domain_name": "a.com", "years": 11},
        {"domain_name": "a.com", "years": 0},
        {"domain_name": "a.com", "amount": 1},
    ):
        assert signed_in.try_post("/billing/domain-purchase-intent", **body).status_code == 400


def signed(payload: bytes, *, secret: str = "whsec_sandbox", age: int = 0) -> dict[str, str]:
    at = int(clock.now().timestamp()) - age
    mac = hmac.new(secret.encode(), f"{at}.".encode() + payload, hashlib.sha256).hexdigest()
    return {"Stripe-Signature": f"t={at},v1={mac}", "Content-Type": "application/json"}


def event(id_: str) -> bytes:
    return json.dumps(
        {
            "id": id_,
            "object": "event",
            "type": "customer.updated",
            "created": int(clock.now().timestamp()),
            "api_version": "2026-10-28.endive",
            "livemode": False,
            "data": {"object": {"id": "cus_1", "object": "customer"}},
        }
    ).encode()


def stored() -> int:
    with transaction(tenant=ALL_TENANTS) as db:
        # The sandbox may still be telling us about other things.
        ours = ProviderEvent.provider_id.in_(["evt_1", "evt_2"])
        return db.scalar(select(func.count()).where(ours)) or 0


def test_an_event_is_stored_once(api: httpx.Client) -> None:
    payload = event("evt_1")
    for repeated in (False, True):
        answer = api.post("/webhooks/stripe", content=payload, headers=signed(payload))
        assert answer.status_code == 200
        assert answer.json()["data"] == {"received": True, "repeated": repeated}
    assert stored() == 1


@pytest.mark.parametrize("kind", ["secret", "old", "changed", "none", "junk", "empty"])
def test_an_event_that_stripe_did_not_sign(api: httpx.Client, kind: str) -> None:
    payload = event("evt_2")
    headers = {
        "secret": signed(payload, secret="whsec_other"),
        "old": signed(payload, age=900),
        "changed": signed(payload + b" "),
        "none": {},
        "junk": {"Stripe-Signature": "junk"},
        "empty": signed(b""),
    }[kind]
    answer = api.post("/webhooks/stripe", content=payload, headers=headers)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "VALIDATION_ERROR")
    assert stored() == 0
