"""Another year of a name: paid for once, had once, or neither."""

from __future__ import annotations

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
    Domain,
    DomainStatus,
    NoticeKind,
    PaymentMethod,
    PurchaseState,
    SubscriptionStatus,
    Tenant,
)
from app.database.session import ALL_TENANTS, transaction
from app.services import domain_life, domain_renewal
from app.tasks import billing_tasks, domain_tasks  # noqa: F401  # Registers tasks.
from tests.fakes import FakeWorld
from tests.fixtures.chain import NAME, Live, Settle, Travel, domain_of, until_the_end
from tests.fixtures.renewal import (
    PRICE,
    ask,
    assert_not_renewed,
    assert_renewed,
    booked,
    called,
    change_tenant,
    renewals,
    told,
)

# By the calendar --------------------------------------------------------------------------------


def test_a_year_goes_by_and_another_is_bought(
    outside: FakeWorld, renewable: UUID, travel: Travel, live: Live
) -> None:
    travel(days=until_the_end(renewable) - 31)
    live(2)
    (first,) = told(NoticeKind.DOMAIN_EXPIRING)
    assert (first["kept"], first["cents"]) == ("yes", PRICE)
    assert str(first["charged_at"])[:10] == f"{clock.now() + timedelta(days=8):%Y-%m-%d}"
    assert outside.payments.charged == []
    live(10)
    assert_renewed(outside, renewable)
    assert until_the_end(renewable) > 380
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
    outside: FakeWorld, renewable: UUID, travel: Travel, live: Live
) -> None:
    outside.payments.declines = "insufficient funds"
    travel(days=until_the_end(renewable) - 31)
    live(33)
    # Five rungs, a key of its own for each, one intent for all.
    (row,) = renewals()
    assert (row.attempts, len(set(outside.payments.charged))) == (5, 5)
    assert len(outside.payments.intents) == 2
    failures = told(NoticeKind.DOMAIN_RENEWAL_FAILED)
    assert [bool(each["again"]) for each in failures] == [True, True, True, True, False]
    assert called() == {"domain_renewal_due": 1, "domain_expired": 1}
    assert domain_of(renewable).status == DomainStatus.EXPIRED
    assert_not_renewed(outside)
    # A declined renewal is no unpaid invoice: the tenant goes on.
    with transaction(tenant=ALL_TENANTS) as db:
        assert not db.get_one(Tenant, domain_of(renewable).tenant_id).is_suspended


def test_another_card_is_asked_at_once(
    outside: FakeWorld, renewable: UUID, travel: Travel, live: Live, settle: Settle
) -> None:
    outside.payments.declines = "expired"
    travel(days=until_the_end(renewable) - 31)
    live(12)
    assert renewals()[0].attempts == 1
    outside.payments.declines = None
    with transaction(tenant=ALL_TENANTS) as db:
        outbox.record(db, events.CardChanged(tenant_id=domain_of(renewable).tenant_id))
    settle()
    assert_renewed(outside, renewable)


def test_without_a_card_the_owner_is_told(
    outside: FakeWorld, renewable: UUID, travel: Travel, live: Live
) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        db.delete(db.scalars(select(PaymentMethod)).one())
    travel(days=until_the_end(renewable) - 31)
    live(12)
    (failure,) = told(NoticeKind.DOMAIN_RENEWAL_FAILED)
    assert failure["why"] == "There is no card on file."
    assert outside.payments.charged == []
    assert_not_renewed(outside)


def test_a_name_that_is_not_to_be_kept_costs_nothing(
    outside: FakeWorld, renewable: UUID, travel: Travel, live: Live
) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        domain_life.set_auto_renew(db.get_one(Domain, renewable), False, db)
    travel(days=until_the_end(renewable) - 31)
    live(33)
    assert renewals() == []
    assert_not_renewed(outside)


def test_switched_off_after_it_was_announced(
    outside: FakeWorld, renewable: UUID, travel: Travel, live: Live, settle: Settle
) -> None:
    travel(days=until_the_end(renewable) - 31)
    live(3)
    with transaction(tenant=ALL_TENANTS) as db:
        domain_life.set_auto_renew(db.get_one(Domain, renewable), False, db)
    live(31)
    assert outside.payments.charged == []
    travel(hours=2)
    with transaction(tenant=ALL_TENANTS) as db:
        outbox.record(db, events.HoldsDue())
    settle()
    assert [row.state for row in renewals()] == [PurchaseState.VOIDED]
    assert_not_renewed(outside)


