"""Another year of a name: paid for once, had once, or neither."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import select

from app import clock, errors, events
from app.database import outbox
from app.database.models import (
    BillingNotice,
    Domain,
    DomainPurchase,
    DomainStatus,
    NoticeKind,
    OperationState,
    OperatorAlert,
    PaymentMethod,
    PurchaseKind,
    PurchaseState,
    SubscriptionStatus,
    Tenant,
    Transaction,
    TransactionType,
)
from app.database.session import ALL_TENANTS, transaction
from app.services import domain_life, domain_renewal
from app.tasks import billing_tasks, domain_tasks, jobs, relay  # noqa: F401  # Registers tasks.
from tests.fakes import FakeWorld, Killed, away, lost, refused
from tests.fixtures.chain import (
    NAME,
    Live,
    Quote,
    Settle,
    Travel,
    assert_sound,
    domain_of,
    operations,
    order,
    until_the_end,
)

PRICE = 1872
"""15.18 at the registrar, a fifth on top, fifty cents."""


@pytest.fixture
def domain_id(outside: FakeWorld, quote: Quote, settle: Settle) -> UUID:
    """An active name whose owner has a card on file, 25 days before its end."""
    made = order(quote())
    settle(hours=1)
    domain = domain_of(made)
    assert domain.status == DomainStatus.ACTIVE
    with transaction(tenant=ALL_TENANTS) as db:
        db.add(
            PaymentMethod(
                tenant_id=domain.tenant_id,
                stripe_payment_method_id="pm_card",
                card_brand="visa",
                card_last_four="4242",
                card_exp="12/2030",
                is_default=True,
            )
        )
    outside.payments.captures.clear()
    return made


def renewals() -> list[DomainPurchase]:
    with transaction(tenant=ALL_TENANTS) as db:
        rows = select(DomainPurchase).where(DomainPurchase.kind == PurchaseKind.RENEWAL)
        return list(db.scalars(rows.order_by(DomainPurchase.id)))


def told(kind: NoticeKind) -> list[dict[str, object]]:
    with transaction(tenant=ALL_TENANTS) as db:
        rows = select(BillingNotice).where(BillingNotice.kind == kind)
        return [row.details for row in db.scalars(rows.order_by(BillingNotice.id))]


def called() -> Counter[str]:
    with transaction(tenant=ALL_TENANTS) as db:
        return Counter(db.scalars(select(OperatorAlert.kind)))


def booked() -> Counter[str]:
    with transaction(tenant=ALL_TENANTS) as db:
        return Counter(str(kind) for kind in db.scalars(select(Transaction.transaction_type)))


def ask(domain_id: UUID, price: int = PRICE, *, in_browser: bool = False) -> str | None:
    """What the endpoint does; the id of an intent that the browser is to confirm."""
    with transaction(tenant=ALL_TENANTS) as db:
        domain = db.get_one(Domain, domain_id)
        _, intent = domain_renewal.request(domain, price, db, in_browser=in_browser)
        return None if intent is None else intent.id


def change_tenant(domain_id: UUID, **fields: object) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        tenant = db.get_one(Tenant, db.get_one(Domain, domain_id).tenant_id)
        for name, value in fields.items():
            setattr(tenant, name, value)


def assert_renewed(outside: FakeWorld, domain_id: UUID, *, price: int = PRICE) -> None:
    """One more year, one capture of its price, and nothing left open."""
    domain = domain_of(domain_id)
    assert domain.status == DomainStatus.ACTIVE
    assert domain.expiry_date == outside.registrar.ours[NAME].expires_at
    assert outside.registrar.renewed == {NAME: 1}
    (paid,) = [row for row in renewals() if row.state == PurchaseState.CAPTURED]
    assert paid.price_cents == price
    assert outside.payments.captures == {paid.stripe_payment_intent_id: 1}
    held = [i for i in outside.payments.intents.values() if i.status == "requires_capture"]
    assert held == []
    assert_sound()


def assert_not_renewed(outside: FakeWorld) -> None:
    """No year and no money, and no hold on a card."""
    assert not outside.registrar.renewed
    assert not outside.payments.captures
    held = [i for i in outside.payments.intents.values() if i.status == "requires_capture"]
    assert held == []
    assert_sound()


# By the calendar --------------------------------------------------------------------------------


def test_a_year_goes_by_and_another_is_bought(
    outside: FakeWorld, domain_id: UUID, travel: Travel, live: Live
) -> None:
    travel(days=until_the_end(domain_id) - 31)
    live(2)
    (first,) = told(NoticeKind.DOMAIN_EXPIRING)
    assert (first["kept"], first["cents"]) == ("yes", PRICE)
    assert str(first["charged_at"])[:10] == f"{clock.now() + timedelta(days=8):%Y-%m-%d}"
    assert outside.payments.charged == []
    live(10)
    assert_renewed(outside, domain_id)
    assert until_the_end(domain_id) > 380
    assert booked()["capture"] == 2
    assert [row["description"] for row in told(NoticeKind.PURCHASE_RECEIPT)][-1] == (
        f"{NAME}, renewal for 1 year(s)"
    )
    # The other reminders are of no use any more, and nobody is called.
    live(25)
    assert len(told(NoticeKind.DOMAIN_EXPIRING)) == 1
    assert called() == {}
    assert len(renewals()) == 1


def test_a_declined_card_is_asked_again_while_there_is_time(
    outside: FakeWorld, domain_id: UUID, travel: Travel, live: Live
) -> None:
    outside.payments.declines = "insufficient funds"
    travel(days=until_the_end(domain_id) - 31)
    live(33)
    # Five rungs, a key of its own for each, one intent for all.
    (row,) = renewals()
    assert (row.attempts, len(set(outside.payments.charged))) == (5, 5)
    assert len(outside.payments.intents) == 2
    failures = told(NoticeKind.DOMAIN_RENEWAL_FAILED)
    assert [bool(each["again"]) for each in failures] == [True, True, True, True, False]
    assert called() == {"domain_renewal_due": 1, "domain_expired": 1}
    assert domain_of(domain_id).status == DomainStatus.EXPIRED
    assert_not_renewed(outside)
    # A declined renewal is no unpaid invoice: the tenant goes on.
    with transaction(tenant=ALL_TENANTS) as db:
        assert not db.get_one(Tenant, domain_of(domain_id).tenant_id).is_suspended


def test_another_card_is_asked_at_once(
    outside: FakeWorld, domain_id: UUID, travel: Travel, live: Live, settle: Settle
) -> None:
    outside.payments.declines = "expired"
    travel(days=until_the_end(domain_id) - 31)
    live(12)
    assert renewals()[0].attempts == 1
    outside.payments.declines = None
    with transaction(tenant=ALL_TENANTS) as db:
        outbox.record(db, events.CardChanged(tenant_id=domain_of(domain_id).tenant_id))
    settle()
    assert_renewed(outside, domain_id)


def test_without_a_card_the_owner_is_told(
    outside: FakeWorld, domain_id: UUID, travel: Travel, live: Live
) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        db.delete(db.scalars(select(PaymentMethod)).one())
    travel(days=until_the_end(domain_id) - 31)
    live(12)
    (failure,) = told(NoticeKind.DOMAIN_RENEWAL_FAILED)
    assert failure["why"] == "There is no card on file."
    assert outside.payments.charged == []
    assert_not_renewed(outside)


def test_a_name_that_is_not_to_be_kept_costs_nothing(
    outside: FakeWorld, domain_id: UUID, travel: Travel, live: Live
) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        domain_life.set_auto_renew(db.get_one(Domain, domain_id), False, db)
    travel(days=until_the_end(domain_id) - 31)
    live(33)
    assert renewals() == []
    assert_not_renewed(outside)


def test_switched_off_after_it_was_announced(
    outside: FakeWorld, domain_id: UUID, travel: Travel, live: Live, settle: Settle
) -> None:
    travel(days=until_the_end(domain_id) - 31)
    live(3)
    with transaction(tenant=ALL_TENANTS) as db:
        domain_life.set_auto_renew(db.get_one(Domain, domain_id), False, db)
    live(31)
    assert outside.payments.charged == []
    travel(hours=2)
    with transaction(tenant=ALL_TENANTS) as db:
        outbox.record(db, events.HoldsDue())
    settle()
    assert [row.state for row in renewals()] == [PurchaseState.VOIDED]
    assert_not_renewed(outside)


def test_who_may_not_send_is_not_charged(
    outside: FakeWorld, domain_id: UUID, travel: Travel, live: Live
) -> None:
    change_tenant(domain_id, subscription_status=SubscriptionStatus.TRIAL_EXPIRED)
    travel(days=until_the_end(domain_id) - 31)
    live(15)
    assert outside.payments.charged == []
    assert_not_renewed(outside)
    change_tenant(domain_id, subscription_status=SubscriptionStatus.ACTIVE)
    live(1)
    assert_renewed(outside, domain_id)


def test_a_higher_price_is_told_before_it_is_taken(
    outside: FakeWorld, domain_id: UUID, travel: Travel, live: Live
) -> None:
    travel(days=until_the_end(domain_id) - 31)
    live(5)
    outside.registrar.prices[NAME] = 2000
    live(8)
    # On the day of the charge the old order was let go, and another one announced.
    assert [row.state for row in renewals()] == [PurchaseState.VOIDED, PurchaseState.QUOTED]
    assert "raised its price" in str(renewals()[0].failure)
    assert outside.payments.charged == []
    live(8)
    new = 2450
    assert {row["cents"] for row in told(NoticeKind.DOMAIN_EXPIRING)} == {PRICE, new}
    assert_renewed(outside, domain_id, price=new)


def test_renewed_at_the_registrar_meanwhile(
    outside: FakeWorld, domain_id: UUID, travel: Travel, live: Live
) -> None:
    travel(days=until_the_end(domain_id) - 31)
    live(3)
    held = outside.registrar.ours[NAME]
    assert held.expires_at is not None
    later = held.expires_at + timedelta(days=365)
    outside.registrar.ours[NAME] = replace(held, expires_at=later)
    live(12)
    assert domain_of(domain_id).expiry_date == later
    assert_not_renewed(outside)


# Asked for --------------------------------------------------------------------------------------


def test_the_owner_asks_for_another_year(
    outside: FakeWorld, domain_id: UUID, settle: Settle
) -> None:
    assert ask(domain_id) is None
    settle()
    assert_renewed(outside, domain_id)


def test_in_the_browser_with_any_card(outside: FakeWorld, domain_id: UUID, settle: Settle) -> None:
    intent = ask(domain_id, in_browser=True)
    assert intent is not None
    settle()
    assert outside.payments.charged == []
    outside.payments.confirm(intent)
    # What the event of the held payment leads to.
    (row,) = renewals()
    with transaction(tenant=ALL_TENANTS) as db:
        outbox.record(db, events.DomainRenewalDue(tenant_id=row.tenant_id, purchase_id=row.id))
    settle()
    assert_renewed(outside, domain_id)
    assert outside.payments.charged == []


def test_a_name_that_is_over_comes_back_at_the_price_of_that(
    outside: FakeWorld, domain_id: UUID, travel: Travel, live: Live, settle: Settle
) -> None:
    outside.payments.declines = "stolen"
    travel(days=until_the_end(domain_id) - 2)
    live(5)
    assert domain_of(domain_id).status == DomainStatus.EXPIRED
    outside.payments.declines = None
    with pytest.raises(errors.PriceChanged) as changed:
        ask(domain_id)
    restored = 11472
    assert changed.value.details["price_cents"] == restored
    # The order of the calendar, at the ordinary price, is let go by then.
    travel(hours=2)
    with transaction(tenant=ALL_TENANTS) as db:
        outbox.record(db, events.HoldsDue())
    settle()
    ask(domain_id, restored)
    settle(hours=1)
    assert_renewed(outside, domain_id, price=restored)
    assert NAME in outside.mail.relays


def test_what_cannot_be_asked_for(
    outside: FakeWorld, domain_id: UUID, travel: Travel, live: Live
) -> None:
    with pytest.raises(errors.PriceChanged):
        ask(domain_id, PRICE - 1)
    change_tenant(domain_id, is_suspended=True)
    with pytest.raises(errors.TenantSuspended):
        ask(domain_id)
    change_tenant(domain_id, is_suspended=False)
    del outside.registrar.ours[NAME]
    with pytest.raises(errors.Invalid, match="by hand"):
        ask(domain_id)
    travel(days=until_the_end(domain_id))
    live(70)
    with pytest.raises(errors.Invalid, match="released"):
        ask(domain_id)
    assert renewals() == [] or {row.state for row in renewals()} <= {PurchaseState.VOIDED}


def test_two_who_ask_at_once_buy_one_year(
    outside: FakeWorld, domain_id: UUID, settle: Settle
) -> None:
    def press(_: int) -> None:
        with suppress(errors.Conflict):
            ask(domain_id)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(press, range(8)))
    settle()
    assert len(renewals()) == 1
    assert_renewed(outside, domain_id)


# Accidents --------------------------------------------------------------------------------------

CALLS = ["find", "create_payment_intent", "get_payment_intent", "charge_saved_card", "renew",
         "capture"]  # fmt: skip


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("call", CALLS)
def test_a_worker_killed_around_any_call(
    outside: FakeWorld, domain_id: UUID, settle: Settle, call: str, after: bool
) -> None:
    ask(domain_id)
    outside.accidents.plan(call, Killed(), after=after)
    with pytest.raises(Killed):
        settle(hours=2)
    settle(hours=2)
    assert_renewed(outside, domain_id)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("call", CALLS)
def test_a_provider_that_loses_answers(
    outside: FakeWorld, domain_id: UUID, settle: Settle, call: str, after: bool
) -> None:
    ask(domain_id)
    error = lost() if call in {"renew", "charge_saved_card", "capture"} else away()
    outside.accidents.plan(call, error, after=after, times=1 if call == "renew" else 2)
    settle(hours=4)
    assert_renewed(outside, domain_id)


def test_an_order_that_is_lost_twice_is_let_go(
    outside: FakeWorld, domain_id: UUID, settle: Settle
) -> None:
    ask(domain_id)
    outside.accidents.plan("renew", lost(), times=2)
    settle(hours=4)
    assert {row.state for row in operations() if row.kind == "renew"} == {OperationState.FAILED}
    assert [row.state for row in renewals()] == [PurchaseState.VOIDED]
    assert called() == {"renewal_failed": 1}
    assert_not_renewed(outside)


def test_a_clear_no_of_the_registrar_lets_the_money_go(
    outside: FakeWorld, domain_id: UUID, settle: Settle
) -> None:
    ask(domain_id)
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
    ask(domain_id)
    settle(hours=1)
    assert_renewed(outside, domain_id)


def test_a_no_that_echoes_a_yes_is_a_yes(
    outside: FakeWorld, domain_id: UUID, settle: Settle
) -> None:
    ask(domain_id)
    outside.accidents.plan("renew", refused("already renewed"), after=True)
    settle(hours=1)
    assert_renewed(outside, domain_id)


def test_a_hold_that_is_gone_is_a_loss_and_no_second_charge(
    outside: FakeWorld, domain_id: UUID, settle: Settle
) -> None:
    ask(domain_id)

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
    outside: FakeWorld, domain_id: UUID, settle: Settle, step: int
) -> None:
    ask(domain_id)
    (row,) = renewals()
    for _ in range(step):
        domain_tasks_run(row.id)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: domain_tasks_run(row.id), range(4)))
    settle(hours=1)
    assert_renewed(outside, domain_id)


def domain_tasks_run(purchase_id: UUID) -> None:
    """One run of the job, as a worker that was given it a second time would do it."""
    from app.services import domain_renewing

    with transaction(tenant=ALL_TENANTS) as db:
        domain_renewing.advance(purchase_id, db)


def test_the_ledger_holds_the_price_once(
    outside: FakeWorld, domain_id: UUID, settle: Settle
) -> None:
    ask(domain_id)
    settle(hours=1)
    with transaction(tenant=ALL_TENANTS) as db:
        rows = db.scalars(
            select(Transaction).where(Transaction.transaction_type == TransactionType.CAPTURE)
        ).all()
    amounts = [row.amount for row in rows if row.purchase_id == renewals()[0].id]
    assert [int(amount * 100) for amount in amounts] == [PRICE]


def test_an_operator_does_not_wait_for_the_calendar(
    outside: FakeWorld, domain_id: UUID, travel: Travel, live: Live, settle: Settle
) -> None:
    outside.payments.declines = "insufficient funds"
    travel(days=until_the_end(domain_id) - 31)
    live(12)
    with transaction(tenant=ALL_TENANTS) as db:
        (row,) = domain_life.overview(db)
        assert (row["order"], row["order_failure"]) == (
            "quoted",
            "The card was declined: insufficient funds.",
        )
    outside.payments.declines = None
    with transaction(tenant=ALL_TENANTS) as db:
        assert domain_renewal.ask_now(NAME.upper(), db) == renewals()[0].id
        with pytest.raises(errors.NotFound):
            domain_renewal.ask_now("not-ours.com", db)
    settle()
    assert_renewed(outside, domain_id)
