"""A tenant takes its data away: all of it, none of its secrets, nobody else's."""

from __future__ import annotations

import hashlib
from typing import Any
from uuid import UUID

import httpx
import pytest

from app.database.models import AuditLog, Base, Inbox, Tenant, TenantOwned, User
from app.database.session import ALL_TENANTS, transaction
from app.rules import audit_chain
from app.rules.data_export import EXPORTED, LEFT_OUT
from tests.fixtures.customer import Customer
from tests.fixtures.world import Running


@pytest.fixture
def with_rows(paying: Customer, own_domain) -> Customer:
    domain_id = own_domain(paying, name="export-mail.com")
    paying.post("/infrastructure/provision", key="k1", domain_id=domain_id, inbox_count=3)
    paying.post("/infrastructure/suppressions", targets=["a@b.test", "@c.test"])
    return paying


def exported(customer: Customer) -> dict[str, Any]:
    answer = customer.http.get("/auth/data-export")
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="inboxgrove-')
    document: dict[str, Any] = answer.json()
    return document


def test_it_holds_every_row_and_is_written_down(with_rows: Customer, other: Customer) -> None:
    document = exported(with_rows)
    assert list(document["tables"]) == list(EXPORTED)
    assert document["tenant_id"] == with_rows.tenant_id
    tables = document["tables"]
    tenant_id = UUID(with_rows.tenant_id)
    with transaction(tenant=ALL_TENANTS) as db:
        for mapper in Base.registry.mappers:
            owner = mapper.class_
            if not issubclass(owner, TenantOwned):
                continue
            ids = {
                str(row.id) for row in db.query(owner).filter(owner.tenant_id == tenant_id).all()
            }
            found = {row["id"] for row in tables[owner.__tablename__]}
            # The export's own deed, and whatever the door noted, came after.
            assert found <= ids, owner
            assert len(ids - found) <= 1, owner
    assert [row["id"] for row in tables["tenants"]] == [with_rows.tenant_id]
    assert len(tables["inboxes"]) == 3
    assert len(tables["suppressions"]) == 2
    assert all(set(row) == set(EXPORTED[name]) for name, rows in tables.items() for row in rows)
    (entry,) = with_rows.get("/analytics/audit-log", action="data_exported")
    assert entry["actor_type"] == "user"
    text = str(document)
    assert other.tenant_id not in text
    assert other.tag not in text


def test_no_secret_is_in_it(with_rows: Customer) -> None:
    text = with_rows.http.get("/auth/data-export").text
    with transaction(tenant=UUID(with_rows.tenant_id)) as db:
        user = db.query(User).one()
        inbox = db.query(Inbox).first()
        assert inbox is not None
        for secret in (user.password_hash, inbox.password_hmac, bytes(inbox.password).hex()):
            assert secret not in text
    for table, columns in LEFT_OUT.items():
        assert EXPORTED[table]
        for name in columns:
            assert f'"{name}"' not in text or name == "error"


def test_the_audit_chain_can_be_checked_from_it_alone(with_rows: Customer) -> None:
    rows = exported(with_rows)["tables"]["audit_logs"]
    previous = bytes(32)
    for seq, row in enumerate(sorted(rows, key=lambda row: row["seq"]), start=1):
        assert row["seq"] == seq
        assert row["previous_hash"] == previous.hex()
        members = {name: row[name] for name in audit_chain.FIELDS}
        form = audit_chain.as_text(members)
        previous = hashlib.sha256(previous + form.encode()).digest()
        assert row["hash"] == previous.hex()
    assert len(rows) >= 5


def test_a_suspended_tenant_can_have_it(with_rows: Customer, operator: httpx.Client) -> None:
    path = f"/admin/tenants/{with_rows.tenant_id}/suspend"
    answer = operator.post(path, json={"reason": "terms_violation"})
    assert answer.status_code == 200, answer.text
    assert with_rows.http.get("/domains").status_code == 403
    document = exported(with_rows)
    assert document["tables"]["tenants"][0]["is_suspended"] is True
    assert [row["reason"] for row in document["tables"]["decisions"]] == ["terms_violation"]


def test_only_the_owner_and_only_after_a_recent_sign_in(
    with_rows: Customer, set_role: Any, world: Running
) -> None:
    set_role(with_rows, "admin")
    assert with_rows.http.get("/auth/data-export").status_code == 403
    set_role(with_rows, "owner")
    assert with_rows.http.get("/auth/data-export").status_code == 200
    with transaction(tenant=ALL_TENANTS) as db:
        assert db.query(Tenant).count() == 1
        taken = db.query(AuditLog).filter(AuditLog.action == "data_exported").count()
    assert taken == 1
    world.advance(seconds=20 * 60)
    del with_rows.http.headers["Authorization"]
    fresh = with_rows.post("/auth/refresh", refresh_token=with_rows.signed_up["refresh_token"])
    with_rows.http.headers["Authorization"] = f"Bearer {fresh['access_token']}"
    answer = with_rows.http.get("/auth/data-export")
    assert (answer.status_code, answer.json()["error_code"]) == (401, "REAUTHENTICATION_REQUIRED")
