"""Every column of a tenant's is decided about: it leaves in the export, or there is a reason."""

from __future__ import annotations

import re

from app.database.models import Base, Tenant, TenantOwned
from app.rules import data_export
from app.rules.data_export import EXPORTED, LEFT_OUT


def tables() -> dict[str, list[str]]:
    return {
        mapper.class_.__tablename__: [column.name for column in mapper.class_.__table__.columns]
        for mapper in Base.registry.mappers
        if issubclass(mapper.class_, TenantOwned) or mapper.class_ is Tenant
    }


def test_every_column_is_decided_about() -> None:
    undecided = {
        table: names
        for table, columns in tables().items()
        if (names := data_export.undecided(table, columns))
    }
    assert undecided == {}


def test_nothing_is_decided_about_that_is_not_there() -> None:
    there = tables()
    assert set(EXPORTED) == set(there)
    for table, columns in there.items():
        assert set(EXPORTED[table]) <= set(columns), table
        assert set(LEFT_OUT.get(table, {})) <= set(columns), table


def test_a_new_column_stays_inside_until_it_is_decided_about() -> None:
    assert "new_secret" not in EXPORTED["users"]
    assert data_export.undecided("users", ["email", "new_secret", "tenant_id"]) == ["new_secret"]
    assert data_export.undecided("new_table", ["id", "tenant_id"]) == ["id"]


def test_no_column_named_or_stored_like_a_secret_leaves() -> None:
    secret = re.compile(r"password|secret|token|hash|hmac|private|fingerprint|code$")
    harmless = {
        ("users", "password_changed_at"),
        ("audit_logs", "previous_hash"),
        ("audit_logs", "hash"),
        ("idempotency_records", "status_code"),
        ("delivery_events", "response_code"),
        ("webhook_attempts", "status_code"),
        # It stands in the public DNS.
        ("domain_connections", "token"),
    }
    for table, columns in EXPORTED.items():
        suspicious = {(table, name) for name in columns if secret.search(name)}
        assert suspicious <= harmless
    for mapper in Base.registry.mappers:
        table = mapper.class_.__table__
        for column in table.columns:
            if column.type.python_type is bytes and table.name in EXPORTED:
                exported = column.name in EXPORTED[table.name]
                assert not exported or (table.name, column.name) in harmless
