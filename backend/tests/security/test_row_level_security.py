"""What PostgreSQL itself promises: policies on every table of tenants, for a role that is bound by
them, and no row of another tenant in a pool of connections that everybody shares."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.database.models import Domain, Inbox, Suppression, User
from app.database.role import RUNTIME_ROLE
from app.database.session import ALL_TENANTS, SessionLocal, transaction
from tests.fakes import FakeWorld
from tests.security import belongings

TRANSACTIONS = int(os.environ.get("RLS_TRANSACTIONS", "2000"))
"""`make fuzz` runs ten times as many."""
THREADS, TENANTS = 8, 6

PLATFORMS = {"outbox", "jobs", "trial_claims"}
"""These say whose a row is, and are the platform's own: queues that workers of all tenants share,
and claims that outlive the tenant. No operation for tenants reads them."""


# The catalog ------------------------------------------------------------------------------------


def tables_with(db: Session, condition: str) -> set[str]:
    return set(
        db.scalars(
            text(
                "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                f" WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND {condition}"
            )
        )
    )


def test_every_table_that_says_whose_its_rows_are_is_protected(db: Session) -> None:
    says_whose = tables_with(
        db,
        "EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid"
        " AND a.attname = 'tenant_id' AND NOT a.attisdropped)",
    )
    protected = tables_with(db, "c.relrowsecurity AND c.relforcerowsecurity")
    assert says_whose - PLATFORMS <= protected
    assert "tenants" in protected
    assert says_whose >= PLATFORMS, "the exceptions are tables that there are"


def test_every_protected_table_has_one_policy_for_reading_and_writing(db: Session) -> None:
    policies = db.execute(
        text(
            "SELECT tablename, permissive, cmd, qual, with_check FROM pg_policies"
            " WHERE schemaname = 'public'"
        )
    ).all()
    protected = tables_with(db, "c.relrowsecurity")
    assert {row.tablename for row in policies} == protected
    assert len(policies) == len(protected), "a second policy would be an OR"
    for row in policies:
        assert row.cmd == "ALL", row
        assert "app.tenant" in row.qual, row
        # Without one of its own, what may be read is what may be written.
        assert row.with_check in {None, row.qual}, row


def test_nothing_leads_past_the_policies(db: Session) -> None:
    """No view, and no function that runs as its owner, looks at rows for somebody."""
    assert db.scalar(text("SELECT count(*) FROM pg_views WHERE schemaname = 'public'")) == 0
    functions = db.scalars(
        text(
            "SELECT proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
            " WHERE n.nspname = 'public' AND prosecdef"
        )
    ).all()
    # These two make and drop a day's empty or outdated table, and give nothing but a number.
    assert set(functions) == {"make_delivery_days", "drop_delivery_days"}


def test_the_role_owns_nothing_and_is_above_nothing(db: Session) -> None:
    role = db.execute(
        text("SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication"
             " FROM pg_roles WHERE rolname = :role"),
        {"role": RUNTIME_ROLE},
    ).one()  # fmt: skip
    assert not any(role)
    assert db.scalar(text("SELECT current_user")) == RUNTIME_ROLE
    for catalog, owner in (
        # Temporary tables last as long as a connection, and hold what it put there.
        ("pg_class WHERE relpersistence <> 't' AND", "relowner"),
        ("pg_proc WHERE", "proowner"),
        ("pg_namespace WHERE", "nspowner"),
        ("pg_database WHERE", "datdba"),
    ):
        owned = f"SELECT count(*) FROM {catalog} {owner} = '{RUNTIME_ROLE}'::regrole"
        assert db.scalar(text(owned)) == 0, catalog
    member_of = text("SELECT count(*) FROM pg_auth_members WHERE member = CAST(:r AS regrole)")
    assert db.scalar(member_of, {"r": RUNTIME_ROLE}) == 0


# The pool ---------------------------------------------------------------------------------------


@pytest.fixture
def tenants(outside: FakeWorld, make_tenant: Callable[..., Any]) -> list[UUID]:
    with transaction(tenant=ALL_TENANTS) as db:
        ids: list[UUID] = [make_tenant(db, plan="growth").id for _ in range(TENANTS)]
        for id_ in ids:
            for _ in range(3):
                belongings.inbox(id_, db)
                belongings.suppression(id_, db)
                belongings.user(id_, db)
    return ids


class Crowd:
    """Threads that take connections from one pool, for one tenant after the other."""

    def __init__(self, tenants: list[UUID]) -> None:
        self.tenants = tenants
        self.lock = threading.Lock()
        self.done = self.aborted = self.seen = 0
        self.foreign: list[str] = []
        self.broken: list[str] = []

    def work(self, seed: int, transactions: int) -> None:
        dice = random.Random(seed)
        try:
            for _ in range(transactions):
                self._one(dice)
        except Exception as error:
            self.broken.append(repr(error))

    def _one(self, dice: random.Random) -> None:
        me = dice.choice(self.tenants)
        kind = dice.choice([Domain, Inbox, Suppression, User])
        aborted = dice.random() < 0.1
        try:
            if dice.random() < 0.05:
                # Somebody forgot to say for whom.
                with SessionLocal() as db, db.begin():
                    self._count(db, kind, None)
            else:
                with transaction(tenant=me) as db:
                    self._count(db, kind, me)
                    if aborted:
                        self._abort(db, dice)
        except (DBAPIError, InterruptedError):
            assert aborted
        with self.lock:
            self.done += 1
            self.aborted += aborted

    def _count(self, db: Session, kind: type[Any], me: UUID | None) -> None:
        # Text passes the session's own filter by.
        rows = db.execute(
            text(f"SELECT tenant_id, count(*) FROM {kind.__tablename__} GROUP BY tenant_id")
        ).all()
        mine = db.scalar(select(func.count()).select_from(kind)) or 0
        with self.lock:
            self.foreign += [f"{row}, not {me}" for row in rows if row.tenant_id != me]
            self.seen += mine
            if mine != sum(row[1] for row in rows):
                self.foreign.append(f"the session counts {mine}, PostgreSQL {rows}")

    def _abort(self, db: Session, dice: random.Random) -> None:
        match dice.randrange(3):
            case 0:  # by the database
                db.execute(text("SELECT 1 / 0"))
            case 1:  # by the program, with the connection in good order
                raise InterruptedError
            case _:  # by the death of the connection
                db.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))


@pytest.mark.timeout(300)
def test_transactions_of_everybody_in_one_pool_see_nobody_elses_rows(
    tenants: list[UUID],
) -> None:
    crowd = Crowd(tenants)
    began = time.monotonic()
    threads = [
        threading.Thread(target=crowd.work, args=(seed, TRANSACTIONS // THREADS))
        for seed in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert crowd.broken == []
    assert crowd.foreign == []
    assert crowd.done == TRANSACTIONS // THREADS * THREADS
    assert crowd.aborted > TRANSACTIONS // 20
    assert crowd.seen > TRANSACTIONS, "they did see their own"
    took = time.monotonic() - began
    print(  # noqa: T201  # For make fuzz.
        f"{crowd.done} transactions, {crowd.aborted} aborted, {took:.1f} s, 0 foreign rows"
    )
