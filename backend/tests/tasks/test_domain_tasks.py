"""From a held price to a name that sends, through every accident on the way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from app import clock, errors
from app.database.models import (
    AuditLog,
    DKIMKey,
    Domain,
    DomainPurchase,
    DomainStatus,
    DomainStep,
    Job,
    JobState,
    OperationState,
    OutboxEvent,
    PurchaseState,
    RegistrarOperation,
    StepName,
    Tenant,
)
from app.database.queries import invariants
from app.database.queries import jobs as job_queries
from app.database.session import ALL_TENANTS, transaction
from app.integrations import ports
from app.services.domain_service import DomainService
from app.services.domain_setup import key_context
from app.tasks import domain_tasks, jobs, relay
from app.utils import security
from tests.fakes import FakeWorld, Killed, away, days_ago, lost, refused

NAME = "acme-mail.com"
Settle = Callable[..., list[str]]
Quote = Callable[..., UUID]
Travel = Callable[..., None]

CHAIN = [
    "domains.submit_registration",
    "domains.register",
    "domains.create_zone",
    "domains.publish_records",
    "domains.delegate",
    "domains.verify_dns",
    "domains.authorize_in_kumo",
]


def order(purchase_id: UUID) -> UUID:
    """What the endpoint does once the browser is back; the name's id."""
    with transaction(tenant=ALL_TENANTS) as db:
        purchase = db.get_one(DomainPurchase, purchase_id)
        tenant = db.get_one(Tenant, purchase.tenant_id)
        return DomainService.request_purchase(tenant, purchase, db).id


def domain_of(domain_id: UUID) -> Domain:
    with transaction(tenant=ALL_TENANTS) as db:
        return db.get_one(Domain, domain_id)


def purchase_of(purchase_id: UUID) -> DomainPurchase:
    with transaction(tenant=ALL_TENANTS) as db:
        return db.get_one(DomainPurchase, purchase_id)


def step_of(domain_id: UUID, name: StepName) -> DomainStep:
    with transaction(tenant=ALL_TENANTS) as db:
        steps = select(DomainStep).where(DomainStep.domain_id == domain_id, DomainStep.name == name)
        return db.scalars(steps).one()


def operations() -> list[RegistrarOperation]:
    with transaction(tenant=ALL_TENANTS) as db:
        return list(db.scalars(select(RegistrarOperation).order_by(RegistrarOperation.id)))


def domains_count(domain_id: UUID) -> int:
    with transaction(tenant=ALL_TENANTS) as db:
        return db.get_one(Tenant, db.get_one(Domain, domain_id).tenant_id).domains_count


def assert_sound(*, apart_from: frozenset[str] = frozenset()) -> None:
    """Every invariant that the platform watches in production."""
    with transaction(tenant=ALL_TENANTS) as db:
        broken = {name: ids for name, ids in invariants.run(db).items() if ids}
    assert {name: ids for name, ids in broken.items() if name not in apart_from} == {}


def assert_active(outside: FakeWorld, domain_id: UUID, purchase_id: UUID) -> None:
    domain, purchase = domain_of(domain_id), purchase_of(purchase_id)
    intent = outside.payments.intents[purchase.stripe_payment_intent_id or ""]
    assert domain.status == DomainStatus.ACTIVE
    assert domain.kumo_authorized
    assert purchase.state == PurchaseState.CAPTURED
    assert intent.status == "succeeded"
    assert outside.payments.captures == {intent.id: 1}
    assert outside.registrar.bought == {domain.domain_name: 1}
    assert domains_count(domain_id) == 1
    assert_sound()


def assert_let_go(outside: FakeWorld, domain_id: UUID, purchase_id: UUID) -> None:
    """The name was not had: no money moved, no hold is left, the plan's room is free again."""
    domain, purchase = domain_of(domain_id), purchase_of(purchase_id)
    assert domain.status == DomainStatus.FAILED
    assert domain.failure is not None
    assert purchase.state == PurchaseState.VOIDED
    assert outside.payments.intents[purchase.stripe_payment_intent_id or ""].status == "canceled"
    assert not outside.payments.captures
    assert NAME not in outside.registrar.ours
    assert domains_count(domain_id) == 0
    assert {operation.state for operation in operations()} == {OperationState.FAILED}
    assert_sound()


# All is well ------------------------------------------------------------------------------------


