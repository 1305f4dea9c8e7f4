"""Blocklists through real DNS: three states, two looks, and what a confirmed listing does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from app import events
from app.config import BlocklistSettings, Settings
from app.database import outbox
from app.database.models import (
    AuditLog,
    BillingNotice,
    Decision,
    NoticeKind,
    OperatorAlert,
    Tenant,
)
from app.database.session import ALL_TENANTS, transaction
from app.integrations import ports
from app.rules.blocklists import Kind, blocklist
from app.services import kill_switch
from app.wiring import build_providers
from tests.fixtures.customer import Customer
from tests.fixtures.world import Running

ADDRESS = "192.0.2.25"


class Watched:
    """A customer with one domain, in an installation that asks two lists."""

    def __init__(self, owner: Customer, domain_id: str) -> None:
        self.owner, self.world, self.domain_id = owner, owner.world, domain_id
        self.name: str = owner.get(f"/domains/{domain_id}")["domain_name"]
        self.tenant = UUID(owner.tenant_id)

    def list(self, entry: str | None = None, **more: str) -> None:
        self.world.control("dns/list", entry=entry or self.name, **more)

    def unlist(self, entry: str | None = None) -> None:
        self.world.control("dns/unlist", entry=entry or self.name)

    def look(self, minutes: float = 15) -> None:
        """What the calendar does, so much later."""
        self.world.advance(seconds=minutes * 60)
        with transaction(tenant=ALL_TENANTS) as db:
            outbox.record(db, events.BlocklistsDue())
        for _ in range(3):
            self.owner.drain(due_too=True)

    def report(self) -> dict[str, Any]:
        self.owner.sign_in_again()
        found: dict[str, Any] = self.owner.get("/analytics/blacklists")
        return found

    def standing(self) -> dict[str, Any]:
        (row,) = self.report()["domains"]
        assert (row["domain_id"], row["blocklist"]) == (self.domain_id, "dbl.test")
        found: dict[str, Any] = row
        return found

    @property
    def stopped(self) -> bool:
        with transaction(tenant=ALL_TENANTS) as db:
            return db.get_one(Tenant, self.tenant).is_suspended


@pytest.fixture
def watched(paying: Customer, own_domain: Callable[..., str], world: Running) -> Iterator[Watched]:
    before = ports.current()
    lists = (blocklist("dbl.test", Kind.DOMAIN), blocklist("dnsbl.test", Kind.ADDRESS))
    asking = replace(before.platform, blocklists=lists, sending_addresses=(ADDRESS,))
    ports.install(replace(before, platform=asking))
    customer = Watched(paying, own_domain(paying))
    yield customer
    ports.install(before)
    customer.unlist()
    customer.unlist(ADDRESS)


def test_what_is_asked_is_a_setting() -> None:
    settings = BlocklistSettings(
        domain_zones="dbl.test,KEY.dbl.dq.spamhaus.net",
        address_zones="dnsbl.test",
        addresses="192.0.2.25, 2001:DB8::1",
    )
    platform = build_providers(Settings(blocklists=settings)).platform
    assert [(each.name, each.kind) for each in platform.blocklists] == [
        ("dbl.test", "domain"),
        ("dbl.dq.spamhaus.net", "domain"),
        ("dnsbl.test", "address"),
    ]
    assert platform.sending_addresses == ("192.0.2.25", "2001:db8::1")
    assert "KEY" not in repr(settings)
    with pytest.raises(ValueError, match="does not appear to be"):
        BlocklistSettings(addresses="mx1.example.net")


def decisions() -> list[Decision]:
    with transaction(tenant=ALL_TENANTS) as db:
        return list(db.scalars(select(Decision).order_by(Decision.id)))


def test_a_listing_is_believed_at_the_second_look(watched: Watched) -> None:
    watched.look()
    assert (watched.standing()["state"], watched.standing()["last_known"]) == ("clear", "clear")
    watched.list()
    watched.look(minutes=5)
    assert watched.standing()["state"] == "clear", "asked again too soon"
    watched.look()
    seen = watched.standing()
    assert (seen["state"], seen["codes"], seen["confirmed_at"]) == ("listed", "127.0.0.2", None)
    assert not watched.stopped
    with transaction(tenant=ALL_TENANTS) as db:
        (warning,) = db.scalars(
            select(BillingNotice.details).where(BillingNotice.kind == NoticeKind.DOMAIN_LISTED)
        )
    assert (warning["domain_name"], warning["list"]) == (watched.name, "dbl.test")
    watched.look()
    assert watched.stopped
    (decision,) = decisions()
    assert (decision.action, decision.reason) == ("suspend", "blacklisted")
    assert decision.note == f"{watched.name} is on the blocklist dbl.test (127.0.0.2)."
    assert decision.evidence["listings"][0]["domain_id"] == watched.domain_id
    assert decision.evidence["thresholds"] == {"confirm_after_minutes": 10}
    # Let in again, it is not stopped once more for the same listing.
    with transaction(tenant=ALL_TENANTS) as db:
        kill_switch.turn_off(db.get_one(Tenant, watched.tenant), db)
    watched.look()
    assert not watched.stopped
    watched.unlist()
    watched.look()
    assert watched.standing()["state"] == "clear"
    (past,) = watched.report()["past"]
    assert (past["state"], past["since"]) == ("listed", seen["since"])
    assert past["ended_at"] is not None
    with transaction(tenant=ALL_TENANTS) as db:
        deeds = db.scalars(
            select(AuditLog.changes)
            .where(AuditLog.action == "domain_standing_changed")
            .order_by(AuditLog.seq)
        ).all()
    assert [deed["state"] for deed in deeds] == [
        ["clear", "listed"],
        ["listed", "confirmed"],
        ["listed", "clear"],
    ]


@pytest.mark.parametrize(
    "lie",
    [
        {"mode": "lie", "content": "127.255.255.254"},
        {"mode": "lie", "content": "127.255.255.255"},
        {"mode": "lie", "content": "192.0.2.80"},
        {"mode": "lie", "content": "127.0.0.2"},
        {"mode": "lie", "rcode": "NXDOMAIN"},
        {"mode": "servfail"},
    ],
)
def test_what_cannot_be_known_stops_nobody(watched: Watched, lie: dict[str, Any]) -> None:
    watched.look()
    mode = lie["mode"]
    more = {name: value for name, value in lie.items() if name != "mode"}
    watched.world.fault("dns", r"QUERY .*dbl\.test A ", mode, times=1000, **more)
    for _ in range(3):
        watched.look()
    row = watched.standing()
    assert (row["state"], row["last_known"]) == ("unknown", "clear")
    assert row["trouble"]
    assert not watched.stopped
    assert decisions() == []


def test_a_failed_look_does_not_end_a_listing(watched: Watched) -> None:
    watched.list()
    watched.look()
    watched.world.fault("dns", r"QUERY .*dbl\.test A ", "servfail", times=1)
    watched.look()
    assert (watched.standing()["state"], watched.standing()["last_known"]) == ("unknown", "listed")
    assert not watched.stopped
    watched.look()
    assert watched.stopped


def test_a_list_that_suddenly_holds_everybody_is_not_believed(watched: Watched) -> None:
    from app.database.models import Domain, DomainStatus

    names = [f"crowd{number}-{watched.owner.tag}.com" for number in range(9)]
    with transaction(tenant=ALL_TENANTS) as db:
        db.add_all(
            Domain(tenant_id=watched.tenant, domain_name=name, status=DomainStatus.ACTIVE)
            for name in names
        )
    for name in [watched.name, *names]:
        watched.list(name)
    for _ in range(3):
        watched.look()
    assert {row["state"] for row in watched.report()["domains"]} == {"unknown"}
    assert not watched.stopped
    for name in names:
        watched.unlist(name)


def test_an_address_of_ours_calls_an_operator_and_stops_nobody(watched: Watched) -> None:
    watched.list(ADDRESS, code="127.0.0.4")
    for _ in range(3):
        watched.look()
    (row,) = watched.report()["addresses"]
    assert (row["address"], row["state"], row["codes"]) == (ADDRESS, "listed", "127.0.0.4")
    assert row["confirmed_at"] is not None
    with transaction(tenant=ALL_TENANTS) as db:
        (alert,) = db.scalars(select(OperatorAlert)).all()
        assert alert.kind == "address_listed"
        assert alert.message.startswith(f"{ADDRESS}, which the relay sends from, is on")
    assert not watched.stopped


def test_a_listing_takes_volume_back(watched: Watched) -> None:
    made = watched.owner.post(
        "/infrastructure/provision", domain_id=watched.domain_id, inbox_count=1
    )
    watched.owner.drain()
    path = f"/infrastructure/inboxes/{made['inboxes'][0]['id']}/warmup"

    def next_day() -> tuple[str, str]:
        watched.world.advance(days=1)
        watched.look(minutes=1)
        with transaction(tenant=ALL_TENANTS) as db:
            outbox.record(db, events.WarmupDue())
        for _ in range(3):
            watched.owner.drain(due_too=True)
        watched.owner.sign_in_again()
        found = watched.owner.get(path)
        return found["inputs"]["listing"], found["rule"]

    assert next_day()[0] == "clear"
    watched.world.fault("dns", r"QUERY .*dbl\.test A ", "servfail", times=1000)
    # What was known a day ago is too old to go by.
    watched.world.advance(seconds=60)
    assert next_day() == ("unknown", "no_data")
    watched.world.sandbox.delete("/control/faults")
    watched.list()
    assert next_day()[0] == "unknown"
    watched.look()
    assert watched.stopped
    with transaction(tenant=ALL_TENANTS) as db:
        kill_switch.turn_off(db.get_one(Tenant, watched.tenant), db)
    assert next_day() == ("listed", "listed")
    assert not watched.stopped
