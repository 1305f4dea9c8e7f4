"""The one call that cannot be repeated: refusals, lost answers, races."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from app import clock
from app.database.models import (
    DomainStatus,
    OperationState,
    OutboxEvent,
    PurchaseState,
    StepName,
)
from app.database.session import ALL_TENANTS, transaction
from app.integrations import ports
from app.tasks import domain_tasks
from tests.fakes import FakeWorld, Killed, away, days_ago, lost, refused
from tests.fixtures.chain import (
    NAME,
    Quote,
    Settle,
    assert_active,
    assert_let_go,
    assert_sound,
    domain_of,
    operations,
    order,
    purchase_of,
    step_of,
)

# The registrar ----------------------------------------------------------------------------------


def test_before_buying_we_look(outside: FakeWorld, quote: Quote, settle: Settle) -> None:
    order(quote())
    seen: list[int] = []
    outside.accidents.plan("register", then=lambda: seen.append(outside.accidents.calls["find"]))
    settle(hours=1)
    assert seen == [1]


def test_a_clear_no_lets_go_of_the_money(outside: FakeWorld, quote: Quote, settle: Settle) -> None:
    purchase_id = quote()
    domain_id = order(purchase_id)
    outside.accidents.plan("register", refused("Contact data are not valid"))
    settle(hours=24)
    assert_let_go(outside, domain_id, purchase_id)
    assert "Contact data" in (domain_of(domain_id).failure or "")
    assert step_of(domain_id, StepName.REGISTRATION).state == "failed"
    assert outside.accidents.calls["register"] == 1


@pytest.mark.parametrize("change", ["price", "taken", "premium"])
def test_what_is_no_longer_as_quoted_is_not_bought(
    outside: FakeWorld, quote: Quote, settle: Settle, change: str
) -> None:
    purchase_id = quote()
    domain_id = order(purchase_id)
    if change == "price":
        outside.registrar.prices[NAME] = 1149
    elif change == "taken":
        outside.registrar.others.add(NAME)
    else:
        outside.registrar.premium.add(NAME)
    settle(hours=24)
    assert_let_go(outside, domain_id, purchase_id)
    assert outside.accidents.calls["register"] == 0


def test_a_lower_price_is_no_reason_not_to_buy(
    outside: FakeWorld, quote: Quote, settle: Settle
) -> None:
    purchase_id = quote()
    domain_id = order(purchase_id)
    outside.registrar.prices[NAME] = 900
    settle(hours=1)
    assert_active(outside, domain_id, purchase_id)
    assert [operation.charged_cents for operation in operations()] == [900]


def test_an_answer_lost_after_the_effect_is_found_again(
    outside: FakeWorld, quote: Quote, settle: Settle
) -> None:
    purchase_id = quote()
    domain_id = order(purchase_id)
    outside.accidents.plan("register", lost(), after=True)
    settle()
    assert [operation.state for operation in operations()] == [OperationState.UNKNOWN]
    assert domain_of(domain_id).status == DomainStatus.REGISTERING
    assert purchase_of(purchase_id).state == PurchaseState.AUTHORISED
    detail = step_of(domain_id, StepName.REGISTRATION).detail
    assert detail is not None
    assert "we look whether the name is ours" in detail
    before = clock.now()
    settle(hours=1)
    assert_active(outside, domain_id, purchase_id)
    assert outside.accidents.calls["register"] == 1
    # The first look comes half a minute later.
    assert clock.now() - before < timedelta(minutes=2)


def test_an_effect_that_comes_late_is_awaited(
    outside: FakeWorld, quote: Quote, settle: Settle
) -> None:
    """The registrar answers nothing and carries the order out minutes later."""
    purchase_id = quote()
    domain_id = order(purchase_id)
    outside.accidents.plan("register", lost())
    settle(hours=0.1)
    outside.registrar._register(NAME, 1, 1148)
    settle(hours=1)
    assert_active(outside, domain_id, purchase_id)
    assert outside.accidents.calls["register"] == 1


def test_an_answer_lost_before_the_effect_is_bought_once_more_but_not_sooner_than_safe(
    outside: FakeWorld, quote: Quote, settle: Settle
) -> None:
    purchase_id = quote()
    domain_id = order(purchase_id)
    outside.accidents.plan("register", lost())
    settle(hours=0.15)
    assert outside.accidents.calls["register"] == 1
    settle(hours=1)
    assert_active(outside, domain_id, purchase_id)
    assert outside.accidents.calls["register"] == 2
    assert [operation.state for operation in operations()] == [
        OperationState.FAILED,
        OperationState.DONE,
    ]


def test_two_calls_without_effect_are_enough(
    outside: FakeWorld, quote: Quote, settle: Settle
) -> None:
    purchase_id = quote()
    domain_id = order(purchase_id)
    outside.accidents.plan("register", lost(), times=5)
    settle(hours=24)
    assert_let_go(outside, domain_id, purchase_id)
    assert outside.accidents.calls["register"] == 2


def test_a_lost_answer_and_a_name_that_went_to_somebody_else(
    outside: FakeWorld, quote: Quote, settle: Settle
) -> None:
    purchase_id = quote()
    domain_id = order(purchase_id)
    outside.accidents.plan("register", lost(), then=lambda: outside.registrar.others.add(NAME))
    settle(hours=0.9)
    # Until then it could still turn out to be an order of ours that is pending.
    assert domain_of(domain_id).status == DomainStatus.REGISTERING
    settle(hours=1)
    assert_let_go(outside, domain_id, purchase_id)


def test_a_race_lost_between_look_and_order(
    outside: FakeWorld, quote: Quote, settle: Settle
) -> None:
    purchase_id = quote()
    domain_id = order(purchase_id)
    outside.accidents.plan("register", then=lambda: outside.registrar.others.add(NAME))
    settle(hours=24)
    assert_let_go(outside, domain_id, purchase_id)


def test_a_refusal_that_echoes_our_own_order_is_no_failure(
    outside: FakeWorld, quote: Quote, settle: Settle
) -> None:
    """A worker died while the registrar was at work: the name is neither free nor with us yet."""
    purchase_id = quote()
    domain_id = order(purchase_id)
    outside.accidents.plan("register", Killed())
    outside.accidents.plan("register", then=lambda: outside.registrar.others.add(NAME))
    with pytest.raises(Killed):
        settle()
    settle(hours=0.01)
    assert [operation.state for operation in operations()] == [OperationState.UNKNOWN]
    assert purchase_of(purchase_id).state == PurchaseState.AUTHORISED
    outside.registrar.others.clear()
    outside.registrar._register(NAME, 1, 1148)
    settle(hours=1)
    assert_active(outside, domain_id, purchase_id)
    assert outside.accidents.calls["register"] == 2


def test_the_intent_is_written_once(outside: FakeWorld, quote: Quote) -> None:
    purchase_id = quote()
    domain_id = order(purchase_id)
    tenant_id = domain_of(domain_id).tenant_id
    for _ in range(3):
        with transaction(tenant=tenant_id) as db:
            domain_tasks.submit_registration(db, tenant_id=tenant_id, purchase_id=purchase_id)
    assert [operation.state for operation in operations()] == [OperationState.SUBMITTED]
    with transaction(tenant=ALL_TENANTS) as db:
        events = db.scalars(select(OutboxEvent.event)).all()
    assert events.count("DomainRegistrationSubmitted") == 1


def test_a_registrar_that_is_away_is_waited_for(
    outside: FakeWorld, quote: Quote, settle: Settle
) -> None:
    purchase_id = quote()
    domain_id = order(purchase_id)
    outside.accidents.plan("find", away(), times=2)
    outside.accidents.plan("offers", away(), times=2)
    outside.accidents.plan("register", away(), times=2)
    settle(hours=3)
    assert_active(outside, domain_id, purchase_id)


def test_a_name_that_was_ours_before_is_not_sold_as_new(
    outside: FakeWorld, quote: Quote, settle: Settle
) -> None:
    purchase_id = quote()
    domain_id = order(purchase_id)
    old = outside.registrar._register(NAME, 1, 1148)
    outside.registrar.ours[NAME] = ports.Registration(
        NAME, old.registrar_id, old.order_id, None, days_ago(40), old.expires_at
    )
    settle(hours=24)
    assert domain_of(domain_id).status == DomainStatus.FAILED
    assert purchase_of(purchase_id).state == PurchaseState.VOIDED
    assert outside.accidents.calls["register"] == 0
    assert_sound()