def test_a_held_price_becomes_a_name_that_sends(
    outside: FakeWorld, quote: Quote, settle: Settle
) -> None:
    purchase_id = quote()
    domain_id = order(purchase_id)
    ran = settle(hours=1)
    assert [name for name in ran if name.startswith("domains.")] == CHAIN
    assert_active(outside, domain_id, purchase_id)
    domain = domain_of(domain_id)
    assert domain.expiry_date is not None
    assert timedelta(days=364) < domain.expiry_date - clock.now() < timedelta(days=366)
    assert str(domain.purchase_price) == "14.28"
    assert outside.mail.loaded == {NAME: (str(domain.tenant_id), domain.dkim_selector)}
    assert outside.registrar.name_servers[NAME] == outside.dns.zones[NAME].name_servers


def test_every_step_has_its_times_and_every_transition_its_audit_row(
    outside: FakeWorld, quote: Quote, settle: Settle
) -> None:
    domain_id = order(quote())
    settle(hours=1)
    with transaction(tenant=ALL_TENANTS) as db:
        steps = db.scalars(select(DomainStep).where(DomainStep.domain_id == domain_id)).all()
        rows = db.scalars(
            select(AuditLog).where(AuditLog.resource_id == domain_id).order_by(AuditLog.id)
        ).all()
    assert {step.name for step in steps} == set(StepName)
    for step in steps:
        assert step.state == "done"
        assert step.started_at is not None
        assert step.finished_at is not None
        assert step.started_at <= step.finished_at
    assert [row.action for row in rows] == [
        "domain_purchase_requested",
        "domain_registration_submitted",
        "domain_registered",
        "domain_zone_created",
        "domain_records_published",
        "domain_delegated",
        "domain_dns_verified",
        "domain_activated",
    ]
    # The statuses of the rows form one unbroken line.
    moves = [row.changes["status"] for row in rows if "status" in row.changes]
    assert moves[0] == [None, "registering"]
    assert moves[-1][1] == "active"
    assert all(a[1] == b[0] for a, b in pairwise(moves))


def test_the_signing_key_is_encrypted_and_fits_its_record(
    outside: FakeWorld, quote: Quote, settle: Settle
) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    domain_id = order(quote())
    settle(hours=1)
    with transaction(tenant=ALL_TENANTS) as db:
        key = db.scalars(select(DKIMKey).where(DKIMKey.domain_id == domain_id)).one()
    assert b"PRIVATE" not in bytes(key.private_key)
    private = serialization.load_pem_private_key(
        security.decrypt(key.private_key, key_context(key.id)), None
    )
    assert isinstance(private, rsa.RSAPrivateKey)
    assert private.key_size == 2048
    published = outside.resolver.lookup(f"{key.selector}._domainkey.{NAME}", "TXT")
    assert published == [f"v=DKIM1; k=rsa; p={key.public_key}"]


def test_a_name_that_lives_again_gets_a_new_selector(
    outside: FakeWorld, quote: Quote, settle: Settle
) -> None:
    first = order(quote())
    settle(hours=1)
    with transaction(tenant=ALL_TENANTS) as db:
        domain = db.get_one(Domain, first)
        domain.status = DomainStatus.EXPIRED
        tenant = db.get_one(Tenant, domain.tenant_id)
        tenant.domains_count -= 1
        tenant_id = tenant.id
    outside.registrar.ours.clear()
    second = order(quote(tenant_id=tenant_id))
    settle(hours=1)
    assert domain_of(second).status == DomainStatus.ACTIVE
    assert domain_of(second).dkim_selector == f"{domain_of(first).dkim_selector}b"


def test_the_hold_alone_is_enough_when_the_browser_never_comes_back(
    outside: FakeWorld, quote: Quote, settle: Settle
) -> None:
    from app.database import outbox
    from app.events import DomainHoldPlaced

    purchase_id = quote()
    with transaction(tenant=ALL_TENANTS) as db:
        tenant_id = db.get_one(DomainPurchase, purchase_id).tenant_id
        for _ in range(3):
            outbox.record(db, DomainHoldPlaced(tenant_id=tenant_id, purchase_id=purchase_id))
    settle(hours=1)
    domain_id = purchase_of(purchase_id).domain_id
    assert domain_id is not None
    assert_active(outside, domain_id, purchase_id)


@pytest.mark.parametrize("late", [False, True])
def test_a_hold_for_what_cannot_be_bought_is_let_go(
    outside: FakeWorld, quote: Quote, settle: Settle, travel: Travel, late: bool
) -> None:
    """Either the offer ran out, or another tenant was faster: no hold may stay."""
    from app.database import outbox
    from app.events import DomainHoldPlaced

    purchase_id = quote()
    if late:
        travel(minutes=16)
    else:
        order(quote())
    with transaction(tenant=ALL_TENANTS) as db:
        tenant_id = db.get_one(DomainPurchase, purchase_id).tenant_id
        outbox.record(db, DomainHoldPlaced(tenant_id=tenant_id, purchase_id=purchase_id))
    settle(hours=1)
    purchase = purchase_of(purchase_id)
    assert (purchase.state, purchase.domain_id) == (PurchaseState.VOIDED, None)
    assert purchase.failure is not None
    assert outside.payments.intents[purchase.stripe_payment_intent_id or ""].status == "canceled"
    assert_sound()


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


