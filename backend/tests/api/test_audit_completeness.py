"""What customers do, by HTTP: each change is in the trail, with who, from where, and the request."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select

from app.database.models import AuditLog
from app.database.session import transaction
from tests.fixtures.customer import Customer


def rows_of(customer: Customer, **where: Any) -> list[AuditLog]:
    with transaction(tenant=UUID(customer.tenant_id)) as db:
        wanted = select(AuditLog).filter_by(**where).order_by(AuditLog.seq)
        return list(db.scalars(wanted))


def left(customer: Customer, answer: httpx.Response, event: str) -> AuditLog:
    """The first row of `event` that the answered request left."""
    assert answer.is_success, answer.text
    rows = rows_of(customer, request_id=answer.headers["X-Request-ID"], action=event)
    assert rows, f"{answer.request.method} {answer.request.url} left no {event}"
    for row in rows:
        assert (row.actor_type, row.ip) == ("user", "127.0.0.1")
        assert row.actor_id == UUID(customer.signed_up["user"]["id"])
    return rows[0]


@pytest.fixture
def domain_id(paying: Customer, own_domain: Callable[..., str]) -> str:
    return own_domain(paying, name="complete-mail.com")


def test_inboxes(paying: Customer, domain_id: str) -> None:
    http = paying.http
    made = paying.try_post("/infrastructure/provision", key="k", domain_id=domain_id, inbox_count=3)
    left(paying, made, "inbox_provisioned")
    request_id = made.headers["X-Request-ID"]
    inboxes = [inbox["id"] for inbox in made.json()["data"]["inboxes"]]
    rows = rows_of(paying, request_id=request_id, action="inbox_provisioned")
    assert [str(row.resource_id) for row in rows] == inboxes
    paying.drain()
    activated = rows_of(paying, action="inbox_activated")
    assert {str(row.resource_id) for row in activated} == set(inboxes)
    # What a job does is the system's doing, for the request that caused it.
    assert {(row.actor_type, row.actor_id, row.ip) for row in activated} == {("system", None, None)}
    assert {row.request_id for row in activated} == {request_id}

    one = f"/infrastructure/inboxes/{inboxes[0]}"
    paused = left(paying, http.patch(one, json={"status": "paused"}), "inbox_paused")
    assert paused.changes == {"status": ["active", "paused"]}
    assert str(paused.resource_id) == inboxes[0]
    resumed = left(paying, http.patch(one, json={"status": "active"}), "inbox_resumed")
    assert resumed.changes == {"status": ["paused", "active"]}
    left(paying, http.post(f"{one}/rotate-password"), "inbox_password_rotated")
    deleted = left(paying, http.delete(one), "inbox_deleted")
    assert deleted.changes == {"status": ["active", "deleted"]}
    provision = made.json()["data"]["provision_id"]
    file = http.get(f"/infrastructure/provisions/{provision}/csv")
    assert str(left(paying, file, "credentials_exported").resource_id) == provision
    wanted = {"format": "instantly", "inbox_ids": inboxes[1:]}
    some = left(paying, http.post("/infrastructure/exports", json=wanted), "credentials_exported")
    assert some.changes == {"format": [None, "instantly"], "inbox_ids": [None, inboxes[1:]]}


def test_suppressions_are_told_by_id_and_not_by_address(paying: Customer) -> None:
    added = paying.try_post("/infrastructure/suppressions", targets=["a@b.test", "@c.test"])
    left(paying, added, "suppressions_added")
    listed = paying.get("/infrastructure/suppressions")
    rows = rows_of(paying, action="suppressions_added")
    assert {str(row.resource_id) for row in rows} == {row["id"] for row in listed}
    path = f"/infrastructure/suppressions/{listed[0]['id']}"
    gone = left(paying, paying.http.delete(path), "suppression_removed")
    assert str(gone.resource_id) == listed[0]["id"]
    assert "b.test" not in str([row.changes for row in rows_of(paying)])


def test_money_and_domains(signed_in: Customer) -> None:
    left(signed_in, signed_in.try_post("/billing/setup-intent"), "card_requested")
    signed_in.add_card()
    (card,) = rows_of(signed_in, action="payment_method_added")
    assert card.actor_type == "system"
    assert card.changes == {"is_active": [None, True]}
    assert card.request_id, "the request by which Stripe told us"
    chosen = left(signed_in, signed_in.try_post("/billing/upgrade", plan="growth"), "plan_chosen")
    assert chosen.changes == {"plan": ["starter", "growth"]}
    (changed,) = rows_of(signed_in, action="plan_changed")
    assert changed.request_id == chosen.request_id
    signed_in.settle(
        lambda: rows_of(signed_in, action="invoice_changed"), why="the invoice is mirrored"
    )
    signed_in.settle(lambda: rows_of(signed_in, action="ledger_posted"), why="the charge is seen")

    offered = signed_in.try_post(
        "/billing/domain-purchase-intent", domain_name=f"company-{signed_in.tag}.com"
    )
    quoted = left(signed_in, offered, "domain_quoted")
    offer = offered.json()["data"]
    assert str(quoted.resource_id) == offer["purchase_id"]
    assert signed_in.confirm("payment_intent", offer).is_success
    bought = signed_in.try_post("/domains/purchase", purchase_id=offer["purchase_id"])
    left(signed_in, bought, "domain_purchase_requested")
    domain_id = bought.json()["data"]["domain"]["id"]
    signed_in.settle(
        lambda: signed_in.get(f"/domains/{domain_id}")["status"] == "active", within=40
    )
    history = rows_of(signed_in, resource_id=UUID(domain_id))
    assert [row.action for row in history][-1] == "domain_activated"
    cause = bought.headers["X-Request-ID"]
    assert {row.request_id for row in history} == {cause}, "down the whole chain of jobs"
    states = [row.changes["status"] for row in history if "status" in row.changes]
    assert all(before[1] == after[0] for before, after in itertools.pairwise(states))
    signed_in.settle(lambda: rows_of(signed_in, action="domain_purchase_captured"))
    verify = signed_in.http.post(f"/domains/{domain_id}/verify")
    left(signed_in, verify, "domain_verification_requested")


def test_signing_up_and_in(signed_in: Customer) -> None:
    assert {row.action for row in rows_of(signed_in)} >= {
        "tenant_registered", "trial_started", "billing_account_opened",
    }  # fmt: skip
    (registered,) = rows_of(signed_in, action="tenant_registered")
    assert registered.ip == "127.0.0.1"
    assert registered.request_id
    texts = str([(row.changes, row.action) for row in rows_of(signed_in)])
    assert signed_in.tag not in texts, "no name, no address, no password"
