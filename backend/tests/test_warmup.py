"""The ramp day by day: recorded signals in, the relay's limit out, and every number explained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from redis import Redis
from sqlalchemy import select

from app import clock, events
from app.database import outbox
from app.database.models import Complaint, Inbox, InboxDay, Plan, Tenant, WarmupDay
from app.database.session import ALL_TENANTS, transaction
from app.rules import warmup
from tests.fixtures.customer import Customer


class Ramp:
    """One inbox of a customer, and what is recorded about it."""

    def __init__(self, owner: Customer, domain_id: str) -> None:
        self.owner = owner
        made = owner.post("/infrastructure/provision", domain_id=domain_id, inbox_count=2)
        owner.drain()
        self.id, self.idle = (inbox["id"] for inbox in made["inboxes"])
        self.address = made["inboxes"][0]["full_email"]
        self.path = f"/infrastructure/inboxes/{self.id}/warmup"

    def get(self) -> dict[str, Any]:
        found: dict[str, Any] = self.owner.get(self.path)
        return found

    def record(self, accepted: int, **more: int) -> None:
        """Counts of today."""
        with transaction(tenant=ALL_TENANTS) as db:
            inbox = db.get_one(Inbox, UUID(self.id))
            db.add(
                InboxDay(
                    tenant_id=inbox.tenant_id,
                    inbox_id=inbox.id,
                    domain_id=inbox.domain_id,
                    day=clock.now().date(),
                    accepted=accepted,
                    **more,
                )
            )

    def complain(self, *, verified: bool) -> None:
        with transaction(tenant=ALL_TENANTS) as db:
            inbox = db.get_one(Inbox, UUID(self.id))
            db.add(
                Complaint(
                    tenant_id=inbox.tenant_id,
                    inbox_id=inbox.id,
                    domain_id=inbox.domain_id,
                    trace=f"trace-{clock.now()}",
                    recipient="bob@gmail.test",
                    verified=verified,
                    received_at=clock.now(),
                )
            )

    def next_day(self) -> list[str]:
        self.owner.world.advance(days=1)
        with transaction(tenant=ALL_TENANTS) as db:
            outbox.record(db, events.WarmupDue())
        ran: list[str] = self.owner.drain(due_too=True)
        ran += self.owner.drain(due_too=True)
        self.owner.sign_in_again()
        return ran


@pytest.fixture
def ramp(paying: Customer, own_domain: Callable[..., str]) -> Ramp:
    return Ramp(paying, own_domain(paying))


def test_good_days_raise_the_limit_at_the_relay(ramp: Ramp, redis: Redis) -> None:
    first = ramp.get()
    assert (first["stage"], first["daily_limit"], first["rule"]) == (0, 20, "first_day")
    assert first["past"] == []
    limits = []
    for _ in range(8):
        ramp.record(accepted=first["daily_limit"])
        ramp.next_day()
        first = ramp.get()
        limits.append(first["daily_limit"])
        assert redis.hget(f"ig:inbox:{ramp.address}", "day_limit") == str(first["daily_limit"])
    assert limits == [24, 28, 33, 39, 46, 50, 50, 50]
    assert (first["rule"], first["cap"], first["day"]) == ("at_cap", 50, str(clock.now().date()))
    assert first["inputs"]["accepted"] == 50
    assert [day["daily_limit"] for day in first["past"]] == limits[-2::-1]
    # The other inbox sent nothing: nothing is known of it, so it stays.
    idle = ramp.owner.get(f"/infrastructure/inboxes/{ramp.idle}/warmup")
    assert (idle["daily_limit"], idle["rule"]) == (20, "no_data")


def test_bad_days_lower_it_and_unverified_complaints_do_nothing(ramp: Ramp, redis: Redis) -> None:
    for accepted in (20, 24, 28):
        ramp.record(accepted)
        ramp.complain(verified=False)
        ramp.next_day()
    assert ramp.get()["daily_limit"] == 33
    ramp.record(33)
    ramp.complain(verified=True)
    ramp.next_day()
    after = ramp.get()
    assert (after["daily_limit"], after["rule"], after["inputs"]["complaints"]) == (
        22, "complained", 1,
    )  # fmt: skip
    assert redis.hget(f"ig:inbox:{ramp.address}", "day_limit") == "22"
    ramp.record(22, hard_bounced=2)
    ramp.next_day()
    assert (ramp.get()["daily_limit"], ramp.get()["rule"]) == (20, "bounced")


def test_a_day_is_decided_once_and_gives_the_same_number_again(ramp: Ramp) -> None:
    ramp.record(20)
    assert ramp.next_day().count("health.plan_warmup") == 1
    with transaction(tenant=ALL_TENANTS) as db:
        outbox.record(db, events.WarmupDue())
    ramp.owner.drain(due_too=True)
    ramp.owner.drain(due_too=True)
    with transaction(tenant=ALL_TENANTS) as db:
        days = db.scalars(select(WarmupDay)).all()
        assert len(days) == 2
        # A record that comes late moves the counters, not what was decided.
        db.scalars(select(InboxDay)).one().hard_bounced = 20
        db.flush()
        for day in days:
            again = warmup.step(warmup.Inputs.read(day.inputs), day.rule_version)
            assert (again.stage, again.limit, again.rule) == (day.stage, day.daily_limit, day.rule)
    assert ramp.get()["daily_limit"] == 24


def test_a_pause_holds_the_limit_until_it_ends(ramp: Ramp) -> None:
    paused = ramp.owner.post(f"{ramp.path}/pause")
    assert paused["paused_at"] is not None
    assert ramp.owner.post(f"{ramp.path}/pause")["paused_at"] == paused["paused_at"]
    ramp.record(20)
    ramp.next_day()
    assert (ramp.get()["daily_limit"], ramp.get()["rule"]) == (20, "paused")
    assert ramp.owner.post(f"{ramp.path}/resume")["paused_at"] is None
    ramp.record(20)
    ramp.next_day()
    assert (ramp.get()["daily_limit"], ramp.get()["rule"]) == (24, "stepped_up")
    actions = [row["action"] for row in ramp.owner.get("/analytics/audit-log", limit=100)]
    assert actions.count("inbox_warmup_paused") == actions.count("inbox_warmup_resumed") == 1
    assert actions.count("inbox_warmed_up") == 1


def test_a_smaller_plan_caps_at_once_and_a_greater_one_gives_no_leap(ramp: Ramp) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        tenant = db.get_one(Tenant, UUID(ramp.owner.tenant_id))
        inbox = db.get_one(Inbox, UUID(ramp.id))
        inbox.daily_limit = 94
        tenant.subscription_tier = Plan.STARTER
        outbox.record(db, events.PlanChanged(tenant_id=tenant.id))
    ramp.owner.drain()
    assert (ramp.get()["daily_limit"], ramp.get()["cap"]) == (50, 50)
    ramp.record(50)
    ramp.next_day()
    with transaction(tenant=ALL_TENANTS) as db:
        db.get_one(Tenant, UUID(ramp.owner.tenant_id)).subscription_tier = Plan.ENTERPRISE
    ramp.record(50)
    ramp.next_day()
    assert (ramp.get()["daily_limit"], ramp.get()["cap"]) == (60, 100)


def test_strangers_and_the_absent_get_the_same_answer(ramp: Ramp, other: Customer) -> None:
    absent = "/infrastructure/inboxes/01890000-0000-7000-8000-000000000000/warmup"
    for path in (ramp.path, absent):
        assert other.http.get(path).status_code == 404
        assert other.http.post(f"{path}/pause").status_code == 404