# Waiting for the DNS ----------------------------------------------------------------------------


def test_the_wait_for_the_dns_is_visible_and_grows(
    outside: FakeWorld, quote: Quote, settle: Settle
) -> None:
    purchase_id = quote()
    domain_id = order(purchase_id)
    outside.resolver.hidden.add(("TXT", f"_dmarc.{NAME}"))
    settle(hours=3)
    step = step_of(domain_id, StepName.VERIFICATION)
    assert domain_of(domain_id).status == DomainStatus.VERIFYING_DNS
    assert step.state == "running"
    assert step.detail is not None
    assert step.detail.startswith(f"8 of 9 records are seen; TXT _dmarc.{NAME}: there is no such")
    assert 15 < step.attempts < 60
    outside.resolver.hidden.clear()
    settle(hours=1)
    assert_active(outside, domain_id, purchase_id)


def test_a_resolver_that_is_away_is_no_verdict(
    outside: FakeWorld, quote: Quote, settle: Settle
) -> None:
    purchase_id = quote()
    domain_id = order(purchase_id)
    outside.accidents.plan("lookup", away(), times=20)
    settle(hours=1)
    assert_active(outside, domain_id, purchase_id)


def test_after_three_days_it_shows_as_failed_and_still_heals(
    outside: FakeWorld, quote: Quote, settle: Settle
) -> None:
    purchase_id = quote()
    domain_id = order(purchase_id)
    outside.resolver.hidden.add(("MX", NAME))
    settle(hours=80, limit=2000)
    step = step_of(domain_id, StepName.VERIFICATION)
    assert step.state == "failed"
    assert "MX" in (domain_of(domain_id).failure or "")
    assert domain_of(domain_id).status == DomainStatus.VERIFYING_DNS
    assert_sound(apart_from=frozenset())
    outside.resolver.hidden.clear()
    settle(hours=7)
    assert domain_of(domain_id).status == DomainStatus.ACTIVE
    assert domain_of(domain_id).failure is None


# Names that were forgotten ----------------------------------------------------------------------


@pytest.mark.parametrize("after", CHAIN)
def test_a_stuck_name_is_found_and_set_going(
    outside: FakeWorld, quote: Quote, settle: Settle, after: str
) -> None:
    """Whatever was lost (here all its jobs and events), the row itself knows what comes next."""
    purchase_id = quote()
    domain_id = order(purchase_id)
    while True:
        batch: list[tuple[str, UUID]] = []
        relay.sweep(lambda name, job_id: batch.append((name, job_id)))  # noqa: B023
        with transaction(tenant=ALL_TENANTS) as db:
            assert DomainService.stuck(db) == []
        for name, job_id in batch:
            if name.startswith("domains."):
                jobs.run(job_id)
        if any(name == after for name, _ in batch):
            break
    with transaction(tenant=ALL_TENANTS) as db:
        for event in db.scalars(select(OutboxEvent)):
            db.delete(event)
    done = domain_of(domain_id).status == DomainStatus.ACTIVE
    with transaction(tenant=ALL_TENANTS) as db:
        assert [domain.id for domain in DomainService.stuck(db)] == ([] if done else [domain_id])
        assert DomainService.resume_stuck(db) == ([] if done else [domain_id])
    with transaction(tenant=ALL_TENANTS) as db:
        assert DomainService.resume_stuck(db) == []
    settle(hours=1)
    assert domain_of(domain_id).status == DomainStatus.ACTIVE
    assert outside.registrar.bought == {NAME: 1}


def test_a_dead_job_is_left_to_the_operator(
    outside: FakeWorld, quote: Quote, settle: Settle
) -> None:
    order(quote())
    outside.accidents.plan("find", away(), times=100)
    settle(hours=24)
    with transaction(tenant=ALL_TENANTS) as db:
        dead = db.scalars(select(Job).where(Job.state == JobState.DEAD)).all()
        assert [job.task for job in dead] == ["domains.register"]
        assert DomainService.stuck(db) == []
    assert_sound()


def test_a_job_sees_its_own_tenants_names_only(outside: FakeWorld, quote: Quote) -> None:
    domain_id = order(quote())
    other = purchase_of(quote("other-mail.com")).tenant_id
    with pytest.raises(errors.NotFound), transaction(tenant=other) as db:
        domain_tasks.register(db, tenant_id=other, domain_id=domain_id)
