"""From a held price to a name that sends."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from uuid import UUID

import pytest
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
    OutboxEvent,
    PurchaseState,
    StepName,
    Tenant,
)
from app.database.session import ALL_TENANTS, transaction
from app.services.dkim_keys import key_context
from app.services.domain_service import DomainService
from app.tasks import domain_tasks, jobs, relay
from app.utils import security
from tests.fakes import FakeWorld, away
from tests.fixtures.chain import (
    CHAIN,
    NAME,
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
    assert outside.registrar.protected == {NAME}


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
    assert {step.name for step in steps} == set(StepName) - {StepName.OWNERSHIP}
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
        "domain_protected",
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
