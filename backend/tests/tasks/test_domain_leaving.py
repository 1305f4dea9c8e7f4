"""Names that leave: deleted and had back, taken elsewhere, and what is left of them in DNS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from app import clock, errors, events
from app.database import outbox
from app.database.models import (
    AuditLog,
    BillingNotice,
    Domain,
    DomainPurchase,
    DomainStatus,
    Inbox,
    InboxStatus,
    NoticeKind,
    OperatorAlert,
    PurchaseKind,
    PurchaseState,
    Tenant,
)
from app.database.session import ALL_TENANTS, transaction
from app.integrations import ports
from app.services import domain_leaving, domain_renewal, domain_transfer
from app.tasks import billing_tasks, domain_tasks  # noqa: F401  # Registers tasks.
from tests.fakes import FakeRegistrar, FakeWorld, away, refused
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
from tests.fixtures.relay import add_inbox

Make = Callable[..., Any]


def delete(domain_id: UUID, **options: Any) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        domain_leaving.delete(domain_id, db, **options)


def restore(domain_id: UUID) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        domain_leaving.restore(db.get_one(Domain, domain_id), db)


def transfer(domain_id: UUID) -> domain_transfer.Transfer:
    with transaction(tenant=ALL_TENANTS) as db:
        return domain_transfer.begin(db.get_one(Domain, domain_id), db)


def told(kind: NoticeKind) -> list[str]:
    with transaction(tenant=ALL_TENANTS) as db:
        rows = select(BillingNotice).where(BillingNotice.kind == kind).order_by(BillingNotice.id)
        return [str(row.details["what"]) for row in db.scalars(rows)]


def called() -> list[str]:
    with transaction(tenant=ALL_TENANTS) as db:
        return sorted(db.scalars(select(OperatorAlert.kind)))


def everything_written() -> str:
    """The trail, the notices and the alerts, as one text."""
    with transaction(tenant=ALL_TENANTS) as db:
        rows = [row.changes for row in db.scalars(select(AuditLog))]
        details = [row.details for row in db.scalars(select(BillingNotice))]
        return f"{rows}{details}{list(db.scalars(select(OperatorAlert.message)))}"


# Deleted ----------------------------------------------------------------------------------------


def test_a_deleted_name_falls_silent_and_its_zone_goes_later(
    outside: FakeWorld, renewable: UUID, live: Live
) -> None:
    delete(renewable)
    domain = domain_of(renewable)
    assert (domain.status, domain.kumo_authorized) == (DomainStatus.DELETED, False)
    assert NAME not in outside.mail.relays
    assert domains_count(renewable) == 0
    delete(renewable)
    assert domains_count(renewable) == 0
    with transaction(tenant=ALL_TENANTS) as db:
        (leaving,) = domain_leaving.overview(db)
    assert (leaving["domain"], leaving["status"]) == (NAME, "deleted")
    live(6)
    # Mail under way is still verified by what stands there.
    assert outside.dns.zones[NAME].id == domain.cloudflare_zone_id
    live(2)
    assert outside.dns.zones == {}
    assert domain_of(renewable).cloudflare_zone_id is None
    with transaction(tenant=ALL_TENANTS) as db:
        assert domain_leaving.overview(db) == []
    assert_sound()


def test_it_is_had_back_and_set_up_anew(
    outside: FakeWorld, renewable: UUID, live: Live, settle: Settle
) -> None:
    delete(renewable)
    live(9)
    with transaction(tenant=ALL_TENANTS) as db:
        assert domain_leaving.restore_by_name(NAME.upper(), db) == renewable
    with transaction(tenant=ALL_TENANTS) as db, pytest.raises(errors.NotFound):
        domain_leaving.restore_by_name(NAME, db)
    assert domains_count(renewable) == 1
    settle(hours=1)
    domain = domain_of(renewable)
    assert (domain.status, domain.kumo_authorized) == (DomainStatus.ACTIVE, True)
    assert NAME in outside.mail.relays
    assert outside.registrar.bought == {NAME: 1}
    assert_sound()


def test_it_is_had_back_before_anything_was_cleaned_up(
    outside: FakeWorld, renewable: UUID, settle: Settle
) -> None:
    delete(renewable)
    restore(renewable)
    settle(hours=1)
    assert domain_of(renewable).status == DomainStatus.ACTIVE
    assert len(outside.dns.zones) == 1
    with pytest.raises(errors.Conflict, match="not deleted"):
        restore(renewable)


def test_what_cannot_be_had_back(
    outside: FakeWorld, renewable: UUID, travel: Travel, settle: Settle
) -> None:
    delete(renewable)
    with transaction(tenant=ALL_TENANTS) as db:
        # The plan is full by now.
        db.get_one(Tenant, domain_of(renewable).tenant_id).domains_count = 10_000
    with pytest.raises(errors.DomainLimitExceeded):
        restore(renewable)
    travel(days=until_the_end(renewable))
    with pytest.raises(errors.Conflict, match="term is over"):
        restore(renewable)
    del outside.registrar.ours[NAME]
    with pytest.raises(errors.Conflict, match="term is over"):
        restore(renewable)


def test_inboxes_go_only_when_their_owner_says_so(outside: FakeWorld, renewable: UUID) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        domain = db.get_one(Domain, renewable)
        *_, inbox_id = add_inbox(db, domain)
        db.get_one(Tenant, domain.tenant_id).inboxes_count = 1
    with pytest.raises(errors.Conflict) as refusal:
        delete(renewable)
    assert refusal.value.details["inboxes"] == 1
    assert domain_of(renewable).status == DomainStatus.ACTIVE
    delete(renewable, with_inboxes=True)
    with transaction(tenant=ALL_TENANTS) as db:
        assert db.get_one(Inbox, inbox_id).status == InboxStatus.DELETED
        assert db.get_one(Tenant, domain_of(renewable).tenant_id).inboxes_count == 0
    assert domain_of(renewable).status == DomainStatus.DELETED


def test_nothing_more_is_paid_for_it(
    outside: FakeWorld, renewable: UUID, travel: Travel, live: Live
) -> None:
    travel(days=until_the_end(renewable) - 31)
    live(3)
    delete(renewable)
    live(30)
    with transaction(tenant=ALL_TENANTS) as db:
        kinds = select(DomainPurchase.state).where(DomainPurchase.kind == PurchaseKind.RENEWAL)
        assert list(db.scalars(kinds)) == [PurchaseState.VOIDED]
    assert outside.payments.charged == []
    assert outside.registrar.renewed == {}


def test_a_name_being_renewed_waits(outside: FakeWorld, renewable: UUID, settle: Settle) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        made, _ = domain_renewal.request(db.get_one(Domain, renewable), 1872, db)
        made.state = PurchaseState.AUTHORISED
    with pytest.raises(errors.Conflict, match="being renewed"):
        delete(renewable)


def test_a_name_being_set_up_is_not_deleted(outside: FakeWorld, quote: Quote) -> None:
    made = order(quote())
    with pytest.raises(errors.Conflict, match="set up"):
        delete(made)


def test_a_clean_up_survives_a_provider_that_is_away(
    outside: FakeWorld, renewable: UUID, live: Live
) -> None:
    delete(renewable)
    outside.accidents.plan("remove_zone", away(), times=3)
    live(9)
    assert outside.dns.zones == {}
    assert domain_of(renewable).cloudflare_zone_id is None


def test_a_released_name_leaves_no_zone(
    outside: FakeWorld, renewable: UUID, travel: Travel, live: Live
) -> None:
    outside.payments.declines = "expired"
    travel(days=until_the_end(renewable))
    live(2)
    assert domain_of(renewable).status == DomainStatus.EXPIRED
    live(15)
    # It can still be had back, so its zone waits for it.
    assert NAME in outside.dns.zones
    del outside.registrar.ours[NAME]
    live(65)
    assert outside.dns.zones == {}
    assert_sound()


# Taken elsewhere --------------------------------------------------------------------------------


def test_a_name_is_taken_elsewhere(
    outside: FakeWorld, renewable: UUID, travel: Travel, live: Live
) -> None:
    with pytest.raises(errors.Conflict, match="60 days"):
        transfer(renewable)
    travel(days=61)
    outside.registrar.codes[NAME] = "aB3-x9"
    begun = transfer(renewable)
    assert begun.auth_code == "aB3-x9"
    assert NAME not in outside.registrar.protected
    assert "unlocked" in told(NoticeKind.DOMAIN_TRANSFER)[0]
    assert called() == []
    # A repeat gives the code again and writes nothing new.
    assert transfer(renewable) == begun
    assert len(told(NoticeKind.DOMAIN_TRANSFER)) == 1
    live(2)
    assert domain_of(renewable).status == DomainStatus.ACTIVE
    del outside.registrar.ours[NAME]
    live(1)
    domain = domain_of(renewable)
    assert (domain.status, domain.transfer_out_at) == (DomainStatus.DELETED, None)
    assert NAME not in outside.mail.relays
    assert domains_count(renewable) == 0
    assert "transferred" in told(NoticeKind.DOMAIN_TRANSFER)[-1]
    assert "domain_lost" not in called()
    live(8)
    assert outside.dns.zones == {}
    assert "aB3-x9" not in everything_written()
    assert_sound()


def test_a_code_that_people_alone_are_told_comes_by_mail(
    outside: FakeWorld, renewable: UUID, travel: Travel
) -> None:
    travel(days=61)
    with transaction(tenant=ALL_TENANTS) as db, pytest.raises(errors.NotFound):
        domain_transfer.send_code(NAME, "aB3-x9", db)
    assert transfer(renewable).auth_code is None
    assert called() == ["transfer_code_wanted"]
    with transaction(tenant=ALL_TENANTS) as db:
        domain_transfer.send_code(NAME.upper(), " aB3-x9 ", db)
    assert f"The authorisation code of {NAME}" in [subject for _, subject in outside.mailer.sent]
    assert "aB3-x9" not in everything_written()


def test_a_lock_that_only_people_open_calls_one(
    outside: FakeWorld, renewable: UUID, travel: Travel
) -> None:
    travel(days=61)
    outside.accidents.plan("unlock", refused("by hand"))
    outside.registrar.codes[NAME] = "aB3-x9"
    assert transfer(renewable).auth_code == "aB3-x9"
    assert called() == ["transfer_code_wanted"]


def test_who_changes_their_mind_stays(
    outside: FakeWorld, renewable: UUID, travel: Travel, live: Live
) -> None:
    travel(days=until_the_end(renewable) - 35)
    transfer(renewable)
    live(6)
    # Nothing is renewed while it is on its way.
    assert outside.payments.charged == []
    for _ in range(2):
        with transaction(tenant=ALL_TENANTS) as db:
            domain_transfer.cancel(db.get_one(Domain, renewable), db)
    assert NAME in outside.registrar.protected
    assert domain_of(renewable).protected_at is not None
    live(12)
    assert outside.registrar.renewed == {NAME: 1}


# Name servers -----------------------------------------------------------------------------------


def look(domain_id: UUID, settle: Settle) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        tenant_id = db.get_one(Domain, domain_id).tenant_id
        outbox.record(db, events.DomainLookDue(tenant_id=tenant_id, domain_id=domain_id))
    settle()


def test_name_servers_that_were_changed_are_put_back(
    outside: FakeWorld, renewable: UUID, settle: Settle, travel: Travel
) -> None:
    wanted = outside.registrar.name_servers[NAME]
    outside.registrar.name_servers[NAME] = ("ns1.parking.test", "ns2.parking.test")
    look(renewable, settle)
    assert outside.registrar.name_servers[NAME] == wanted
    failure = domain_of(renewable).failure or ""
    assert "ns1.parking.test" in failure
    assert "put them back" in failure
    look(renewable, settle)
    assert domain_of(renewable).failure is None
    assert called() == []


def test_name_servers_that_do_not_stay_are_told_once_a_day(
    outside: FakeWorld, renewable: UUID, settle: Settle, travel: Travel
) -> None:
    outside.registrar.name_servers[NAME] = ("ns1.parking.test",)
    outside.accidents.plan("set_nameservers", refused("locked"), times=99)
    before = outside.accidents.calls["set_nameservers"]
    for _ in range(4):
        look(renewable, settle)
    assert outside.accidents.calls["set_nameservers"] == before + 1
    travel(days=1, minutes=1)
    look(renewable, settle)
    look(renewable, settle)
    assert outside.accidents.calls["set_nameservers"] == before + 2
    assert called() == ["domain_dns_differs"]


def test_servers_that_say_nothing_change_nothing(
    outside: FakeWorld, renewable: UUID, settle: Settle
) -> None:
    before = outside.accidents.calls["set_nameservers"]
    outside.accidents.plan("lookup", away(), times=2)
    look(renewable, settle)
    assert outside.accidents.calls["set_nameservers"] == before
    assert domain_of(renewable).failure is None


# Whose it is ------------------------------------------------------------------------------------


def test_a_name_is_looked_after_by_the_registrar_that_holds_it(
    outside: FakeWorld, renewable: UUID, travel: Travel, live: Live
) -> None:

    # Names are bought elsewhere from now on.
    chosen = FakeRegistrar(outside.accidents, name="porkbun")
    providers = outside.providers
    ports.install(replace(providers, registrar=chosen, others={"namecheap": providers.registrar}))
    travel(days=until_the_end(renewable) - 31)
    live(13)
    assert outside.registrar.renewed == {NAME: 1}
    assert chosen.renewed == {}
    # And one whose account is gone is nobody's to change.
    ports.install(replace(providers, registrar=chosen, others={}))
    with transaction(tenant=ALL_TENANTS) as db, pytest.raises(errors.ProviderUnavailable):
        domain_renewal.terms(db.get_one(Domain, renewable), ports.current())


def test_the_day_of_a_transfer_is_kept(renewable: UUID, travel: Travel) -> None:
    travel(days=61)
    begun = transfer(renewable)
    assert clock.now() - begun.since < timedelta(minutes=1)


# Records set by hand ----------------------------------------------------------------------------


def test_records_set_by_hand_that_change_are_told_and_never_touched(
    outside: FakeWorld, make_tenant: Make, settle: Settle
) -> None:
    from tests.tasks.test_domain_connection import Table, active

    table = Table()
    ports.install(replace(outside.providers, resolver=table))
    with transaction(tenant=ALL_TENANTS) as db:
        tenant_id = make_tenant(db).id
    made = active(table, settle, tenant_id)
    look(made, settle)
    assert domain_of(made).failure is None
    mx = next(
        key for key in table.answers if key[0] == "MX" and key[1] == domain_of(made).domain_name
    )
    right = table.answers[mx]
    table.answers[mx] = ["10 mx.elsewhere.test"]
    look(made, settle)
    failure = domain_of(made).failure or ""
    assert "Add the MX record" in failure
    assert called() == []
    for _ in range(3):
        look(made, settle)
    # Once for each cause.
    assert called() == ["domain_dns_differs"]
    table.answers[mx] = right
    look(made, settle)
    assert domain_of(made).failure is None
    assert outside.accidents.calls["apply"] == 0
