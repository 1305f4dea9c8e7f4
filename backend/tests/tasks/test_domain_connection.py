"""Names that their owners bring, from the claim to sending: proof, rivals, loss, return.

What the DNS shows is a table that each test writes; the database is real.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy import select

from app import errors
from app.database.models import (
    AuditLog,
    BillingNotice,
    Domain,
    DomainConnection,
    DomainStatus,
    NoticeKind,
    OperatorAlert,
    Tenant,
    new_id,
)
from app.database.session import ALL_TENANTS, transaction
from app.integrations import ports
from app.rules import domain_claims
from app.services import domain_connection, domain_proof, domain_setup
from app.services.domain_service import DomainService
from tests.fakes import FakeWorld, away, refused
from tests.fixtures.chain import Settle, Travel, domain_of

NAME = "acme-mail.com"
MakeTenant = Callable[..., Tenant]


class Table:
    """What name servers answer: (type, name) -> record data."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], list[str]] = {}
        self.is_silent = False

    def lookup(self, name: str, record_type: str) -> list[str]:
        if self.is_silent:
            raise away()
        return list(self.answers.get((record_type, name), []))

    def views(self) -> dict[str, Table]:
        return {"192.0.2.53": self}

    def publish(self, domain_id: UUID) -> None:
        """Set every record that the owner was asked for."""
        with transaction(tenant=ALL_TENANTS) as db:
            domain = db.get_one(Domain, domain_id)
            for record in domain_connection.required_records(domain, db):
                there = self.answers.setdefault((record.type, record.name), [])
                if record.answer not in there:
                    there.append(record.answer)

    def forget_proofs(self) -> None:
        for (_, name), answers in self.answers.items():
            if name.startswith(domain_claims.CHALLENGE):
                answers.clear()


@pytest.fixture
def dns(outside: FakeWorld) -> Table:
    table = Table()
    ports.install(replace(outside.providers, resolver=table))
    return table


@pytest.fixture
def tenant(outside: FakeWorld, make_tenant: MakeTenant) -> Callable[..., UUID]:
    def make(**fields: object) -> UUID:
        with transaction(tenant=ALL_TENANTS) as db:
            return make_tenant(db, **fields).id

    return make


def connect(tenant_id: UUID, name: str = NAME, dns: str = "manual") -> UUID:
    with transaction(tenant=tenant_id) as db:
        return domain_connection.connect(db.get_one(Tenant, tenant_id), name, dns, db).id


def prove(domain_id: UUID) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        domain_proof.look(domain_id, db)


def disconnect(domain_id: UUID) -> None:
    with transaction(tenant=domain_of(domain_id).tenant_id) as db:
        domain_connection.disconnect(db.get_one(Domain, domain_id), db)


def status(domain_id: UUID) -> DomainStatus:
    return domain_of(domain_id).status


def deeds(domain_id: UUID) -> list[str]:
    with transaction(tenant=ALL_TENANTS) as db:
        rows = select(AuditLog.action).where(AuditLog.resource_id == domain_id)
        return list(db.scalars(rows.order_by(AuditLog.id)))


def told(tenant_id: UUID) -> list[str]:
    with transaction(tenant=ALL_TENANTS) as db:
        rows = select(BillingNotice).where(
            BillingNotice.tenant_id == tenant_id,
            BillingNotice.kind == NoticeKind.DOMAIN_OWNERSHIP,
        )
        return [row.details["what"] for row in db.scalars(rows.order_by(BillingNotice.id))]


def count(tenant_id: UUID) -> int:
    with transaction(tenant=ALL_TENANTS) as db:
        return db.get_one(Tenant, tenant_id).domains_count


def active(dns: Table, settle: Settle, tenant_id: UUID, name: str = NAME) -> UUID:
    made = connect(tenant_id, name)
    dns.publish(made)
    prove(made)
    settle(hours=1)
    assert status(made) == DomainStatus.ACTIVE, domain_of(made).failure
    return made


# From claim to sending --------------------------------------------------------------------------


