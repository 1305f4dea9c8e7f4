"""`python -m benchmarks.billing_crash [runs]`: domain purchases while everything dies.

In each run a customer buys a name. The worker is killed by SIGKILL at random edges (before or after
any call of a provider or any commit), and providers fail before or after their effect. At the end
Stripe, the registrar and our rows are compared: what counts is what they hold, not what we believe.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from benchmarks.billing.stage import UNHURRIED, stage
from tests.fixtures.world import Running

RUNS = 1_000
PROCESSES = 3
STEPS = 155
"""As many edges as a purchase without accidents passes (measured: "edges of a purchase")."""
LEASE_SECONDS = 75
"""After a crash: longer than any lease on a job, so that somebody else takes it over."""

MODES = ("fail_before", "fail_after", "reset", "garbage", "rate_limit")
CALLS = (
    ("stripe", "GET .*/payment_intents/"),
    ("stripe", "POST .*/capture"),
    ("stripe", "POST .*/cancel"),
    ("stripe", "POST .*/refunds"),
    ("stripe", "GET .*/charges/"),
    ("namecheap", "Command=namecheap.domains.check"),
    ("namecheap", "Command=namecheap.domains.getInfo"),
    ("namecheap", "Command=namecheap.domains.create"),
    ("namecheap", "Command=namecheap.domains.dns.setCustom"),
    ("cloudflare", "GET .*/zones"),
    ("cloudflare", "POST .*/zones\n"),
    ("cloudflare", "POST .*/batch"),
    ("kumomta", "bump-config-epoch"),
)


@dataclass
class Plan:
    """What goes wrong in one run."""

    seed: int
    gone: bool
    """Whether somebody else takes the name at the last moment."""
    browser: bool
    """Whether the buyer comes back from paying; else Stripe's event alone begins the purchase."""
    kills: list[int]
    faults: list[tuple[str, str, str]]
    automatic: bool = False
    """Whether the price is charged at once and refunded on failure, instead of held."""


def plan(seed: int) -> Plan:
    chance = random.Random(seed)
    return Plan(
        seed=seed,
        gone=chance.random() < 0.15,
        browser=chance.random() < 0.5,
        kills=[chance.randint(1, STEPS) for _ in range(chance.choice((0, 1, 1, 2, 3)))],
        faults=[
            (*chance.choice(CALLS), chance.choice(MODES))
            for _ in range(chance.choice((0, 1, 1, 2)))
        ],
        automatic=chance.random() < 0.25,
    )


@dataclass
class Outcome:
    """What a run has come to, as the providers tell it."""

    seed: int
    ended: str
    """bought, let go, waits for a person, or stuck."""
    complaints: list[str] = field(default_factory=list)
    given_up: bool = False
    """Whether a job was, and the check of the books had to bring the end."""
    died: list[str] = field(default_factory=list)
    steps: int = 0


