"""A session sees its tenant's rows; without the filter PostgreSQL itself hides the others."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session

from app.database.models import Base, Domain, Tenant, TenantOwned
from app.database.session import ALL_TENANTS, SessionLocal, transaction


@pytest.fixture
def two_tenants(make_tenant, make_domain) -> tuple[UUID, UUID]:
    with transaction(tenant=ALL_TENANTS) as db:
        a, b = make_tenant(db), make_tenant(db)
        make_domain(db, a, name="a-mail.com")
        make_domain(db, b, name="b-mail.com")
        return a.id, b.id


def test_a_session_sees_its_own_rows_only(two_tenants: tuple[UUID, UUID]) -> None:
    a, b = two_tenants
    with transaction(tenant=a) as db:
        domains = db.scalars(select(Domain)).all()
        assert [domain.domain_name for domain in domains] == ["a-mail.com"]
        assert db.get(Tenant, b) is None


def test_without_the_filter_row_level_security_still_hides(two_tenants: tuple[UUID, UUID]) -> None:
    a, _ = two_tenants
    with transaction(tenant=a) as db:
        # Plain SQL passes the session's filter by.
        assert db.scalar(text("SELECT count(*) FROM domains")) == 1
        assert db.scalar(text("SELECT count(*) FROM tenants")) == 1


def test_without_a_scope_nothing_is_visible(two_tenants: tuple[UUID, UUID]) -> None:
    with SessionLocal() as db, db.begin():
        assert db.scalar(text("SELECT count(*) FROM domains")) == 0


def test_the_scope_does_not_stay_with_the_connection(two_tenants: tuple[UUID, UUID]) -> None:
    a, _ = two_tenants
    with transaction(tenant=a) as db:
        db.scalar(text("SELECT 1"))
    with SessionLocal() as db, db.begin():
        assert db.scalar(text("SELECT count(*) FROM domains")) == 0


def test_a_row_of_another_tenant_cannot_be_written(two_tenants: tuple[UUID, UUID]) -> None:
    a, b = two_tenants
    with pytest.raises(ProgrammingError, match="row-level security"), transaction(tenant=a) as db:
        db.execute(
            text(
                "INSERT INTO suppressions (id, created_at, tenant_id, target, reason)"
                " VALUES (:id, now(), :tenant, 'x@y.test', 'manual')"
            ),
            {"id": uuid4(), "tenant": b},
        )


def test_the_role_of_the_application_is_bound_by_the_policies(db: Session) -> None:
    row = db.execute(
        text("SELECT rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user")
    ).one()
    assert tuple(row) == (False, False)


def test_every_table_of_tenants_is_under_row_level_security(db: Session) -> None:
    owned = {
        mapper.local_table.name
        for mapper in Base.registry.mappers
        if issubclass(mapper.class_, TenantOwned)
    }
    with_column = {
        table.name
        for table in Base.metadata.sorted_tables
        if "tenant_id" in table.c and table.name not in {"outbox", "jobs", "trial_claims"}
    }
    forced = set(
        db.scalars(
            text("SELECT relname FROM pg_class WHERE relrowsecurity AND relforcerowsecurity")
        )
    )
    assert owned == with_column
    assert owned | {"tenants"} == forced
