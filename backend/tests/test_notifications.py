"""Who gets which of our mails, and that nobody can miss what they must know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from app import clock
from app.database.models import AuditLog, BillingNotice, NoticeKind, Tenant, TenantDay, User
from app.database.session import ALL_TENANTS, transaction
from app.rules import notifications
from app.services import notices, notification_choices
from app.services.usage_service import UsageService
from tests.fixtures.customer import Customer
from tests.fixtures.team import Join, mails, verify
from tests.fixtures.world import Running

USAGE = {"what": "inboxes", "used": 92, "limit": 100}


def chosen(customer: Customer) -> dict[str, bool]:
    topics = customer.get("/auth/me/notifications")["topics"]
    return {each["topic"]: each["on"] for each in topics}


def choose(customer: Customer, **topics: bool) -> dict[str, bool]:
    answer = customer.http.patch("/auth/me/notifications", json=topics)
    assert answer.status_code == 200, answer.text
    return {each["topic"]: each["on"] for each in answer.json()["data"]["topics"]}


def owe(customer: Customer, kind: NoticeKind, fact: str, **details: Any) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        notices.owe(db, UUID(customer.tenant_id), kind, fact, **details)


def email_of(customer: Customer) -> str:
    return str(customer.get("/auth/me/notifications")["email"])


def subjects(world: Running, customer: Customer) -> list[str]:
    return [mail["subject"] for mail in mails(world, email_of(customer))]


def test_owners_get_all_and_others_what_they_switch_on(signed_in: Customer, join: Join) -> None:
    verify(signed_in)
    assert set(chosen(signed_in).values()) == {True}
    member = join(signed_in, "read_only")
    assert set(chosen(member).values()) == {False}
    assert choose(member, usage=True) == {**chosen(signed_in), **dict.fromkeys(
        ("receipts", "renewals", "domains"), False
    )}  # fmt: skip
    assert choose(member, domains=True)["usage"] is True, "what is not named stays"


def test_a_mail_goes_to_those_who_want_it(
    world: Running, signed_in: Customer, join: Join, drain: Callable[..., list[str]]
) -> None:
    verify(signed_in)
    keen, quiet = join(signed_in, "member"), join(signed_in, "admin")
    choose(keen, usage=True)
    owe(signed_in, NoticeKind.LIMIT_NEAR, "one", **USAGE)
    drain()
    told = "92 of 100 inboxes are used"
    assert subjects(world, signed_in)[0] == subjects(world, keen)[0] == told
    assert told not in subjects(world, quiet)
    choose(signed_in, usage=False)
    owe(signed_in, NoticeKind.LIMIT_NEAR, "two", **USAGE)
    drain()
    assert subjects(world, signed_in).count(told) == 1
    assert subjects(world, keen).count(told) == 2


def test_nobody_opts_out_of_what_they_must_know(
    world: Running, signed_in: Customer, join: Join, drain: Callable[..., list[str]]
) -> None:
    verify(signed_in)
    member, owner = join(signed_in, "member"), join(signed_in, "owner")
    choose(signed_in, **dict.fromkeys(("receipts", "renewals", "usage", "domains"), False))
    owe(signed_in, NoticeKind.SUSPENDED, "one", reason="spam_complaint")
    drain()
    told = subjects(world, signed_in)[0]
    assert "suspended" in told.lower()
    assert told in subjects(world, owner)
    assert told not in subjects(world, member)


def test_the_address_of_the_company_is_nobodys(signed_in: Customer) -> None:
    """A company whose address belongs to no person who may sign in is written to there."""
    with transaction(tenant=ALL_TENANTS) as db:
        tenant = db.get_one(Tenant, UUID(signed_in.tenant_id))
        tenant.company_email = "office@acme.test"
        user = db.scalars(select(User).where(User.tenant_id == tenant.id)).one()
        for kind in (NoticeKind.LIMIT_NEAR, NoticeKind.SUSPENDED):
            found = notification_choices.recipients(tenant, kind, db)
            assert found == [(None, "office@acme.test")], "the owner's own is not confirmed"
        user.is_verified = True
        db.flush()
        found = notification_choices.recipients(tenant, NoticeKind.LIMIT_NEAR, db)
        assert found == [(None, "office@acme.test"), (user.id, user.email)]


@pytest.mark.parametrize("body", [{"billing": False}, {"usage": "no"}, {"usage": 0}, []])
def test_what_is_no_topic_is_refused(signed_in: Customer, body: Any) -> None:
    answer = signed_in.http.patch("/auth/me/notifications", json=body)
    assert answer.status_code == 400
    assert set(chosen(signed_in).values()) == {True}


def test_choices_are_in_the_trail(signed_in: Customer) -> None:
    choose(signed_in, usage=False, domains=True)
    choose(signed_in, usage=False)
    with transaction(tenant=ALL_TENANTS) as db:
        deeds = db.scalars(select(AuditLog.changes).where(AuditLog.action == "user_changed")).all()
    assert deeds == [{"notifications.usage": [True, False]}]


def test_every_topic_has_a_title_and_every_kind_exists() -> None:
    assert set(notifications.TITLES) == set(notifications.Topic)
    assert set(notifications.TOPIC_OF) <= {kind.value for kind in NoticeKind}
    assert set(notifications.TOPIC_OF.values()) == set(notifications.Topic)


# Limits that are nearly used up -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("used", "limit", "near"),
    [
        # 90 % exactly is near.
        (90, 100, True),
        # One less is not.
        (89, 100, False),
        # Above the limit, as after a downgrade.
        (120, 100, True),
        # Nothing is allowed, so nothing is used up.
        (0, 0, False),
        # No rounding: 9 of 11 are 82 %, 10 of 11 are 91 %.
        (9, 11, False),
        (10, 11, True),
    ],
)
def test_near_is_nine_tenths(used: int, limit: int, near: bool) -> None:
    assert notifications.is_near(used, limit) is near


def told() -> list[tuple[str, int]]:
    with transaction(tenant=ALL_TENANTS) as db:
        rows = db.scalars(
            select(BillingNotice.details)
            .where(BillingNotice.kind == NoticeKind.LIMIT_NEAR)
            .order_by(BillingNotice.id)
        )
        return [(row["what"], row["used"]) for row in rows]


def look() -> int:
    with transaction(tenant=ALL_TENANTS) as db:
        return UsageService.look(db)


def test_a_limit_is_told_once(make_tenant: Callable[..., Any]) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        tenant = make_tenant(db)
        tenant.inboxes_count, tenant.domains_count = 89, 9
        id_ = tenant.id
    assert look() == 1
    assert told() == [("domains", 9)]
    with transaction(tenant=ALL_TENANTS) as db:
        db.get_one(Tenant, id_).inboxes_count = 95
        day = TenantDay(tenant_id=id_, day=clock.now().date(), accepted=4_500)
        db.add(day)
    assert look() == 2
    assert look() == 0, "it is known"
    assert told()[1:] == [("inboxes", 95), ("messages today", 4_500)]


def test_who_needs_no_warning_gets_none(make_tenant: Callable[..., Any]) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        trial, stopped, fresh = make_tenant(db, plan=None), make_tenant(db), make_tenant(db)
        # A trial has one domain and five inboxes: using them is what it is for.
        trial.domains_count, trial.inboxes_count = 1, 5
        stopped.inboxes_count, stopped.is_suspended = 99, True
        fresh.inboxes_count = 10
        yesterday = TenantDay(
            tenant_id=fresh.id, day=clock.now().date().replace(day=1), accepted=5_000
        )
        yesterday.day = yesterday.day.replace(year=yesterday.day.year - 1)
        db.add(yesterday)
    assert look() == 0
    assert told() == []
