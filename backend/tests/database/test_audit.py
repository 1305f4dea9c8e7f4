"""The trail in the database: numbered and chained at the commit, and what was tampered with shows."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from app import clock
from app.database import audit
from app.database.models import AuditLog, Tenant, User, new_id
from app.database.queries import audit as queries
from app.database.queries import invariants
from app.database.session import ALL_TENANTS, SessionLocal, scope, transaction
from app.rules import audit_chain
from app.rules.audit_chain import FaultKind
from app.rules.audit_changes import UnfitForAudit

Make = Callable[..., Any]


@pytest.fixture
def tenant_id(make_tenant: Make) -> UUID:
    """A tenant whose chain has one row, of its trial."""
    with transaction(tenant=ALL_TENANTS) as db:
        id_: UUID = make_tenant(db).id
        return id_


def write(db: Session, tenant: UUID, *actions: str) -> None:
    for action in actions:
        audit.write(db, tenant, action, "tenant", tenant, {"status": [None, action]})


def trail(tenant: UUID) -> list[AuditLog]:
    with transaction(tenant=tenant) as db:
        return list(db.scalars(select(AuditLog).order_by(AuditLog.seq)))


def actions(tenant: UUID) -> list[str]:
    return [row.action for row in trail(tenant)[1:]]


def faults(heads: audit_chain.Heads | None = None) -> list[tuple[str, int]]:
    with transaction(tenant=ALL_TENANTS) as db:
        found = queries.verify(db, heads or {})["faults"]
    return [(fault["kind"], fault["seq"]) for fault in found]


# Writing ----------------------------------------------------------------------------------------


def test_rows_are_numbered_and_chained_within_their_tenant(
    tenant_id: UUID, make_tenant: Make
) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        other = make_tenant(db).id
        write(db, tenant_id, "a")
        write(db, other, "x")
        write(db, tenant_id, "b")
    with transaction(tenant=tenant_id) as db:
        write(db, tenant_id, "c")
    rows = trail(tenant_id)
    assert [(row.seq, row.action) for row in rows[1:]] == [(2, "a"), (3, "b"), (4, "c")]
    assert [row.seq for row in trail(other)] == [1, 2]
    assert rows[0].previous_hash == bytes(32)
    assert [row.previous_hash for row in rows[1:]] == [row.hash for row in rows[:-1]]
    assert faults() == []


def test_an_outsider_can_check_a_row_with_what_is_documented(tenant_id: UUID) -> None:
    who = audit.Actor("user", new_id(), "192.0.2.7", "req-1")
    with audit.acting(who), transaction(tenant=tenant_id) as db:
        audit.write(db, tenant_id, "inbox_paused", "inbox", None, {"é": ["<", None, 3, True]})
    first, row = trail(tenant_id)
    members = {name: getattr(row, name) for name in audit_chain.FIELDS}
    members["created_at"] = row.created_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    for name in ("id", "tenant_id", "actor_id"):
        members[name] = str(members[name])
    form = json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert row.hash == hashlib.sha256(first.hash + form.encode()).digest()
    assert (row.actor_type, row.actor_id, row.ip, row.request_id) == (
        who.kind, who.id, who.ip, who.request_id,
    )  # fmt: skip


def test_one_deed_on_many_things_is_as_many_rows(tenant_id: UUID) -> None:
    ids = [new_id() for _ in range(2_500)]
    with transaction(tenant=tenant_id) as db:
        audit.write_many(db, tenant_id, "made", "inbox", ids, {"status": [None, "pending"]})
        audit.write_many(db, tenant_id, "made", "inbox", [])
    assert [row.resource_id for row in trail(tenant_id)[1:]] == ids
    assert faults() == []


def test_what_is_rolled_back_leaves_nothing(tenant_id: UUID) -> None:
    with pytest.raises(ZeroDivisionError), transaction(tenant=tenant_id) as db:
        write(db, tenant_id, "never")
        db.flush()
        raise ZeroDivisionError
    with SessionLocal() as db:
        scope(db, tenant_id)
        write(db, tenant_id, "never")
        db.flush()
        db.rollback()
        write(db, tenant_id, "never")
        db.execute(text("SELECT 1"))
        db.rollback()
        write(db, tenant_id, "after")
        db.commit()
        db.commit()
        write(db, tenant_id, "never")
    assert actions(tenant_id) == ["after"]


def test_what_is_rolled_back_to_a_savepoint_leaves_nothing(tenant_id: UUID) -> None:
    with transaction(tenant=tenant_id) as db:
        write(db, tenant_id, "before")
        with pytest.raises(ZeroDivisionError), db.begin_nested():
            write(db, tenant_id, "never")
            with db.begin_nested():
                write(db, tenant_id, "inner, kept, but within what is not")
            raise ZeroDivisionError
        with db.begin_nested():
            write(db, tenant_id, "kept")
            with pytest.raises(ZeroDivisionError), db.begin_nested():
                write(db, tenant_id, "never")
                raise ZeroDivisionError
            write(db, tenant_id, "kept too")
        write(db, tenant_id, "after")
    assert actions(tenant_id) == ["before", "kept", "kept too", "after"]
    assert faults() == []


def test_a_failed_flush_takes_what_was_noted_in_its_savepoint(tenant_id: UUID) -> None:
    with transaction(tenant=tenant_id) as db:
        write(db, tenant_id, "before")
        with pytest.raises(Exception, match="null value"), db.begin_nested():
            write(db, tenant_id, "never")
            db.add(User(tenant_id=tenant_id, email=None, password_hash="x"))
            db.flush()
        write(db, tenant_id, "after")
    assert actions(tenant_id) == ["before", "after"]


def test_a_session_used_again_begins_empty(tenant_id: UUID) -> None:
    with Session(bind=None) as unused:
        audit.write(unused, tenant_id, "never", "tenant")
    with transaction(tenant=tenant_id) as db:
        write(db, tenant_id, "once")
        audit.seal(db)
        write(db, tenant_id, "twice")
    assert actions(tenant_id) == ["once", "twice"]


def test_a_deed_of_a_tenant_that_is_not_in_sight_is_refused(
    tenant_id: UUID, make_tenant: Make
) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        other = make_tenant(db).id
    with pytest.raises(RuntimeError, match="does not see"), transaction(tenant=other) as db:
        write(db, tenant_id, "never")
    assert actions(tenant_id) == []


def test_a_secret_stops_the_deed(tenant_id: UUID) -> None:
    with pytest.raises(UnfitForAudit), transaction(tenant=tenant_id) as db:
        audit.write(db, tenant_id, "x", "user", None, {"password": ["a", "b"]})
    assert actions(tenant_id) == []


def test_many_at_once_make_one_chain_without_waiting_in_a_circle(
    tenant_id: UUID, make_tenant: Make
) -> None:
    """Some lock the tenants first, in either order; some only refer to them."""
    with transaction(tenant=ALL_TENANTS) as db:
        other = make_tenant(db).id
    together = threading.Barrier(8)

    def act(number: int) -> None:
        mine, theirs = (tenant_id, other) if number % 2 else (other, tenant_id)
        together.wait(20)
        for _ in range(15):
            with transaction(tenant=ALL_TENANTS) as db:
                if number % 4 == 0:
                    db.get(Tenant, mine, with_for_update=True)
                write(db, mine, f"by {number}")
                if number % 4 < 2 and number % 4 != 0:
                    write(db, theirs, f"by {number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(act, range(8)))
    assert len(trail(tenant_id)) + len(trail(other)) == 2 + 8 * 15 + 2 * 15
    assert faults() == []


# Tampering, as only the owner of the database can -----------------------------------------------


@pytest.fixture
def chain(tenant_id: UUID, make_tenant: Make) -> UUID:
    """A chain of six rows beside an orderly one; its tenant."""
    with transaction(tenant=ALL_TENANTS) as db:
        write(db, make_tenant(db).id, "x")
        write(db, tenant_id, "a", "b", "c", "d", "e")
    assert faults() == []
    return tenant_id


def tamper(owner: Engine, sql: str, **values: Any) -> None:
    with owner.begin() as connection:
        connection.execute(text("SELECT set_config('app.tenant', '*', true)"))
        assert connection.execute(text(sql), values).rowcount > 0


@pytest.mark.parametrize(
    ("sql", "kind", "seq"),
    [
        ("UPDATE audit_logs SET changes = '{}' WHERE seq = 3", FaultKind.ALTERED, 3),
        ("UPDATE audit_logs SET actor_type = 'user' WHERE seq = 6", FaultKind.ALTERED, 6),
        ("UPDATE audit_logs SET created_at = created_at + interval '1 us' WHERE seq = 4",
         FaultKind.ALTERED, 4),
        ("DELETE FROM audit_logs WHERE seq = 3", FaultKind.REMOVED, 3),
        ("DELETE FROM audit_logs WHERE seq = 1", FaultKind.REMOVED, 1),
        ("DELETE FROM audit_logs", FaultKind.REMOVED, 1),
    ],
)  # fmt: skip
def test_what_was_altered_or_removed_is_named(
    chain: UUID, owner: Engine, sql: str, kind: str, seq: int
) -> None:
    sql += (" AND" if "WHERE" in sql else " WHERE") + " tenant_id = :tenant"
    tamper(owner, sql, tenant=chain)
    assert faults() == [(kind, seq)]


def test_an_inserted_row_is_named(chain: UUID, owner: Engine) -> None:
    """With a link of its own that is right, and the rest moved on to make room."""
    second = trail(chain)[1]
    forged = audit_chain.Row(
        tenant_id=chain, seq=3, id=new_id(), created_at=clock.now(), action="forged",
        resource_type="tenant", resource_id=None, actor_type="system", actor_id=None, changes={},
        ip=None, request_id=None,
    )  # fmt: skip
    for seq in (6, 5, 4, 3):
        tamper(
            owner,
            "UPDATE audit_logs SET seq = :next WHERE tenant_id = :tenant AND seq = :seq",
            tenant=chain, seq=seq, next=seq + 1,
        )  # fmt: skip
    insert(owner, forged, second.hash)
    assert (FaultKind.INSERTED, 3) in faults()


def test_a_row_put_in_place_of_another_is_named(chain: UUID, owner: Engine) -> None:
    second, third = trail(chain)[1:3]
    tamper(owner, "DELETE FROM audit_logs WHERE id = :id", id=third.id)
    fields = {name: getattr(third, name) for name in audit_chain.FIELDS}
    insert(owner, audit_chain.Row(**{**fields, "action": "harmless"}), second.hash)
    assert faults() == [(FaultKind.INSERTED, 3)]


def insert(owner: Engine, row: audit_chain.Row, previous: bytes) -> None:
    names = [name for name in audit_chain.FIELDS if name != "changes"]
    tamper(
        owner,
        f"INSERT INTO audit_logs ({', '.join(names)}, changes, previous_hash, hash) VALUES"
        f" ({', '.join(f':{name}' for name in names)}, CAST(:changes AS jsonb), :before, :hash)",
        **{name: getattr(row, name) for name in names},
        changes=json.dumps(dict(row.changes)),
        before=previous,
        hash=audit_chain.link(previous, row),
    )


def test_a_cut_end_shows_against_the_heads(chain: UUID, owner: Engine) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        heads = {head.tenant_id: {head.seq: head.hash} for head in queries.heads(db)}
    assert heads[chain].keys() == {6}
    assert faults(heads) == []
    tamper(owner, "DELETE FROM audit_logs WHERE tenant_id = :tenant AND seq > 4", tenant=chain)
    assert faults() == []
    assert faults(heads) == [(FaultKind.CUT, 5)]


def test_the_invariant_looks_at_recent_rows(
    chain: UUID, owner: Engine, travel: Callable[..., None]
) -> None:
    def broken() -> list[str]:
        with transaction(tenant=ALL_TENANTS) as db:
            return invariants.audit_chains_hold(db, clock.now())

    assert broken() == []
    travel(days=3)
    with transaction(tenant=chain) as db:
        write(db, chain, "f", "g", "h")
    assert broken() == []
    tamper(
        owner,
        "UPDATE audit_logs SET ip = '192.0.2.1' WHERE tenant_id = :tenant AND seq IN (2, 8)",
        tenant=chain,
    )
    assert broken() == [f"{chain}:8"]
    assert faults() == [(FaultKind.ALTERED, 2), (FaultKind.ALTERED, 8)]
