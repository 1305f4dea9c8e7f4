"""A company is forgotten: silent at once, taken back until its day, then gone but for the books."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text
from typer.testing import CliRunner

from app import errors
from app.database.models import AuditLog, Base, Dispute, ProviderEvent, Tenant, TenantOwned
from app.database.session import ALL_TENANTS, transaction
from app.integrations import ports
from app.rules import erasure
from app.services.erasure_service import ErasureService
from tests.fixtures.customer import Customer
from tests.fixtures.money import at_stripe, audit, customer_id, letters, quiet, tenant_of, tick

OWNED = {
    mapper.class_.__tablename__
    for mapper in Base.registry.mappers
    if issubclass(mapper.class_, TenantOwned)
}


def command(*words: str) -> tuple[int, dict[str, Any]]:
    from app.ops_commands import admin_app

    result = CliRunner().invoke(admin_app, ["erase-tenant", *words, "--json"])
    return result.exit_code, json.loads(result.stdout) if result.exit_code == 0 else {}


def rows_of(tenant_id: str) -> dict[str, int]:
    """How many rows a tenant has, by table, where it has any."""
    with transaction(tenant=ALL_TENANTS) as db:
        found = {
            table: db.execute(
                text(f"SELECT count(*) FROM {table} WHERE tenant_id = :id"), {"id": tenant_id}
            ).scalar_one()
            for table in sorted(OWNED)
        }
    return {table: count for table, count in found.items() if count}


def everything() -> str:
    """All that the database holds, as text."""
    with transaction(tenant=ALL_TENANTS) as db:
        tables = db.scalars(
            text(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
                " AND table_type = 'BASE TABLE'"
            )
        ).all()
        return "\n".join(
            str(row)
            for table in tables
            for row in db.execute(text(f"SELECT t::text FROM {table} t"))
        )


def days(customer: Customer, number: int) -> None:
    """Day by day, with what falls due."""
    for _ in range(number):
        customer.world.advance(days=1)
        tick(customer)
        quiet(customer)


def test_every_table_is_decided() -> None:
    assert set(erasure.ERASED).isdisjoint(erasure.KEPT)
    assert set(erasure.ERASED) | set(erasure.KEPT) == OWNED
    assert set(erasure.BLANKED) <= set(erasure.KEPT)


def test_a_company_is_forgotten_and_another_is_not(
    starter: Customer, other: Customer, invariants: Callable[[], None]
) -> None:
    domain = starter.buy_domain()
    inboxes = starter.provision(domain["id"], 2)
    starter.send(inboxes[0], "someone@gmail.test", "Before")
    starter.settle(lambda: starter.get("/analytics/overview")["today"]["delivered"], why="counted")
    starter.post("/infrastructure/suppressions", targets=["nobody@elsewhere.test"])
    quiet(starter)
    customer, email = customer_id(starter), starter.signed_up["user"]["email"]
    theirs = rows_of(other.tenant_id)
    assert email in everything()

    code, told = command(starter.tenant_id, "--yes")
    assert code == 0
    assert told["erase_at"] is not None
    assert command(starter.tenant_id, "--yes") == (0, told), "a repeat changes nothing"
    answer = starter.http.get("/domains")
    assert (answer.status_code, answer.json()["error_code"]) == (403, "TENANT_SUSPENDED")
    assert answer.json()["details"]["reason"] == "erasure"
    quiet(starter)
    assert any("suspended" in subject.lower() for subject in letters(starter))
    (subscription,) = at_stripe(starter, "subscriptions", customer=customer, status="all")["data"]
    assert subscription["status"] == "canceled"

    days(starter, 7)
    assert tenant_of(starter).erased_at is None
    days(starter, 3)
    tenant = tenant_of(starter)
    assert tenant.erased_at is not None
    assert set(rows_of(starter.tenant_id)) <= set(erasure.KEPT)
    assert rows_of(starter.tenant_id)["transaction_history"] > 0
    rest = everything()
    for secret in (email, inboxes[0]["email"], "someone@gmail.test", "nobody@elsewhere.test"):
        assert secret not in rest, secret
    assert at_stripe(starter, f"customers/{customer}")["deleted"] is True
    left = rows_of(other.tenant_id)
    assert {name: left[name] for name in ("users", "refresh_tokens")} == {
        name: theirs[name] for name in ("users", "refresh_tokens")
    }
    other.sign_in_again()
    with transaction(tenant=ALL_TENANTS) as db:
        assert "tenant_erased" in db.scalars(
            select(AuditLog.action).where(AuditLog.tenant_id == tenant.id)
        )
    invariants()
    assert audit(starter).balances
    assert command(starter.tenant_id, "--yes")[0] == 1, "it was erased"


def test_it_can_be_taken_back(starter: Customer) -> None:
    domain = starter.buy_domain()
    quiet(starter)
    assert command(starter.tenant_id, "--yes")[0] == 0
    quiet(starter)
    (under_way,) = command()[1]["erasures"]
    assert under_way["tenant_id"] == starter.tenant_id
    assert command(starter.tenant_id, "--undo")[0] == 0
    assert command()[1]["erasures"] == []
    days(starter, 9)
    assert tenant_of(starter).erased_at is None
    starter.sign_in_again()
    assert starter.get(f"/domains/{domain['id']}")["status"] == "deleted", "restored on request"
    assert command(starter.tenant_id, "--undo")[0] == 1


def test_what_is_disputed_or_under_way_is_not_forgotten(starter: Customer) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        db.add(
            Dispute(
                tenant_id=UUID(starter.tenant_id),
                stripe_dispute_id="dp_1",
                stripe_charge_id="ch_1",
                amount_cents=9_700,
                currency="usd",
                status="under_review",
                reason="fraudulent",
            )
        )
    with pytest.raises(errors.Conflict, match="disputed"), transaction(tenant=ALL_TENANTS) as db:
        ErasureService.request(UUID(starter.tenant_id), db)
    with transaction(tenant=ALL_TENANTS) as db:
        db.execute(text("UPDATE disputes SET status = 'won'"))
    offer = starter.offer()
    assert starter.confirm("payment_intent", offer).is_success
    starter.post("/domains/purchase", purchase_id=offer["purchase_id"])
    with (
        pytest.raises(errors.Conflict, match="being set up"),
        transaction(tenant=ALL_TENANTS) as db,
    ):
        ErasureService.request(UUID(starter.tenant_id), db)
    assert tenant_of(starter).erase_at is None


@pytest.mark.parametrize("mode", ["fail_before", "fail_after"])
def test_stripe_is_away_when_it_must_forget(starter: Customer, mode: str) -> None:
    customer = customer_id(starter)
    assert command(starter.tenant_id, "--yes")[0] == 0
    quiet(starter)
    starter.world.fault("stripe", "customers/", mode, method="DELETE", times=1)
    days(starter, 9)
    assert tenant_of(starter).erased_at is not None
    assert at_stripe(starter, f"customers/{customer}")["deleted"] is True
    with transaction(tenant=ALL_TENANTS) as db:
        left = select(ProviderEvent).where(
            ProviderEvent.payload["data"]["object"]["customer"].astext == customer
        )
        assert db.scalars(left).all() == []


def test_nobody_is_forgotten_before_their_day(starter: Customer) -> None:
    assert command(starter.tenant_id, "--yes")[0] == 0
    with transaction(tenant=ALL_TENANTS) as db:
        assert ErasureService.due(db) == []
        assert ErasureService.erase(UUID(starter.tenant_id), db) is None
    with transaction(tenant=ALL_TENANTS) as db:
        assert db.get_one(Tenant, UUID(starter.tenant_id)).erased_at is None
    assert ports.current().payments.get_customer(customer_id(starter)).deleted is False