@contextmanager
def workshop() -> Iterator[Any]:
    """A process that forks workers; `order -> result`."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.billing.crash_worker"],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **UNHURRIED, "LOG_LEVEL": "CRITICAL"},
    ) as made:
        assert made.stdin is not None
        assert made.stdout is not None
        told, orders = made.stdout, made.stdin

        def hire(**order: Any) -> dict[str, Any]:
            orders.write(json.dumps(order) + "\n")
            orders.flush()
            found: dict[str, Any] = json.loads(told.readline())
            return found

        yield hire
        orders.close()


def run(world: Running, hire: Any, wanted: Plan) -> Outcome:
    """One purchase from the confirmed card to its end, and what the providers hold then."""
    dead = _dead_jobs()
    tenant_id, purchase = place_order(world, wanted)
    for part, match, mode in wanted.faults:
        world.fault(part, match, mode)
    if wanted.browser:
        _come_back(purchase)
    outcome = Outcome(wanted.seed, "stuck")
    order = {"tenant_id": str(tenant_id), "control_url": f"{world.sandbox_url}/control"}
    for kill_at in [*wanted.kills, None]:
        result = hire(kill_at=kill_at, **order)
        outcome.steps = max(outcome.steps, result.get("steps", 0))
        if not result["killed"]:
            if result["status"]:
                outcome.complaints.append(f"the worker ended by itself: {result['died']}")
            break
        outcome.died.append(result["died"])
        world.advance(seconds=LEASE_SECONDS)
    httpx.delete(f"{world.sandbox_url}/control/faults", timeout=10)
    if _dead_jobs() > dead:
        # A job whose worker died three times waits for a person; the nightly check need not.
        outcome.given_up = True
        _compare_books(world)
        hire(kill_at=None, **order)
    judge(world, tenant_id, purchase, outcome)
    return outcome


def _dead_jobs() -> int:
    from sqlalchemy import func, select

    from app.database.models import Job, JobState
    from app.database.session import ALL_TENANTS, transaction

    with transaction(tenant=ALL_TENANTS) as db:
        return db.scalar(select(func.count()).where(Job.state == JobState.DEAD)) or 0


def _compare_books(world: Running) -> None:
    """What the calendar does once a day, while nobody looks at what has died."""
    from app import events
    from app.database import outbox
    from app.database.session import ALL_TENANTS, transaction

    world.advance(days=1)
    with transaction(tenant=ALL_TENANTS) as db:
        outbox.record(db, events.BooksDue())


def place_order(world: Running, wanted: Plan) -> tuple[UUID, UUID]:
    """A tenant on trial with an offer whose price is held."""
    from app.database.models import Tenant
    from app.database.session import ALL_TENANTS, transaction
    from app.integrations import ports
    from app.services.billing_service import BillingService
    from app.services.subscription_service import SubscriptionService

    tag = f"{wanted.seed}-{os.getpid()}"
    name = f"{'gone' if wanted.gone else 'crash'}-{tag}.com"
    with transaction(tenant=ALL_TENANTS) as db:
        tenant = Tenant(company_name=f"Crash {tag}", company_email=f"crash-{tag}@crash.example")
        SubscriptionService.create_trial(tenant, db)
        SubscriptionService.open_account(tenant, db, email=tenant.company_email)
    with transaction(tenant=ALL_TENANTS) as db:
        tenant = db.get_one(Tenant, tenant.id)
        providers = ports.current()
        platform = replace(providers.platform, automatic_capture=wanted.automatic)
        purchase, intent = BillingService.request_domain_purchase(
            tenant, name, 1, db, providers=replace(providers, platform=platform)
        )
    httpx.post(
        f"{world.sandbox_url}/stripe/v1/payment_intents/{intent.id}/confirm",
        data={"client_secret": intent.client_secret, "payment_method": "pm_card_visa"},
        headers={"Authorization": "Bearer pk_test_sandbox"},
        timeout=30,
    ).raise_for_status()
    return tenant.id, purchase.id


def _come_back(purchase_id: UUID) -> None:
    """What the endpoint does; a provider that fails just now is told to the browser."""
    from app import errors
    from app.database.models import DomainPurchase, Tenant
    from app.database.session import ALL_TENANTS, transaction
    from app.services.domain_service import DomainService

    try:
        with transaction(tenant=ALL_TENANTS) as db:
            purchase = db.get_one(DomainPurchase, purchase_id)
            tenant = db.get_one(Tenant, purchase.tenant_id)
            DomainService.request_purchase(tenant, purchase, db)
    except errors.ProviderUnavailable:
        pass


def judge(world: Running, tenant_id: UUID, purchase_id: UUID, outcome: Outcome) -> None:
    from sqlalchemy import select

    from app.database.models import Domain, DomainPurchase, Job, JobState, OperatorAlert, Tenant
    from app.database.session import ALL_TENANTS, transaction
    from app.integrations import ports
    from app.services import reconciliation

    with transaction(tenant=ALL_TENANTS) as db:
        tenant, purchase = db.get_one(Tenant, tenant_id), db.get_one(DomainPurchase, purchase_id)
        domain = None if purchase.domain_id is None else db.get_one(Domain, purchase.domain_id)
        dead = db.scalars(
            select(Job.task).where(Job.tenant_id == tenant_id, Job.state == JobState.DEAD)
        ).all()
        alerts = db.scalars(
            select(OperatorAlert.kind).where(OperatorAlert.about_tenant_id == tenant_id)
        ).all()
        books = reconciliation.audit(tenant, db, ports.current().payments)
    name, customer = purchase.domain_name, str(tenant.stripe_customer_id)
    orders = _orders(world, name)
    charges = [one for one in _at_stripe(world, "charges", customer=customer) if one["captured"]]
    intents = _at_stripe(world, "payment_intents", customer=customer)
    taken = sum(one["amount_captured"] - one["amount_refunded"] for one in charges)
    held = [one["id"] for one in intents if one["status"] == "requires_capture"]
    complain = outcome.complaints.append
    if len(charges) > 1 or taken > purchase.price_cents:
        complain(f"double charge: {len(charges)} charges, {taken} cents")
    if orders > 1:
        complain(f"double registration: {orders}")
    visible = bool(dead or alerts or purchase.state == "loss")
    status = None if domain is None else str(domain.status)
    if status == "active" and orders == 1 and taken == purchase.price_cents and not held:
        outcome.ended = "bought"
    elif orders == 0 and taken == 0 and not held and status in {"failed", None}:
        outcome.ended = "let go"
    elif visible:
        outcome.ended = "waits for a person"
    else:
        complain(
            f"stuck: domain {status}, purchase {purchase.state}, {orders} orders, {taken} cents,"
            f" held {held}"
        )
    if taken and not orders and not visible:
        complain("charged without a domain or a cancellation")
    if outcome.ended != "waits for a person" and not books.balances:
        complain(f"the books do not balance: {books}")


def _orders(world: Running, name: str) -> int:
    url = f"{world.sandbox_url}/control/namecheap/orders"
    return str(httpx.get(url, timeout=30).json()["orders"]).count(f"'{name}'")


def _at_stripe(world: Running, kind: str, **query: str) -> list[dict[str, Any]]:
    answer = httpx.get(
        f"{world.sandbox_url}/stripe/v1/{kind}",
        params=query,
        headers={"Authorization": "Bearer sk_test_sandbox"},
        timeout=30,
    )
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


# The measurement ----------------------------------------------------------------------------------


def many(seeds: list[int]) -> list[Outcome]:
    """A world of its own for these runs."""
    os.environ["LOG_LEVEL"] = "CRITICAL"
    outcomes = []
    with stage() as world, workshop() as hire:
        for seed in seeds:
            outcomes.append(run(world, hire, plan(seed)))
            if len(outcomes) % 25 == 0:
                bad = sum(bool(one.complaints) for one in outcomes)
                print(f"{len(outcomes)} of {len(seeds)}, {bad} with complaints", flush=True)
    return outcomes


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    processes = min(PROCESSES, runs)
    began = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        shares = [list(range(n, runs, processes)) for n in range(processes)]
        outcomes = [one for share in pool.map(many, shares, chunksize=1) for one in share]
    died = Counter(where for one in outcomes for where in one.died)
    complaints = [f"run {one.seed}: {why}" for one in outcomes for why in one.complaints]

    def count(what: str) -> int:
        return sum(what in why for why in complaints)

    quiet = [one.steps for one in outcomes if not one.died]
    print(
        json.dumps(
            {
                "runs": len(outcomes),
                "kills": sum(died.values()),
                "different places of death": len(died),
                "charged at once": sum(plan(one.seed).automatic for one in outcomes),
                "provider faults": sum(len(plan(one.seed).faults) for one in outcomes),
                "jobs given up": sum(one.given_up for one in outcomes),
                "ended": dict(Counter(one.ended for one in outcomes)),
                "double charges": count("double charge"),
                "charges without a domain or a cancellation": count("charged without"),
                "double registrations": count("double registration"),
                "stuck orders": count("stuck"),
                "books that do not balance": count("do not balance"),
                "other complaints": count("ended by itself"),
                "edges of a purchase": max(quiet, default=0),
                "seconds": round(time.perf_counter() - began, 1),
            },
            indent=1,
        )
    )
    for where, times in sorted(died.items()):
        print(f"  {times:5} {where}")
    for complaint in complaints[:30]:
        print(complaint)
    raise SystemExit(1 if complaints else 0)


if __name__ == "__main__":
    main()