def test_by_hand_from_claim_to_sending(
    dns: Table, outside: FakeWorld, tenant: Callable[..., UUID], settle: Settle
) -> None:
    owner = tenant()
    made = connect(owner)
    assert connect(owner) == made  # The same claim, and the same token.
    assert count(owner) == 1
    prove(made)
    assert status(made) == DomainStatus.VERIFYING_OWNERSHIP
    settle(hours=1)
    assert (outside.mail.relays, outside.dns.zones) == ({}, {})
    dns.publish(made)
    prove(made)
    prove(made)  # A repeat changes nothing.
    assert status(made) == DomainStatus.VERIFYING_DNS
    settle(hours=1)
    assert status(made) == DomainStatus.ACTIVE
    assert outside.mail.loaded[NAME][0] == str(owner)
    assert outside.dns.zones == {}
    assert deeds(made).count("domain_ownership_proven") == 1
    with transaction(tenant=ALL_TENANTS) as db:
        assert DomainService.stuck(db) == []


def test_the_periodic_job_finds_the_proof(
    dns: Table, tenant: Callable[..., UUID], settle: Settle, travel: Travel
) -> None:
    made = connect(tenant())
    dns.publish(made)
    with transaction(tenant=ALL_TENANTS) as db:
        assert domain_proof.claim_due(db) == []
    travel(seconds=61)
    from app import events
    from app.database import outbox

    with transaction(tenant=ALL_TENANTS) as db:
        outbox.record(db, events.ClaimsDue())
    settle(hours=1)
    assert status(made) == DomainStatus.ACTIVE


def test_by_name_servers_our_zone_follows_the_proof(
    dns: Table, outside: FakeWorld, tenant: Callable[..., UUID], settle: Settle
) -> None:
    made = connect(tenant(), dns="nameservers")
    policy = "v=DMARC1; p=reject"
    dns.answers["TXT", f"_dmarc.{NAME}"] = [policy]
    settle(hours=1)
    assert outside.dns.zones == {}
    dns.publish(made)
    with transaction(tenant=ALL_TENANTS) as db:
        asked = domain_connection.required_records(db.get_one(Domain, made), db)
        assert [record.purpose for record in asked] == ["ownership"]
    prove(made)
    settle(hours=0.2)
    zone = outside.dns.zones[NAME]
    assert status(made) == DomainStatus.CONFIGURING_DNS
    with transaction(tenant=ALL_TENANTS) as db:
        from app.services import domain_steps

        step = domain_steps.step(db.get_one(Domain, made), domain_steps.StepName.DELEGATION, db)
        assert all(server in (step.detail or "") for server in zone.name_servers)
    # The owner's stricter policy came along with the zone: none of ours beside it.
    purposes = {record.purpose for record in outside.dns.records[zone.id]}
    assert "dmarc" not in purposes
    assert {"spf", "dkim"} <= purposes
    assert NAME not in outside.registrar.name_servers
    dns.answers["NS", NAME] = list(zone.name_servers)
    for record in outside.dns.records[zone.id]:
        data = record.content if record.priority is None else f"{record.priority} {record.content}"
        dns.answers.setdefault((record.type, record.name), []).append(data)
    dns.forget_proofs()
    settle(hours=1)
    assert status(made) == DomainStatus.ACTIVE, domain_of(made).failure
    # Our name servers go on proving it.
    prove(made)
    assert told(domain_of(made).tenant_id) == []


def test_a_zone_in_another_account_is_told_and_tried_again(
    dns: Table, outside: FakeWorld, tenant: Callable[..., UUID], settle: Settle
) -> None:
    made = connect(tenant(), dns="nameservers")
    dns.publish(made)
    outside.accidents.plan("ensure_zone", refused("1061 the zone exists in another account"))
    prove(made)
    settle(hours=0.1)
    assert "another account" in (domain_of(made).failure or "")
    settle(hours=1)
    assert status(made) == DomainStatus.CONFIGURING_DNS
    assert domain_of(made).failure is None


@pytest.mark.parametrize(
    ("kind", "at", "answers", "says"),
    [
        ("MX", NAME, ["1 aspmx.l.google.com"], "mail to acme-mail.com goes to"),
        ("TXT", NAME, ["v=spf1 a -all"], "Change the TXT record"),
        ("CNAME", NAME, ["shops.example"], "is an alias"),
    ],
)
def test_what_is_in_the_way_is_told_before_a_zone_is_made(
    dns: Table,
    outside: FakeWorld,
    tenant: Callable[..., UUID],
    settle: Settle,
    kind: str,
    at: str,
    answers: list[str],
    says: str,
) -> None:
    made = connect(tenant(), dns="nameservers")
    dns.publish(made)
    dns.answers[kind, at] = answers
    prove(made)
    settle(hours=0.5)
    assert says in (domain_of(made).failure or "")
    assert outside.dns.zones == {}
    assert deeds(made).count("domain_dns_conflict") == 1
    del dns.answers[kind, at]
    settle(hours=1)
    assert status(made) == DomainStatus.CONFIGURING_DNS
    assert domain_of(made).failure is None


