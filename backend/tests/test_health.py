"""Health of an inbox, a domain and a tenant over HTTP, from recorded counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from app import clock, events
from app.database import outbox
from app.database.models import (
    Complaint,
    DomainDay,
    Inbox,
    InboxDay,
    OutboxEvent,
    Tenant,
    TenantDay,
)
from app.database.session import ALL_TENANTS, transaction
from app.services import kill_switch
from tests.fixtures.customer import Customer


class Pair:
    """Two inboxes of one domain; one is used badly."""

    def __init__(self, owner: Customer, domain_id: str) -> None:
        self.owner, self.domain_id = owner, domain_id
        made = owner.post("/infrastructure/provision", domain_id=domain_id, inbox_count=2)
        owner.drain()
        self.bad, self.good = (inbox["id"] for inbox in made["inboxes"])

    def record(self, **counts: int) -> None:
        """The same counts of today for the bad inbox, its domain and its tenant."""
        with transaction(tenant=ALL_TENANTS) as db:
            inbox = db.get_one(Inbox, UUID(self.bad))
            about = {"tenant_id": inbox.tenant_id, "day": clock.now().date(), **counts}
            db.add(InboxDay(inbox_id=inbox.id, domain_id=inbox.domain_id, **about))
            db.add(DomainDay(domain_id=inbox.domain_id, **about))
            db.add(TenantDay(**about))

    def complain(self, number: int, *, verified: bool) -> None:
        with transaction(tenant=ALL_TENANTS) as db:
            inbox = db.get_one(Inbox, UUID(self.bad))
            for each in range(number):
                db.add(
                    Complaint(
                        tenant_id=inbox.tenant_id,
                        inbox_id=inbox.id,
                        domain_id=inbox.domain_id,
                        trace=f"t{verified}{each}",
                        recipient=f"p{verified}{each}@gmail.test",
                        verified=verified,
                        received_at=clock.now(),
                    )
                )

    def health(self) -> dict[str, dict[str, Any]]:
        return {
            "tenant": self.owner.get("/analytics/health"),
            "domain": self.owner.get(f"/analytics/domains/{self.domain_id}/health"),
            "bad": self.owner.get(f"/analytics/inboxes/{self.bad}/health"),
            "good": self.owner.get(f"/analytics/inboxes/{self.good}/health"),
        }


@pytest.fixture
def pair(paying: Customer, own_domain: Callable[..., str]) -> Pair:
    return Pair(paying, own_domain(paying))


def scores(health: dict[str, dict[str, Any]]) -> dict[str, int]:
    return {name: found["score"] for name, found in health.items()}


def test_the_score_follows_the_signals_and_says_which(pair: Pair) -> None:
    assert scores(pair.health()) == {"tenant": 100, "domain": 100, "bad": 100, "good": 100}
    pair.record(accepted=1000, delivered=950, unknown_users=40, bounced=40)
    pair.complain(5, verified=False)
    found = pair.health()
    assert scores(found) == {"tenant": 85, "domain": 85, "bad": 85, "good": 100}
    assert found["bad"]["deductions"] == [
        {
            "rule": "dead_addresses",
            "points": 15,
            "figure": 0.04,
            "full_at": 0.08,
            "meaning": "40 of 1000 messages went to addresses that do not exist within 7 days.",
        }
    ]
    assert found["domain"]["inputs"]["aligned"] is True
    assert (found["bad"]["days"], found["bad"]["rule_version"]) == (7, "2026-11")
    pair.complain(3, verified=True)
    found = pair.health()
    assert scores(found) == {"tenant": 45, "domain": 45, "bad": 45, "good": 100}
    assert found["tenant"]["inputs"]["complaints"] == 3
    assert pair.owner.get("/analytics/overview")["health_score"] == 45


def test_the_score_is_shown_with_the_inbox(pair: Pair) -> None:
    pair.record(accepted=100, unknown_users=8, bounced=8)
    with transaction(tenant=ALL_TENANTS) as db:
        outbox.record(db, events.ScoresDue())
    pair.owner.drain()
    pair.owner.drain()
    shown = {row["id"]: row["health_score"] for row in pair.owner.get("/infrastructure/inboxes")}
    assert shown == {pair.bad: 70, pair.good: 100}
    assert pair.owner.get(f"/analytics/inboxes/{pair.bad}")["inbox"]["health_score"] == 70


def test_a_suspended_tenant_has_no_score_waiting(pair: Pair) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        kill_switch.turn_on(db.get_one(Tenant, UUID(pair.owner.tenant_id)), "blacklisted", db)
        outbox.record(db, events.ScoresDue())
    assert "health.score_inboxes" not in [*pair.owner.drain(), *pair.owner.drain()]
    with transaction(tenant=ALL_TENANTS) as db:
        waiting = select(OutboxEvent.id).where(OutboxEvent.event == "TenantScoresDue")
        assert db.scalar(waiting) is None


def test_what_is_old_is_forgotten(pair: Pair) -> None:
    pair.record(accepted=100, unknown_users=8, bounced=8)
    pair.owner.world.advance(days=7)
    pair.owner.sign_in_again()
    assert scores(pair.health())["bad"] == 100
