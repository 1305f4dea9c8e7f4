"""Renewals with dead workers, absent providers and jobs that come twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from sqlalchemy import select

from app.database.models import (
    NoticeKind,
    OperationState,
    PurchaseState,
    Transaction,
    TransactionType,
)
from app.database.session import ALL_TENANTS, transaction
from app.services import domain_renewing
from app.tasks import billing_tasks, domain_tasks  # noqa: F401  # Registers tasks.
from tests.fakes import FakeWorld, Killed, away, lost, refused
from tests.fixtures.chain import NAME, Settle, assert_sound, operations
from tests.fixtures.renewal import (
    PRICE,
    ask,
    assert_not_renewed,
    assert_renewed,
    called,
    renewals,
    told,
)

# Accidents --------------------------------------------------------------------------------------

CALLS = ["find", "create_payment_intent", "get_payment_intent", "charge_saved_card", "renew",
         "capture"]  # fmt: skip


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("call", CALLS)
def test_a_worker_killed_around_any_call(
    outside: FakeWorld, renewable: UUID, settle: Settle, call: str, after: bool
) -> None:
    ask(renewable)
    outside.accidents.plan(call, Killed(), after=after)
    with pytest.raises(Killed):
        settle(hours=2)
    settle(hours=2)
    assert_renewed(outside, renewable)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("call", CALLS)
def test_a_provider_that_loses_answers(
    outside: FakeWorld, renewable: UUID, settle: Settle, call: str, after: bool
) -> None:
    ask(renewable)
    error = lost() if call in {"renew", "charge_saved_card", "capture"} else away()
    outside.accidents.plan(call, error, after=after, times=1 if call == "renew" else 2)
    settle(hours=4)
    assert_renewed(outside, renewable)


def test_an_order_that_is_lost_twice_is_let_go(
    outside: FakeWorld, renewable: UUID, settle: Settle
) -> None:
    ask(renewable)
    outside.accidents.plan("renew", lost(), times=2)
    settle(hours=4)
    assert {row.state for row in operations() if row.kind == "renew"} == {OperationState.FAILED}
    assert [row.state for row in renewals()] == [PurchaseState.VOIDED]
    assert called() == {"renewal_failed": 1}
    assert_not_renewed(outside)


def test_a_clear_no_of_the_registrar_lets_the_money_go(
    outside: FakeWorld, renewable: UUID, settle: Settle
) -> None:
    ask(renewable)
    outside.accidents.plan("renew", refused("insufficient funds"))
    settle(hours=1)
    (row,) = renewals()
    assert row.state == PurchaseState.VOIDED
    assert outside.payments.intents[str(row.stripe_payment_intent_id)].status == "canceled"
    assert called() == {"renewal_failed": 1}
    (notice,) = told(NoticeKind.DOMAIN_RENEWAL_FAILED)
    assert "nothing was charged" in str(notice["why"])
    assert_not_renewed(outside)
    # The way back: asked for again, it works.
    ask(renewable)
    settle(hours=1)
    assert_renewed(outside, renewable)


def test_a_no_that_echoes_a_yes_is_a_yes(
    outside: FakeWorld, renewable: UUID, settle: Settle
) -> None:
    ask(renewable)
    outside.accidents.plan("renew", refused("already renewed"), after=True)
    settle(hours=1)
    assert_renewed(outside, renewable)


def test_a_hold_that_is_gone_is_a_loss_and_no_second_charge(
    outside: FakeWorld, renewable: UUID, settle: Settle
) -> None:
    ask(renewable)

    def the_hold_runs_out() -> None:
        for intent in list(outside.payments.intents.values()):
            if intent.status == "requires_capture":
                outside.payments.change(intent.id, status="canceled", amount_capturable=0)

    outside.accidents.plan("renew", then=the_hold_runs_out)
    settle(hours=1)
    (row,) = renewals()
    assert row.state == PurchaseState.LOSS
    assert called() == {"loss": 1}
    assert outside.registrar.renewed == {NAME: 1}
    assert not outside.payments.captures
    assert_sound()


@pytest.mark.parametrize("step", range(6))
def test_every_job_may_come_twice_and_at_once(
    outside: FakeWorld, renewable: UUID, settle: Settle, step: int
) -> None:
    ask(renewable)
    (row,) = renewals()
    for _ in range(step):
        run_again(row.id)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: run_again(row.id), range(4)))
    settle(hours=1)
    assert_renewed(outside, renewable)


def run_again(purchase_id: UUID) -> None:
    """One run of the job, as a worker that was given it a second time would do it."""
    with transaction(tenant=ALL_TENANTS) as db:
        domain_renewing.advance(purchase_id, db)


def test_the_ledger_holds_the_price_once(
    outside: FakeWorld, renewable: UUID, settle: Settle
) -> None:
    ask(renewable)
    settle(hours=1)
    with transaction(tenant=ALL_TENANTS) as db:
        rows = db.scalars(
            select(Transaction).where(Transaction.transaction_type == TransactionType.CAPTURE)
        ).all()
    amounts = [row.amount for row in rows if row.purchase_id == renewals()[0].id]
    assert [int(amount * 100) for amount in amounts] == [PRICE]