def test_who_may_not_send_is_not_charged(
    outside: FakeWorld, renewable: UUID, travel: Travel, live: Live
) -> None:
    change_tenant(renewable, subscription_status=SubscriptionStatus.TRIAL_EXPIRED)
    travel(days=until_the_end(renewable) - 31)
    live(15)
    assert outside.payments.charged == []
    assert_not_renewed(outside)
    change_tenant(renewable, subscription_status=SubscriptionStatus.ACTIVE)
    live(1)
    assert_renewed(outside, renewable)


def test_a_higher_price_is_told_before_it_is_taken(
    outside: FakeWorld, renewable: UUID, travel: Travel, live: Live
) -> None:
    travel(days=until_the_end(renewable) - 31)
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
    assert_renewed(outside, renewable, price=new)


def test_renewed_at_the_registrar_meanwhile(
    outside: FakeWorld, renewable: UUID, travel: Travel, live: Live
) -> None:
    travel(days=until_the_end(renewable) - 31)
    live(3)
    held = outside.registrar.ours[NAME]
    assert held.expires_at is not None
    later = held.expires_at + timedelta(days=365)
    outside.registrar.ours[NAME] = replace(held, expires_at=later)
    live(12)
    assert domain_of(renewable).expiry_date == later
    assert_not_renewed(outside)


# Asked for --------------------------------------------------------------------------------------


def test_the_owner_asks_for_another_year(
    outside: FakeWorld, renewable: UUID, settle: Settle
) -> None:
    assert ask(renewable) is None
    settle()
    assert_renewed(outside, renewable)


def test_in_the_browser_with_any_card(outside: FakeWorld, renewable: UUID, settle: Settle) -> None:
    intent = ask(renewable, in_browser=True)
    assert intent is not None
    settle()
    assert outside.payments.charged == []
    outside.payments.confirm(intent)
    # What the event of the held payment leads to.
    (row,) = renewals()
    with transaction(tenant=ALL_TENANTS) as db:
        outbox.record(db, events.DomainRenewalDue(tenant_id=row.tenant_id, purchase_id=row.id))
    settle()
    assert_renewed(outside, renewable)
    assert outside.payments.charged == []


def test_a_name_that_is_over_comes_back_at_the_price_of_that(
    outside: FakeWorld, renewable: UUID, travel: Travel, live: Live, settle: Settle
) -> None:
    outside.payments.declines = "stolen"
    travel(days=until_the_end(renewable) - 2)
    live(5)
    assert domain_of(renewable).status == DomainStatus.EXPIRED
    outside.payments.declines = None
    with pytest.raises(errors.PriceChanged) as changed:
        ask(renewable)
    restored = 11472
    assert changed.value.details["price_cents"] == restored
    # The order of the calendar, at the ordinary price, is let go by then.
    travel(hours=2)
    with transaction(tenant=ALL_TENANTS) as db:
        outbox.record(db, events.HoldsDue())
    settle()
    ask(renewable, restored)
    settle(hours=1)
    assert_renewed(outside, renewable, price=restored)
    assert NAME in outside.mail.relays


def test_what_cannot_be_asked_for(
    outside: FakeWorld, renewable: UUID, travel: Travel, live: Live
) -> None:
    with pytest.raises(errors.PriceChanged):
        ask(renewable, PRICE - 1)
    change_tenant(renewable, is_suspended=True)
    with pytest.raises(errors.TenantSuspended):
        ask(renewable)
    change_tenant(renewable, is_suspended=False)
    del outside.registrar.ours[NAME]
    with pytest.raises(errors.Invalid, match="by hand"):
        ask(renewable)
    travel(days=until_the_end(renewable))
    live(70)
    with pytest.raises(errors.Invalid, match="released"):
        ask(renewable)
    assert renewals() == [] or {row.state for row in renewals()} <= {PurchaseState.VOIDED}


def test_two_who_ask_at_once_buy_one_year(
    outside: FakeWorld, renewable: UUID, settle: Settle
) -> None:
    def press(_: int) -> None:
        with suppress(errors.Conflict):
            ask(renewable)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(press, range(8)))
    settle()
    assert len(renewals()) == 1
    assert_renewed(outside, renewable)


def test_an_operator_does_not_wait_for_the_calendar(
    outside: FakeWorld, renewable: UUID, travel: Travel, live: Live, settle: Settle
) -> None:
    outside.payments.declines = "insufficient funds"
    travel(days=until_the_end(renewable) - 31)
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
    assert_renewed(outside, renewable)
