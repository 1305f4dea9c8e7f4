"""Two years of a name: notices, an end, a way back, and names that others took away."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import select

from app.database.models import (
    AuditLog,
    BillingNotice,
    Domain,
    DomainStatus,
    NoticeKind,
    OperatorAlert,
)
from app.database.session import ALL_TENANTS, transaction
from app.services import domain_life
from tests.fakes import FakeWorld, away
from tests.fixtures.chain import (
    NAME,
    Live,
    Quote,
    Settle,
    Travel,
    assert_sound,
    domain_of,
    domains_count,
    order,
    until_the_end,
)


@pytest.fixture
def domain_id(outside: FakeWorld, quote: Quote, settle: Settle) -> UUID:
    """An active name, a day old."""
    made = order(quote())
    settle(hours=1)
    assert domain_of(made).status == DomainStatus.ACTIVE
    return made


LIFE = {"domain_activated", "domain_renewed", "domain_expired"}


def told(kind: NoticeKind) -> list[BillingNotice]:
    with transaction(tenant=ALL_TENANTS) as db:
        found = select(BillingNotice).where(BillingNotice.kind == kind)
        return list(db.scalars(found.order_by(BillingNotice.id)))


def called() -> Counter[str]:
    with transaction(tenant=ALL_TENANTS) as db:
        return Counter(db.scalars(select(OperatorAlert.kind)))


def deeds(domain_id: UUID) -> list[str]:
    with transaction(tenant=ALL_TENANTS) as db:
        rows = select(AuditLog.action).where(AuditLog.resource_id == domain_id)
        return list(db.scalars(rows.order_by(AuditLog.id)))


def extend(outside: FakeWorld, days: int = 365) -> None:
    """Somebody renewed it at the registrar."""
    held = outside.registrar.ours[NAME]
    assert held.expires_at is not None
    outside.registrar.ours[NAME] = replace(held, expires_at=held.expires_at + timedelta(days=days))


def test_two_years(outside: FakeWorld, domain_id: UUID, travel: Travel, live: Live) -> None:
    travel(days=until_the_end(domain_id) - 45)
    live(38)
    # Nobody has a card on file. Reminded at 30, 14 and 7 days; a person was called once.
    assert [row.details["days"] for row in told(NoticeKind.DOMAIN_EXPIRING)] == [30, 14, 7]
    assert called() == {"domain_renewal_due": 1}
    # Somebody renewed it at the registrar.
    extend(outside)
    live(20)
    assert domain_of(domain_id).status == DomainStatus.ACTIVE
    assert len(told(NoticeKind.DOMAIN_EXPIRING)) == 3
    # The second year ends with nobody renewing it.
    travel(days=until_the_end(domain_id) - 32)
    live(34)
    assert domain_of(domain_id).status == DomainStatus.EXPIRED
    assert not domain_of(domain_id).kumo_authorized
    assert NAME not in outside.mail.relays
    assert domains_count(domain_id) == 0
    assert len(told(NoticeKind.DOMAIN_EXPIRING)) == 7
    assert len(told(NoticeKind.DOMAIN_EXPIRED)) == 1
    assert called() == {"domain_renewal_due": 2, "domain_expired": 1}
    assert outside.payments.charged == []
    assert_sound()
    # In the grace it comes back whole.
    live(10)
    extend(outside)
    live(1)
    domain = domain_of(domain_id)
    assert (domain.status, domain.kumo_authorized) == (DomainStatus.ACTIVE, True)
    assert NAME in outside.mail.relays
    assert domains_count(domain_id) == 1
    assert_sound()
    line = [deed for deed in deeds(domain_id) if deed in LIFE][-5:]
    assert line == [
        "domain_activated",
        "domain_renewed",
        "domain_expired",
        "domain_renewed",
        "domain_activated",
    ]


def test_a_name_nobody_wants_is_let_go(
    outside: FakeWorld, domain_id: UUID, travel: Travel, live: Live
) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        domain_life.set_auto_renew(db.get_one(Domain, domain_id), False, db)
    travel(days=until_the_end(domain_id) - 31)
    live(35)
    assert {row.details["kept"] for row in told(NoticeKind.DOMAIN_EXPIRING)} == {"no"}
    assert domain_of(domain_id).status == DomainStatus.EXPIRED
    assert called() == {}
    del outside.registrar.ours[NAME]
    live(65)
    domain = domain_of(domain_id)
    assert (domain.status, domain.failure) == (
        DomainStatus.EXPIRED,
        "the registry has released the name",
    )
    assert deeds(domain_id).count("domain_released") == 1
    assert_sound()


def test_a_name_that_left_our_account_calls_a_person_once(
    outside: FakeWorld, domain_id: UUID, travel: Travel, live: Live
) -> None:
    del outside.registrar.ours[NAME]
    travel(days=until_the_end(domain_id) - 20)
    live(3)
    assert called() == {"domain_lost": 1}
    assert domain_of(domain_id).status == DomainStatus.ACTIVE


def test_a_registrar_that_is_away_stops_nobody_s_mail(
    outside: FakeWorld, domain_id: UUID, travel: Travel, live: Live
) -> None:
    travel(days=until_the_end(domain_id) - 1)
    extend(outside)
    outside.accidents.plan("find", away(), times=3)
    live(3)
    assert domain_of(domain_id).status == DomainStatus.ACTIVE
    assert deeds(domain_id).count("domain_renewed") == 1


def test_a_contested_name_is_not_taken_back(
    outside: FakeWorld, domain_id: UUID, quote: Quote, settle: Settle, travel: Travel, live: Live
) -> None:
    travel(days=until_the_end(domain_id))
    live(2)
    assert domain_of(domain_id).status == DomainStatus.EXPIRED
    held = outside.registrar.ours.pop(NAME)
    other = order(quote())
    settle(hours=1)
    assert domain_of(other).status == DomainStatus.ACTIVE
    assert held.expires_at is not None
    live(1)
    assert domain_of(domain_id).status == DomainStatus.EXPIRED
    assert domains_count(other) == 1
    assert called()["domain_contested"] == 1


def test_operators_see_names_that_end(domain_id: UUID, travel: Travel, live: Live) -> None:
    def seen() -> list[tuple[object, object, object]]:
        with transaction(tenant=ALL_TENANTS) as db:
            rows = domain_life.overview(db)
        return [(row["domain"], row["stage"], row["days_left"]) for row in rows]

    assert seen() == []
    travel(days=until_the_end(domain_id) - 10)
    assert seen() == [(NAME, "ending", 10)]
    live(12)
    assert seen() == [(NAME, "grace", 0)]
    travel(days=30)
    assert seen() == [(NAME, "redemption", 0)]


def test_a_name_far_from_its_end_is_not_asked_about(
    outside: FakeWorld, domain_id: UUID, live: Live
) -> None:
    before = outside.accidents.calls["find"]
    live(5)
    assert outside.accidents.calls["find"] == before
