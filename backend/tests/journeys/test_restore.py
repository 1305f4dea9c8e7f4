"""The drill: an hour is lost, a fresh cluster takes the backup, and nothing happens twice.

The sandbox is the world outside: what was charged and registered in the lost hour it remembers.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from app.database import session
from app.database.models import Domain, Job, JobState, Tenant
from app.database.session import ALL_TENANTS, transaction
from app.embedded import EmbeddedPostgres
from app.integrations import ports
from app.services import domain_renewal
from tests.fixtures.customer import Customer
from tests.fixtures.money import alerts, at_stripe, audit, customer_id, quiet, tick
from tests.fixtures.world import Running

BACKEND = Path(__file__).resolve().parents[2]


def ops(*words: str, url: str, fails: bool = False) -> dict[str, Any]:
    said = subprocess.run(
        [sys.executable, "-m", "app.cli", "ops", *words, "--json"],
        cwd=BACKEND,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "DATABASE_URL": url},
    )
    assert said.returncode == int(fails), said.stderr
    answer: dict[str, Any] = json.loads(said.stdout) if said.stdout else {"said": said.stderr}
    return answer


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """Another PostgreSQL, empty but for its roles."""
    with EmbeddedPostgres(tmp_path / "fresh", port=0, fast=True) as cluster:
        yield cluster


@pytest.fixture
def move_to(world: Running) -> Iterator[Callable[[str], None]]:
    """`move_to(url)`: this process, its API and its jobs, live on that database from now on."""
    home = session.engine
    made = []

    def move(url: str) -> None:
        engine = session.make_engine("postgresql+psycopg://" + url.partition("://")[2])
        made.append(engine)
        session.SessionLocal.configure(bind=engine)

    yield move
    session.SessionLocal.configure(bind=home)
    for engine in made:
        engine.dispose()


def outside(*customers: tuple[Customer, str]) -> list[tuple[str, int, int]]:
    """Our money at the registrar; every payment, subscription and invoice of these customers."""
    found = [("registrar", ports.current().registrar.balance_cents(), 0)]
    for asking, id_ in customers:
        for kind, more in (("charges", {}), ("subscriptions", {"status": "all"}), ("invoices", {})):
            for row in at_stripe(asking, kind, customer=id_, limit="100", **more)["data"]:
                taken, back = row.get("amount_captured") or 0, row.get("amount_refunded") or 0
                found.append((row["id"], taken, back))
    return sorted(found)


def renew_now(customer: Customer, name: str) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        domain_renewal.ask_now(name, db)
    quiet(customer)


def domains(customer: Customer) -> dict[str, tuple[str, datetime | None]]:
    with transaction(tenant=ALL_TENANTS) as db:
        rows = db.scalars(select(Domain).where(Domain.tenant_id == UUID(customer.tenant_id)))
        return {row.domain_name: (str(row.status), row.expiry_date) for row in rows}


@pytest.mark.slow
def test_an_hour_is_lost_and_nothing_happens_twice(
    signed_in: Customer,
    other: Customer,
    world: Running,
    fresh: EmbeddedPostgres,
    move_to: Callable[[str], None],
    invariants: Callable[[], None],
    tmp_path: Path,
) -> None:
    old = os.environ["DATABASE_URL"]
    one, two, three = (f"{word}-{signed_in.tag}.com" for word in ("one", "two", "three"))
    signed_in.add_card()
    signed_in.upgrade("starter")
    signed_in.provision(signed_in.buy_domain(one)["id"])
    offer = signed_in.offer(two)
    quiet(signed_in)

    dump = ops("backup", str(tmp_path / "backups"), url=old)["dump"]

    # The hour that will be lost: an offer taken up, another name, a renewal, a plan, a sign-up.
    world.advance(seconds=600)
    assert signed_in.confirm("payment_intent", offer).is_success
    signed_in.post("/domains/purchase", purchase_id=offer["purchase_id"])
    signed_in.settle(lambda: domains(signed_in)[two][0] == "active", within=40)
    signed_in.buy_domain(three)
    renew_now(signed_in, one)
    signed_in.upgrade("growth")
    other.add_card()
    address = f"stop-{signed_in.tag}@gmail.test"
    signed_in.post("/infrastructure/suppressions", targets=[address])
    newcomer = Customer(world, signed_in.drain).sign_up()
    newcomer.add_card()
    quiet(signed_in)
    stranger = customer_id(newcomer)
    everybody = [(signed_in, customer_id(signed_in)), (other, customer_id(other))]
    everybody.append((newcomer, stranger))
    before, known = outside(*everybody), domains(signed_in)
    assert len(before) > 10
    world.advance(seconds=3000)

    done = ops("restore", dump, url=fresh.url)
    assert (done["differences"], done["wrong_secrets"]) == ([], [])
    move_to(fresh.url)
    signed_in.sign_in_again()
    assert set(domains(signed_in)) == {one}
    assert ops("restored", "status", url=fresh.url, fails=True)["held"] is True

    # Held: a calendar's whole day changes nothing outside, and nobody buys anything.
    refused = signed_in.try_post("/billing/domain-purchase-intent", domain_name=f"no-{one}")
    assert (refused.status_code, refused.json()["error_code"]) == (503, "SERVICE_RESTORING")
    tick(signed_in)
    assert outside(*everybody) == before
    assert "compare" in ops("restored", "release", url=fresh.url, fails=True)["said"]

    found = ops("restored", "reconcile", url=fresh.url)
    assert outside(*everybody) == before
    (account,) = [row for row in found["accounts"] if row["tenant_id"] == signed_in.tenant_id]
    assert {told.partition(":")[0] for told in account["names"]} == {one, two, three}
    assert account["unexplained"] == []
    assert account["repairs"]["subscription"] is True
    assert stranger in found["customers_without_account"]
    assert found["suppressions_kept"] == 1
    assert address in ports.current().mail.suppressed()[signed_in.tenant_id]
    assert "restored_reconciled" in alerts()
    with transaction(tenant=ALL_TENANTS) as db:
        assert db.get_one(Tenant, UUID(signed_in.tenant_id)).subscription_tier == "growth"

    ops("restored", "release", url=fresh.url)
    signed_in.settle(lambda: domains(signed_in) == known, within=40, why="the names are as before")
    quiet(signed_in)
    world.advance(days=1)
    signed_in.sign_in_again()
    tick(signed_in)
    quiet(signed_in)
    assert outside(*everybody) == before
    assert audit(signed_in).balances
    with transaction(tenant=ALL_TENANTS) as db:
        assert not db.scalars(select(Job.task).where(Job.state == JobState.DEAD)).all()
    invariants()
