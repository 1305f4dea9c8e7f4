"""The contact of names: encrypted, the tenant's own, and known to the registrar."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text

from app import errors
from app.database.models import AuditLog, Tenant
from app.database.session import ALL_TENANTS, transaction
from app.services import registrant_service
from tests.fakes import FakeWorld, away
from tests.fixtures.chain import NAME, Quote, Settle, domain_of, order
from tests.rules.test_registrants import ANN


def save(tenant_id: UUID, **changed: str) -> Any:
    with transaction(tenant=tenant_id) as db:
        return registrant_service.save(db.get_one(Tenant, tenant_id), {**ANN, **changed}, db)


def tenant_of(quote: Quote) -> tuple[UUID, UUID]:
    """A tenant, and a purchase of theirs whose price is held."""
    from app.database.models import DomainPurchase

    purchase_id = quote()
    with transaction(tenant=ALL_TENANTS) as db:
        return db.get_one(DomainPurchase, purchase_id).tenant_id, purchase_id


def test_names_are_bought_for_the_tenant(outside: FakeWorld, quote: Quote, settle: Settle) -> None:
    tenant_id, purchase_id = tenant_of(quote)
    contact = save(tenant_id)
    order(purchase_id)
    settle(hours=1)
    given = outside.registrar.registrants[NAME]
    assert given is not None
    assert (given["last_name"], given["country"]) == ("Lee", "US")
    with transaction(tenant=tenant_id) as db:
        assert registrant_service.contact_of(tenant_id, db) == contact


def test_without_a_contact_the_platform_stands_in(
    outside: FakeWorld, quote: Quote, settle: Settle
) -> None:
    order(quote())
    settle(hours=1)
    assert outside.registrar.registrants[NAME] is None


def test_a_change_reaches_the_names_there_are(
    outside: FakeWorld, quote: Quote, settle: Settle
) -> None:
    tenant_id, purchase_id = tenant_of(quote)
    domain_id = order(purchase_id)
    settle(hours=1)
    outside.accidents.plan("set_registrant", away(), times=2)
    save(tenant_id, last_name="Moon")
    settle(hours=1)
    given = outside.registrar.registrants[NAME]
    assert given is not None
    assert given["last_name"] == "Moon"
    calls = outside.accidents.calls["set_registrant"]
    save(tenant_id, last_name="Moon")  # Nothing changed: nobody is asked.
    settle(hours=1)
    assert outside.accidents.calls["set_registrant"] == calls
    assert str(domain_of(domain_id).status) == "active"


def test_nobody_reads_it_in_the_database_or_the_trail(quote: Quote) -> None:
    tenant_id, _ = tenant_of(quote)
    save(tenant_id, last_name="Unusual-Name")
    with transaction(tenant=ALL_TENANTS) as db:
        sealed = db.scalar(text("SELECT contact FROM registrants"))
        rows = db.scalars(select(AuditLog).where(AuditLog.action == "registrant_changed")).all()
    assert b"Unusual-Name" not in bytes(sealed)
    assert len(rows) == 1
    assert "Unusual-Name" not in str(rows[0].changes)
    assert "last_name" in str(rows[0].changes)


def test_another_tenant_sees_nothing_of_it(quote: Quote, make_tenant: Any) -> None:
    tenant_id, _ = tenant_of(quote)
    save(tenant_id)
    with transaction(tenant=ALL_TENANTS) as db:
        other = make_tenant(db).id
    with transaction(tenant=other) as db:
        assert registrant_service.contact_of(tenant_id, db) is None
        assert registrant_service.contact_of(other, db) is None


def test_what_registries_refuse_changes_nothing(quote: Quote) -> None:
    tenant_id, _ = tenant_of(quote)
    before = save(tenant_id)
    with pytest.raises(errors.Invalid, match="phone"):
        save(tenant_id, phone="12345")
    with transaction(tenant=tenant_id) as db:
        assert registrant_service.contact_of(tenant_id, db) == before