def test_by_hand_the_merged_spf_is_asked_for_and_accepted(
    dns: Table, tenant: Callable[..., UUID], settle: Settle
) -> None:
    made = connect(tenant())
    dns.publish(made)
    ours = dns.answers["TXT", NAME]
    theirs = "v=spf1 include:mailer.test ~all"
    dns.answers["TXT", NAME] = [theirs]
    dns.answers["TXT", f"_dmarc.{NAME}"] = ["v=DMARC1; p=quarantine"]
    prove(made)
    settle(hours=0.2)
    verdicts = domain_setup.inspect(domain_of(made), dns)
    (wrong,) = [verdict for verdict in verdicts if not verdict.ok]
    merged = theirs.replace(" ~all", f" {ours[0].split()[1]} ~all")
    assert (wrong.state, wrong.record.content) == ("different", merged)
    assert merged in (wrong.fix or "")
    dns.answers["TXT", NAME] = [theirs, *ours]
    settle(hours=0.5)
    assert merged in (domain_of(made).failure or "")
    dns.answers["TXT", NAME] = [merged]
    settle(hours=1)
    assert status(made) == DomainStatus.ACTIVE


# Who may have it --------------------------------------------------------------------------------


def test_the_first_who_proves_has_it_and_others_are_told(
    dns: Table, tenant: Callable[..., UUID], settle: Settle
) -> None:
    a, b = tenant(), tenant()
    first, second = connect(a), connect(b)
    dns.publish(second)
    prove(first)
    prove(second)
    assert status(first) == DomainStatus.VERIFYING_OWNERSHIP
    assert status(second) == DomainStatus.VERIFYING_DNS
    assert told(a) == ["another account has proven this name before you"]
    dns.publish(first)
    prove(first)
    prove(first)
    assert status(first) == DomainStatus.VERIFYING_OWNERSHIP
    assert "another account holds" in (domain_of(first).failure or "")
    assert len(told(a)) == 2
    # It is let go of there: the standing proof counts now.
    disconnect(second)
    prove(first)
    assert (status(first), count(b)) == (DomainStatus.VERIFYING_DNS, 0)
    # And who had it needs a new proof.
    again = connect(b)
    assert again != second
    prove(again)
    assert status(again) == DomainStatus.VERIFYING_OWNERSHIP
    settle(hours=0.01)


def test_two_proofs_at_once_have_one_winner(dns: Table, tenant: Callable[..., UUID]) -> None:
    claims = [connect(tenant()) for _ in range(4)] + [connect(tenant(), f"a.{NAME}")]
    for claim in claims:
        dns.publish(claim)
    gate = threading.Barrier(len(claims))

    def race(domain_id: UUID) -> None:
        gate.wait(30)
        prove(domain_id)

    threads = [threading.Thread(target=race, args=(claim,)) for claim in claims]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    states = [status(claim) for claim in claims[:4]]
    assert states.count(DomainStatus.VERIFYING_DNS) == 1
    assert states.count(DomainStatus.VERIFYING_OWNERSHIP) == 3


def test_a_name_below_anothers_is_refused_and_one_above_is_not(
    dns: Table, tenant: Callable[..., UUID]
) -> None:
    below, top = connect(tenant(), f"a.{NAME}"), connect(tenant())
    dns.publish(below)
    dns.publish(top)
    prove(below)
    prove(top)
    assert {status(below), status(top)} == {DomainStatus.VERIFYING_DNS}
    late = connect(tenant(), f"b.a.{NAME}")
    dns.publish(late)
    prove(late)
    assert status(late) == DomainStatus.VERIFYING_OWNERSHIP
    assert "one above it" in (domain_of(late).failure or "")


def test_a_bought_name_cannot_be_claimed_by_another(
    dns: Table, tenant: Callable[..., UUID]
) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        db.add(
            Domain(
                id=new_id(),
                tenant_id=tenant(),
                domain_name=NAME,
                status=DomainStatus.ACTIVE,
                registrar_provider="namecheap",
            )
        )
    claim = connect(tenant())
    dns.publish(claim)
    prove(claim)
    assert status(claim) == DomainStatus.VERIFYING_OWNERSHIP


