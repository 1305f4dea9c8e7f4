"""Dead workers, absent providers, jobs that come twice: the chain ends well or lets go."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from app import clock
from app.database.models import (
    AuditLog,
    DomainStatus,
    Job,
    JobState,
    OutboxEvent,
    PurchaseState,
    StepName,
)
from app.database.queries import jobs as job_queries
from app.database.session import ALL_TENANTS, transaction
from app.tasks import domain_tasks, jobs, relay
from tests.fakes import FakeWorld, Killed, away, lost, refused
from tests.fixtures.chain import (
    CHAIN,
    Quote,
    Settle,
    Travel,
    assert_active,
    assert_sound,
    domain_of,
    order,
    purchase_of,
    step_of,
)

# Workers that die -------------------------------------------------------------------------------

CALLS = ["find", "offers", "register", "ensure_zone", "apply", "set_nameservers", "lookup",
         "add_relay", "reload", "capture"]  # fmt: skip


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("call", CALLS)
def test_a_worker_killed_around_any_call(
    outside: FakeWorld, quote: Quote, settle: Settle, call: str, after: bool
) -> None:
    purchase_id = quote()
    domain_id = order(purchase_id)
    outside.accidents.plan(call, Killed(), after=after)
    with pytest.raises(Killed):
        settle(hours=2)
    # Another worker takes over.
    settle(hours=2)
    assert_active(outside, domain_id, purchase_id)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("call", [c for c in CALLS if c not in {"register", "find", "capture"}])
def test_a_provider_away_around_any_call(
    outside: FakeWorld, quote: Quote, settle: Settle, call: str, after: bool
) -> None:
    purchase_id = quote()
    domain_id = order(purchase_id)
    outside.accidents.plan(call, away(), after=after, times=3)
    settle(hours=4)
    assert_active(outside, domain_id, purchase_id)


@pytest.mark.parametrize(
    ("call", "step"),
    [
        ("ensure_zone", StepName.ZONE),
        ("apply", StepName.RECORDS),
        ("set_nameservers", StepName.DELEGATION),
        ("add_relay", StepName.AUTHORIZATION),
    ],
)
def test_a_refusal_after_buying_is_shown_and_tried_again(
    outside: FakeWorld, quote: Quote, settle: Settle, call: str, step: StepName
) -> None:
    """The name is bought and paid for: giving up would be the wrong answer."""
    purchase_id = quote()
    domain_id = order(purchase_id)
    outside.accidents.plan(call, refused("zone is banned"), times=2)
    settle(hours=0.1)
    assert step_of(domain_id, step).state == "failed"
    assert "zone is banned" in (domain_of(domain_id).failure or "")
    assert purchase_of(purchase_id).state == PurchaseState.CAPTURED
    settle(hours=2)
    assert_active(outside, domain_id, purchase_id)
    assert domain_of(domain_id).failure is None


ACCIDENTS = {"killed": Killed, "away": away, "lost": lost}


@pytest.mark.slow
@given(
    st.lists(
        st.tuples(st.sampled_from(CALLS), st.sampled_from(sorted(ACCIDENTS)), st.booleans()),
        max_size=6,
    )
)
@settings(
    max_examples=30,
    deadline=None,
    # Each example buys a name of its own; what is counted is that name's.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_run_of_accidents_ends_well_or_with_the_money_let_go(
    outside: FakeWorld, quote: Quote, settle: Settle, accidents: list[tuple[str, str, bool]]
) -> None:
    name = f"case-{uuid4().hex}.com"
    outside.accidents.clear()
    purchase_id = quote(name)
    domain_id = order(purchase_id)
    for call, kind, after in accidents:
        # The port promises that nothing happened when it says that the provider is away.
        late = after and (call, kind) != ("register", "away")
        outside.accidents.plan(call, ACCIDENTS[kind](), after=late)
    for _ in range(len(accidents) + 1):
        with suppress(Killed):
            settle(hours=6)
        # A job that killed three workers is set aside; an operator looks and lets it go on.
        with transaction(tenant=ALL_TENANTS) as db:
            job_queries.replay(db, None)
    settle(hours=6)
    domain, purchase = domain_of(domain_id), purchase_of(purchase_id)
    bought = outside.registrar.bought[name]
    expected = {
        1: (DomainStatus.ACTIVE, PurchaseState.CAPTURED),
        0: (DomainStatus.FAILED, PurchaseState.VOIDED),
    }
    assert (domain.status, purchase.state) == expected[bought]
    assert outside.payments.captures[purchase.stripe_payment_intent_id or ""] == bought
    assert_sound()


# Twice, and at once -----------------------------------------------------------------------------


@pytest.mark.parametrize("twice", CHAIN)
def test_every_job_may_come_twice(
    outside: FakeWorld, quote: Quote, settle: Settle, travel: Travel, twice: str
) -> None:
    """The second delivery finds the step done, however far the chain has gone meanwhile."""
    purchase_id = quote()
    domain_id = order(purchase_id)

    def repeat() -> None:
        with transaction(tenant=ALL_TENANTS) as db:
            for job in db.scalars(select(Job).where(Job.task == twice)):
                job.state, job.next_try_at = JobState.WAITING, clock.now()

    ran = settle()
    while twice not in ran:
        travel(seconds=2)
        ran += settle()
    repeat()
    settle(hours=1)
    calls = outside.accidents.calls.copy()
    repeat()
    settle(hours=1)
    assert outside.accidents.calls == calls
    assert_active(outside, domain_id, purchase_id)


@pytest.mark.parametrize("event", ["DomainPurchaseAuthorised", "DomainRegistered"])
def test_every_event_may_come_twice(
    outside: FakeWorld, quote: Quote, settle: Settle, event: str
) -> None:
    purchase_id = quote()
    domain_id = order(purchase_id)
    settle(hours=1)
    with transaction(tenant=ALL_TENANTS) as db:
        row = db.scalars(select(OutboxEvent).where(OutboxEvent.event == event)).one()
        db.add(OutboxEvent(event=row.event, payload=row.payload, tenant_id=row.tenant_id))
    settle(hours=1)
    assert_active(outside, domain_id, purchase_id)


@pytest.mark.parametrize("task", [name for name in CHAIN if name != "domains.submit_registration"])
def test_two_workers_on_one_step(
    outside: FakeWorld, quote: Quote, settle: Settle, task: str
) -> None:
    purchase_id = quote()
    domain_id = order(purchase_id)
    step: Any = getattr(domain_tasks, task.partition(".")[2])
    # Walk the chain up to the step, one job after another.
    while True:
        batch: list[tuple[str, UUID]] = []
        relay.sweep(lambda name, job_id: batch.append((name, job_id)))  # noqa: B023
        assert batch
        if any(name == task for name, _ in batch):
            break
        for _, job_id in batch:
            jobs.run(job_id)
    tenant_id = domain_of(domain_id).tenant_id
    barrier, failures = threading.Barrier(4), []

    def work() -> None:
        try:
            barrier.wait(10)
            with transaction(tenant=tenant_id) as db:
                step(db, tenant_id=tenant_id, domain_id=domain_id)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    settle(hours=1)
    assert_active(outside, domain_id, purchase_id)
    with transaction(tenant=ALL_TENANTS) as db:
        actions = db.scalars(select(AuditLog.action).where(AuditLog.resource_id == domain_id)).all()
    assert len(actions) == len(set(actions))
