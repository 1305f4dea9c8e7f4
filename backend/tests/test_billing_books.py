"""The ledger against Stripe, webhooks in any order, replay, reconciliation, refunds."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Engine, delete, select, text, update
from sqlalchemy.exc import DBAPIError
from typer.testing import CliRunner

from app.database.models import (
    BillingNotice,
    Invoice,
    PaymentMethod,
    ProviderEvent,
    Refund,
    Tenant,
    Transaction,
)
from app.database.session import ALL_TENANTS, transaction
from app.services import ledger, reconciliation, refunds, stripe_events
from tests.fixtures.customer import Customer
from tests.fixtures.money import (
    alerts,
    at_stripe,
    audit,
    charges,
    command,
    customer_id,
    kinds,
    later,
    letters,
    payments,
    quiet,
    renew,
    set_bank,
    tenant_of,
)
from tests.fixtures.world import Running

run = CliRunner()


def refund(customer: Customer, intent: str, cents: int | None = None) -> UUID:
    with transaction(tenant=ALL_TENANTS) as db:
        tenant = db.get_one(Tenant, UUID(customer.tenant_id))
        return refunds.request(tenant, intent, db, cause="by agreement", cents=cents).id


def intent_of_the_charge(customer: Customer) -> str:
    (charge,) = at_stripe(customer, "charges", customer=customer_id(customer))["data"]
    return str(charge["payment_intent"])


# The ledger -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    ["UPDATE transaction_history SET amount = 0", "DELETE FROM transaction_history"],
)
def test_the_ledger_only_grows(starter: Customer, owner: Engine, statement: str) -> None:
    assert charges(starter) == [9_700]
    with owner.connect() as connection, pytest.raises(DBAPIError, match="append-only"):
        connection.execute(text("SELECT set_config('app.tenant', '*', true)"))
        connection.execute(text(statement))
    assert charges(starter) == [9_700]


def test_a_full_life_balances_to_the_cent(starter: Customer) -> None:
    starter.buy_domain()
    quiet(starter)
    later(starter, days=9)
    starter.upgrade("growth")
    quiet(starter)
    renew(starter)
    refund(starter, newest_intent(starter), cents=1_234)
    quiet(starter)
    found = audit(starter)
    assert found.balances, found
    assert kinds(starter) == {
        "authorisation": 1,
        "capture": 1,
        "charge": 3,
        "refund": 1,
    }
    rows = starter.get("/billing/transactions", limit=100)
    signs = {"capture": 1, "charge": 1, "refund": -1}
    assert found.net_cents == sum(
        signs.get(row["transaction_type"], 0) * row["amount"] for row in rows
    )
    code, told = command("audit", "--tenant", starter.tenant_id)
    assert (code, told["accounts"], told["wrong"]) == (0, 1, [])
    assert told["net_cents"] == found.net_cents


def newest_intent(customer: Customer) -> str:
    found = at_stripe(customer, "charges", customer=customer_id(customer))["data"]
    return str(found[0]["payment_intent"])


def test_the_audit_finds_what_is_missing_and_what_is_too_much(
    starter: Customer, owner: Engine
) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        tenant = UUID(starter.tenant_id)
        ledger.append(db, tenant, [ledger.Movement("charge", "ch_invented", 1, "usd")])
    with owner.begin() as connection:
        connection.execute(text("SELECT set_config('app.tenant', '*', true)"))
        connection.execute(text("ALTER TABLE transaction_history DISABLE TRIGGER append_only"))
        connection.execute(
            text("UPDATE transaction_history SET amount = amount + 0.01 WHERE amount = 97")
        )
        connection.execute(text("ALTER TABLE transaction_history ENABLE TRIGGER append_only"))
    found = audit(starter)
    assert not found.balances
    assert [row.cents for row in found.missing] == [9_700]
    assert sorted(row.cents for row in found.surplus) == [1, 9_701]
    code, told = command("audit")
    assert code == 1
    assert told["wrong"][0]["tenant_id"] == starter.tenant_id


# Refunds ----------------------------------------------------------------------------------------


def test_a_refund_is_made_once_and_told(starter: Customer) -> None:
    intent = intent_of_the_charge(starter)
    assert refund(starter, intent) == refund(starter, intent)
    quiet(starter)
    assert kinds(starter) == {"charge": 1, "refund": 1}
    assert "Your refund: 97.00 USD" in letters(starter)
    assert audit(starter).balances
    assert audit(starter).net_cents == 0
    with transaction(tenant=ALL_TENANTS) as db:
        row = db.scalars(select(Refund)).one()
        assert (row.status, row.amount_cents) == ("succeeded", 9_700)


def test_an_answer_that_was_lost_refunds_once(starter: Customer, world: Running) -> None:
    world.fault("stripe", "POST .*/refunds", "fail_after", times=3)
    refund(starter, intent_of_the_charge(starter), cents=500)
    quiet(starter)
    assert kinds(starter)["refund"] == 1
    assert len(at_stripe(starter, "refunds")["data"]) >= 1
    assert audit(starter).balances


def test_a_refund_of_too_much_calls_a_person(starter: Customer) -> None:
    refund(starter, intent_of_the_charge(starter), cents=9_701)
    quiet(starter)
    assert alerts() == ["refund_failed"]
    assert kinds(starter)["refund"] == 0


def test_refunds_by_command(starter: Customer) -> None:
    code, told = command("refund", intent_of_the_charge(starter), "--cents", "700")
    assert (code, told["status"]) == (0, "requested")
    quiet(starter)
    assert kinds(starter)["refund"] == 1
    assert run_refused("refund", "pi_of_nobody") == 1


def run_refused(*words: str) -> int:
    from app.ops_billing import billing_app

    return run.invoke(billing_app, list(words)).exit_code


# Events in any order ----------------------------------------------------------------------------


def test_any_order_gives_the_same_books(starter: Customer, owner: Engine) -> None:
    """Every mirrored row is thrown away and made anew from shuffled, doubled events."""
    set_bank(starter, "generic_decline")
    renew(starter)
    set_bank(starter, "ok")
    later(starter, days=3, hours=1)
    refund(starter, newest_intent(starter), cents=300)
    quiet(starter)
    before = picture(starter)
    for seed in range(4):
        forget(starter, owner)
        with transaction(tenant=ALL_TENANTS) as db:
            ids = list(db.scalars(select(ProviderEvent.id))) * 2
        random.Random(seed).shuffle(ids)
        for id_ in ids:
            with transaction(tenant=ALL_TENANTS) as db:
                stripe_events.apply(db, db.get_one(ProviderEvent, id_), payments())
        assert picture(starter) == before, f"seed {seed}"


def test_eight_workers_at_once_give_the_same_books(starter: Customer, owner: Engine) -> None:
    set_bank(starter, "generic_decline")
    renew(starter)
    set_bank(starter, "ok")
    later(starter, days=3, hours=1)
    before = picture(starter)
    forget(starter, owner)
    with transaction(tenant=ALL_TENANTS) as db:
        ids = list(db.scalars(select(ProviderEvent.id))) * 2
    random.Random(7).shuffle(ids)

    def apply(id_: UUID) -> None:
        with transaction(tenant=ALL_TENANTS) as db:
            stripe_events.apply(db, db.get_one(ProviderEvent, id_), payments())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(apply, ids))
    assert picture(starter) == before


def picture(customer: Customer) -> tuple[Any, ...]:
    with transaction(tenant=ALL_TENANTS) as db:
        tenant = db.get_one(Tenant, UUID(customer.tenant_id))
        invoices = db.execute(
            select(Invoice.stripe_invoice_id, Invoice.status, Invoice.amount_paid_cents)
            .where(Invoice.tenant_id == tenant.id)
            .order_by(Invoice.stripe_invoice_id)
        ).all()
        cards = db.execute(
            select(PaymentMethod.stripe_payment_method_id, PaymentMethod.is_default)
            .where(PaymentMethod.tenant_id == tenant.id)
            .order_by(PaymentMethod.stripe_payment_method_id)
        ).all()
        return (
            ledger.fingerprint(ledger.read(tenant.id, db)),
            tenant.subscription_status,
            tenant.subscription_tier,
            tenant.current_period_end,
            tenant.is_suspended,
            tenant.trial_converted,
            [tuple(row) for row in invoices],
            [tuple(row) for row in cards],
        )


def forget(customer: Customer, owner: Engine) -> None:
    """Lose everything that was mirrored, as a restored backup would have."""
    tenant_id = UUID(customer.tenant_id)
    with owner.begin() as connection:
        connection.execute(text("TRUNCATE transaction_history"))
    with transaction(tenant=ALL_TENANTS) as db:
        for table in (Invoice, PaymentMethod, Refund, BillingNotice):
            db.execute(delete(table).where(table.tenant_id == tenant_id))
        db.execute(
            update(Tenant)
            .where(Tenant.id == tenant_id)
            .values(
                stripe_subscription_id=None,
                subscription_status="trialing",
                trial_converted=False,
                current_period_end=None,
            )
        )


# Replay and reconciliation ----------------------------------------------------------------------


@pytest.fixture
def deaf(world: Running) -> Iterator[Any]:
    """While it is on, no event of Stripe arrives: it believes in another address."""
    endpoint = f"{world.sandbox_url}/stripe/v1/webhook_endpoints/we_sandbox"
    headers = {"Authorization": "Bearer sk_test_sandbox"}

    def switch(*, on: bool) -> None:
        httpx.post(
            endpoint, data={"disabled": "true" if on else "false"}, headers=headers, timeout=10
        ).raise_for_status()

    yield switch
    switch(on=False)


def test_a_night_finds_and_repairs_what_never_came(starter: Customer, deaf: Any) -> None:
    deaf(on=True)
    renew(starter)
    assert charges(starter) == [9_700]
    deaf(on=False)
    code, told = command("reconcile")
    assert code == 0
    assert told["missed_events"] > 3
    assert [one["tenant_id"] for one in told["repaired"]] == [starter.tenant_id]
    quiet(starter)
    assert charges(starter) == [9_700, 9_700]
    assert audit(starter).balances
    assert alerts() == ["missed_events", "reconciled"]
    code, told = command("reconcile")
    assert (told["missed_events"], told["repaired"]) == (0, [])


def test_books_older_than_the_events_are_repaired_too(
    starter: Customer, deaf: Any, owner: Engine
) -> None:
    """Stripe keeps events for a month; the objects themselves stay."""
    starter.buy_domain()
    deaf(on=True)
    renew(starter)
    deaf(on=False)
    later(starter, days=5)
    forget(starter, owner)
    with transaction(tenant=ALL_TENANTS) as db:
        repairs = reconciliation.reconcile(UUID(starter.tenant_id), db, payments())
    assert repairs.any
    assert audit(starter).balances
    data = starter.get("/billing/subscription")
    assert (data["status"], data["trial_converted"]) == ("active", True)


def test_the_calendar_reconciles_every_account(starter: Customer, deaf: Any) -> None:
    from app.tasks import schedule

    deaf(on=True)
    renew(starter)
    deaf(on=False)
    with transaction(tenant=ALL_TENANTS) as db:
        assert "BooksDue" in schedule.tick(db)
    quiet(starter)
    assert charges(starter) == [9_700, 9_700]
    assert "Your receipt: 97.00 USD" in letters(starter)


def test_replay_by_command(starter: Customer, owner: Engine) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        found = db.scalars(
            select(ProviderEvent.provider_id).where(ProviderEvent.event_type == "invoice.paid")
        ).all()
        db.execute(delete(ProviderEvent).where(ProviderEvent.provider_id == found[0]))
    before = picture(starter)
    with owner.begin() as connection:
        connection.execute(text("TRUNCATE transaction_history"))
    with transaction(tenant=ALL_TENANTS) as db:
        charged = db.scalars(
            select(ProviderEvent.provider_id).where(ProviderEvent.event_type == "charge.succeeded")
        ).all()
    # One that we have and one that must be fetched.
    code, told = command("replay", *charged, found[0])
    assert (code, told["replayed"]) == (0, len(charged) + 1)
    quiet(starter)
    assert picture(starter) == before
    code, told = command("replay", "evt_of_nobody")
    assert (code, list(told["failed"])) == (1, ["evt_of_nobody"])
    assert command("replay", "--unhandled") == (0, {"replayed": 0, "failed": None})


def test_a_tenant_sees_its_own_books_only(starter: Customer, other: Customer) -> None:
    assert other.get("/billing/transactions") == []
    assert other.get("/billing/invoices") == []
    with transaction(tenant=UUID(other.tenant_id)) as db:
        assert db.scalars(select(Transaction)).all() == []
    assert tenant_of(starter).stripe_customer_id != tenant_of(other).stripe_customer_id