def test_what_cannot_be_connected(dns: Table, tenant: Callable[..., UUID]) -> None:
    owner = tenant()
    for name in ("co.uk", "gmail.com", "ümlaut.com", "a..com"):
        with pytest.raises(errors.Invalid):
            connect(owner, name)
    with pytest.raises(errors.Invalid, match="Only a registered name"):
        connect(owner, f"a.{NAME}", "nameservers")
    zone = ports.current().platform.mail_zone
    with pytest.raises(errors.Invalid, match="platform's own"):
        connect(owner, f"x.{zone}")
    connect(owner)
    with pytest.raises(errors.Conflict, match="disconnect it first"):
        connect(owner, dns="nameservers")
    newcomer = tenant(plan=None)
    connect(newcomer, "one.com")
    with pytest.raises(errors.DomainLimitExceeded):
        connect(newcomer, "two.com")
    assert (count(owner), count(newcomer)) == (1, 1)


def test_a_lookalike_calls_a_person(dns: Table, tenant: Callable[..., UUID]) -> None:
    made = connect(tenant(), "paypa1.com")
    with transaction(tenant=ALL_TENANTS) as db:
        (alert,) = db.scalars(select(OperatorAlert))
        assert (alert.kind, alert.fact) == ("domain_lookalike", str(made))


def test_a_claim_that_nobody_proves_is_dropped(
    dns: Table,
    tenant: Callable[..., UUID],
    travel: Travel,
) -> None:
    owner = tenant()
    made = connect(owner)
    travel(days=14)
    prove(made)
    assert (status(made), count(owner)) == (DomainStatus.EXPIRED, 0)
    assert len(told(owner)) == 1
    assert connect(owner) != made


# Proven ever after ------------------------------------------------------------------------------


def test_a_lost_proof_is_told_then_stops_the_name_and_its_return_revives_it(
    dns: Table, outside: FakeWorld, tenant: Callable[..., UUID], settle: Settle, travel: Travel
) -> None:
    owner = tenant()
    made = active(dns, settle, owner)
    dns.is_silent = True
    with pytest.raises(errors.ProviderUnavailable):
        prove(made)
    dns.is_silent = False
    assert told(owner) == []
    dns.forget_proofs()
    prove(made)
    prove(made)
    assert (status(made), len(told(owner))) == (DomainStatus.ACTIVE, 1)
    assert NAME in outside.mail.relays
    travel(days=7)
    prove(made)
    prove(made)
    assert (status(made), len(told(owner))) == (DomainStatus.SUSPENDED, 2)
    assert NAME not in outside.mail.relays
    with transaction(tenant=ALL_TENANTS) as db:
        assert [row["domain"] for row in domain_proof.overview(db)] == [NAME]
    dns.publish(made)
    prove(made)
    settle(hours=1)
    assert status(made) == DomainStatus.ACTIVE
    assert domain_of(made).failure is None
    assert NAME in outside.mail.relays


def test_a_name_whose_proof_stays_away_passes_to_who_proves_it(
    dns: Table, tenant: Callable[..., UUID], settle: Settle, travel: Travel
) -> None:
    a, b = tenant(), tenant()
    before = active(dns, settle, a)
    dns.forget_proofs()
    prove(before)
    after = connect(b)
    dns.answers["TXT", domain_claims.challenge_name(NAME)] = []
    dns.publish(after)
    prove(after)
    assert status(after) == DomainStatus.VERIFYING_OWNERSHIP
    travel(days=7)
    prove(before)
    prove(after)
    assert (status(before), status(after)) == (DomainStatus.EXPIRED, DomainStatus.VERIFYING_DNS)
    assert (count(a), count(b)) == (0, 1)
    assert told(a)[-1] == "its proof was gone, and another account has proven it"


def test_disconnecting_stops_the_name_once(
    dns: Table, outside: FakeWorld, tenant: Callable[..., UUID], settle: Settle
) -> None:
    owner = tenant()
    made = active(dns, settle, owner)
    disconnect(made)
    disconnect(made)
    assert (status(made), count(owner)) == (DomainStatus.EXPIRED, 0)
    assert NAME not in outside.mail.relays
    assert deeds(made).count("domain_disconnected") == 1
    again = connect(owner)
    with transaction(tenant=ALL_TENANTS) as db:
        rows = db.scalars(select(DomainConnection.token)).all()
        assert len(set(rows)) == 2
    prove(again)  # The old record is no proof of the new claim.
    assert status(again) == DomainStatus.VERIFYING_OWNERSHIP
