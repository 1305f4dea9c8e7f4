"""A signing key is replaced: every signature that is under way has its key at every moment."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import select

from app import errors
from app.database.models import AuditLog, BillingNotice, DKIMKey, DKIMRotation, Domain, NoticeKind
from app.database.session import ALL_TENANTS, transaction
from app.integrations import ports
from app.rules import dkim_rotation as rules
from app.services import dkim_rotation, domain_drift
from tests.fakes import FakeWorld, away
from tests.fixtures.chain import NAME, Quote, Settle, Travel, assert_sound, domain_of, order

Drain = Callable[..., list[str]]


@pytest.fixture
def domain_id(outside: FakeWorld, quote: Quote, settle: Settle) -> UUID:
    made = order(quote())
    settle(hours=1)
    assert domain_of(made).status == "active"
    return made


def request(domain_id: UUID, *, leaked: bool = False) -> UUID:
    with transaction(tenant=ALL_TENANTS) as db:
        return dkim_rotation.request(domain_id, db, leaked=leaked).id


def undo(rotation_id: UUID) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        dkim_rotation.undo(rotation_id, db)


def rotation_of(rotation_id: UUID) -> DKIMRotation:
    with transaction(tenant=ALL_TENANTS) as db:
        return db.get_one(DKIMRotation, rotation_id)


def private_keys(domain_id: UUID) -> dict[str, bool]:
    """Selector -> whether it could still sign."""
    with transaction(tenant=ALL_TENANTS) as db:
        rows = db.scalars(select(DKIMKey).where(DKIMKey.domain_id == domain_id))
        return {key.selector: bool(key.private_key) for key in rows}


def published(outside: FakeWorld) -> dict[str, bool]:
    """Selector -> whether there is a key below it; False: revoked."""
    found = {}
    (zone,) = outside.dns.zones.values()
    for record in outside.dns.records[zone.id]:
        selector, inner, _ = record.name.partition("._domainkey.")
        if inner:
            found[selector] = not record.content.endswith("p=")
    return found


def signs(outside: FakeWorld) -> str:
    """The selector that the nodes use."""
    return outside.mail.loaded[NAME][1]


def look_for_drift(domain_id: UUID, outside: FakeWorld) -> int:
    """How many changes of the zone a look for drift made."""
    before = outside.accidents.calls["apply"]
    with transaction(tenant=ALL_TENANTS) as db:
        domain_drift.look(domain_id, db)
    return outside.accidents.calls["apply"] - before


def test_from_one_key_to_the_next(
    outside: FakeWorld, domain_id: UUID, drain: Drain, travel: Travel
) -> None:
    old = signs(outside)
    rotation = request(domain_id)
    new = rotation_of(rotation).new_selector
    assert new != old

    drain()
    assert signs(outside) == new
    assert published(outside) == {old: True, new: True}
    assert look_for_drift(domain_id, outside) == 0

    travel(days=6)
    drain(due_too=True)
    assert published(outside) == {old: True, new: True}

    travel(days=1, hours=1)
    drain(due_too=True)
    assert published(outside) == {old: False, new: True}
    assert private_keys(domain_id) == {old: False, new: True}
    assert look_for_drift(domain_id, outside) == 0

    travel(days=2, hours=1)
    drain(due_too=True)
    assert published(outside) == {new: True}
    assert (rotation_of(rotation).stage, signs(outside)) == ("done", new)
    assert look_for_drift(domain_id, outside) == 0
    with transaction(tenant=ALL_TENANTS) as db:
        trail = select(AuditLog.action).where(AuditLog.resource_id == domain_id)
        deeds = db.scalars(trail.order_by(AuditLog.seq)).all()
    assert [deed for deed in deeds if "dkim" in deed] == [
        "dkim_rotation_requested",
        "dkim_key_switched",
        "dkim_key_revoked",
        "dkim_rotation_done",
    ]
    assert_sound()


def test_nothing_is_signed_by_a_key_that_is_not_seen(
    outside: FakeWorld, domain_id: UUID, drain: Drain
) -> None:
    old = signs(outside)
    rotation = request(domain_id)
    new = rotation_of(rotation).new_selector
    hidden = ("TXT", f"{new}._domainkey.{NAME}")
    outside.resolver.hidden.add(hidden)
    for _ in range(3):
        drain(due_too=True)
    assert signs(outside) == old
    assert published(outside) == {old: True, new: True}
    assert hidden[1] in (rotation_of(rotation).detail or "")
    outside.resolver.hidden.clear()
    drain(due_too=True)
    assert signs(outside) == new


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("call", ["apply", "lookup", "add_relay", "reload"])
def test_a_provider_that_fails_before_or_after_its_effect(
    outside: FakeWorld, domain_id: UUID, drain: Drain, call: str, moment: str
) -> None:
    rotation = request(domain_id)
    outside.accidents.plan(call, away(), after=moment == "after")
    drain()
    drain(due_too=True)
    assert signs(outside) == rotation_of(rotation).new_selector
    assert set(published(outside).values()) == {True}
    assert len(published(outside)) == 2


def test_one_at_a_time(outside: FakeWorld, domain_id: UUID) -> None:
    def ask(_: int) -> bool:
        try:
            request(domain_id)
        except errors.Conflict:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(ask, range(4))) == 1
    assert len(private_keys(domain_id)) == 2


def test_undone_before_the_switch_it_leaves_nothing(
    outside: FakeWorld, domain_id: UUID, drain: Drain
) -> None:
    old = signs(outside)
    rotation = request(domain_id)
    new = rotation_of(rotation).new_selector
    outside.resolver.hidden.add(("TXT", f"{new}._domainkey.{NAME}"))
    drain()
    undo(rotation)
    drain(due_too=True)
    assert (signs(outside), published(outside)) == (old, {old: True})
    assert private_keys(domain_id) == {old: True, new: False}
    # Another one may begin, below a selector of its own.
    assert rotation_of(request(domain_id)).new_selector not in {old, new}


def test_undone_after_the_switch_the_new_key_is_kept_for_its_mail(
    outside: FakeWorld, domain_id: UUID, drain: Drain, travel: Travel
) -> None:
    old = signs(outside)
    rotation = request(domain_id)
    new = rotation_of(rotation).new_selector
    drain()
    travel(days=3)
    undo(rotation)
    drain(due_too=True)
    assert (signs(outside), published(outside)) == (old, {old: True, new: True})
    travel(days=7, hours=1)
    drain(due_too=True)
    assert published(outside) == {old: True, new: False}
    with pytest.raises(errors.Conflict, match="revoked"):
        undo(rotation)


def test_a_leaked_key_is_ended_at_once(outside: FakeWorld, domain_id: UUID, drain: Drain) -> None:
    old = signs(outside)
    rotation = request(domain_id, leaked=True)
    drain(due_too=True)
    drain(due_too=True)
    assert published(outside) == {old: False, rotation_of(rotation).new_selector: True}


def test_a_key_that_leaks_while_it_is_kept_is_ended_at_once(
    outside: FakeWorld, domain_id: UUID, drain: Drain
) -> None:
    old = signs(outside)
    rotation = request(domain_id)
    drain()
    assert rotation_of(rotation).stage == "keeping"
    assert request(domain_id, leaked=True) == rotation
    drain(due_too=True)
    assert published(outside) == {old: False, rotation_of(rotation).new_selector: True}
    assert private_keys(domain_id)[old] is False
    with pytest.raises(errors.Conflict, match="being replaced"):
        request(domain_id, leaked=True)


def test_a_new_key_that_leaks_is_left_for_the_old_one(
    outside: FakeWorld, domain_id: UUID, drain: Drain
) -> None:
    old = signs(outside)
    rotation = request(domain_id)
    new = rotation_of(rotation).new_selector
    drain()
    undo(rotation)
    request(domain_id, leaked=True)
    drain(due_too=True)
    assert signs(outside) == old
    assert published(outside) == {old: True, new: False}


def test_the_owner_of_a_zone_is_told_what_to_publish(
    outside: FakeWorld, domain_id: UUID, drain: Drain
) -> None:
    """A name whose records are set by hand: we hold no zone of it."""
    with transaction(tenant=ALL_TENANTS) as db:
        domain = db.get_one(Domain, domain_id)
        zone_id, domain.cloudflare_zone_id = domain.cloudflare_zone_id, None
    old = signs(outside)
    rotation = request(domain_id)
    for _ in range(2):
        drain(due_too=True)
    assert signs(outside) == old
    with transaction(tenant=ALL_TENANTS) as db:
        (notice,) = db.scalars(
            select(BillingNotice).where(BillingNotice.kind == NoticeKind.DKIM_RECORD_NEEDED)
        ).all()
        name, content = notice.details["record_name"], notice.details["record"]
    record = ports.DNSRecord("TXT", name, content)
    outside.dns.records[str(zone_id)] = [*outside.dns.records[str(zone_id)], record]
    drain(due_too=True)
    assert signs(outside) == rotation_of(rotation).new_selector


def test_the_calendar_begins_those_whose_turn_it_is_once(
    outside: FakeWorld, domain_id: UUID, drain: Drain, travel: Travel
) -> None:
    def plan() -> int:
        with transaction(tenant=ALL_TENANTS) as db:
            return dkim_rotation.plan(db, timedelta(days=180))

    assert plan() == 0
    travel(days=180 + rules.SPREAD_DAYS)
    assert plan() == 1
    assert "domains.begin_rotation" in drain()
    assert plan() == 0
    (row,) = _overview()
    assert (row["domain"], row["stage"]) == (NAME, "keeping")


def test_a_name_that_is_not_as_it_should_be_waits(
    outside: FakeWorld, domain_id: UUID, travel: Travel
) -> None:
    travel(days=400)
    with transaction(tenant=ALL_TENANTS) as db:
        db.get_one(Domain, domain_id).failure = "DNS: something is wrong"
    with transaction(tenant=ALL_TENANTS) as db:
        assert dkim_rotation.plan(db, timedelta(days=180)) == 0


def _overview() -> list[dict[str, object]]:
    with transaction(tenant=ALL_TENANTS) as db:
        return dkim_rotation.overview(db)
