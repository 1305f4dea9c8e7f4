"""`python -m benchmarks.domain_bulk [NAMES]`: many names bought and set up within real limits.

The sandbox enforces what the registrar and the DNS provider allow: 20 calls in a minute, 700 in an
hour, 8,000 in a day at the one (beyond it HTTP 405), 1,200 requests in five minutes at the other
(beyond it five minutes of HTTP 429). One tenant orders all names at once; jobs run in this process,
and whenever all of them wait, the clock of product and sandbox moves to the next that is due. The
time told is the clock's, the calls are those that the providers saw.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from datetime import timedelta
from typing import Any
from uuid import UUID

from app.integrations.namecheap_limits import RateLimit
from tests.fixtures.customer import Customer
from tests.fixtures.world import Running

NAMES = 500
LONGEST = timedelta(days=3)


def main() -> None:
    from benchmarks.billing.stage import newcomer, stage

    names = int(sys.argv[1]) if len(sys.argv) > 1 else NAMES
    # Nobody sleeps here: whoever finds no room is put off, and the clock moves on.
    RateLimit.patience = 0.0
    with stage(hurried=False) as world:
        print(json.dumps(run(world, newcomer(world), names), indent=2))


def run(world: Running, customer: Customer, names: int) -> dict[str, Any]:
    """What the providers saw of it, and how long it took on the product's clock."""
    from app import clock

    customer.add_card()
    customer.upgrade("enterprise")
    customer.drain()
    world.control("namecheap/settings", limits="real", balance="1000000.00")
    world.control("cloudflare/settings", requests="real")
    world.sandbox.delete("/control/namecheap/calls").raise_for_status()
    served = _requests(world)
    started, began = clock.now(), time.perf_counter()
    ids = [_order(world, customer, f"bulk{number}-{customer.tag}.com") for number in range(names)]
    ordered = clock.now()
    ran = _work(world, started + LONGEST)
    counted = world.sandbox.get("/control/namecheap/calls").json()["counted"]
    commands: Counter[str] = Counter()
    for row in counted:
        commands[row["command"].removeprefix("namecheap.")] += row["count"]
    turned_away = sum(row["count"] for row in counted if row["outcome"] == "405")
    refused, asked = _requests(world, refused=True), _requests(world)
    states, dead = _states(ids)
    return {
        "names": names,
        "states": dict(states),
        "dead_jobs": dead,
        "hours_until_all_were_ordered": round((ordered - started) / timedelta(hours=1), 2),
        "hours_until_all_were_active": round((clock.now() - started) / timedelta(hours=1), 2),
        "registrar": {
            "calls_per_name": round(commands.total() / names, 2),
            "by_command": dict(commands.most_common()),
            "refused_405": turned_away,
        },
        "dns_provider": {
            "calls_per_name": round((asked - served) / names, 2),
            "refused_429": refused,
        },
        "jobs_run": ran,
        "seconds_of_this_machine": round(time.perf_counter() - began, 1),
    }


def _order(world: Running, customer: Customer, name: str) -> UUID:
    """As a person does it: an offer, a card, the order; the name's id. Waits when it must."""
    from app import errors
    from app.database.models import DomainPurchase, Tenant
    from app.database.session import transaction
    from app.services.billing_service import BillingService
    from app.services.domain_service import DomainService

    tenant_id = UUID(customer.tenant_id)
    while True:
        try:
            with transaction(tenant=tenant_id) as db:
                tenant = db.get_one(Tenant, tenant_id)
                purchase, intent = BillingService.request_domain_purchase(tenant, name, 1, db)
                offer = {
                    "purchase_id": str(purchase.id),
                    "payment_intent_id": intent.id,
                    "client_secret": intent.client_secret,
                    "publishable_key": "pk_test_sandbox",
                }
            break
        except errors.ProviderUnavailable as wait:
            world.advance(seconds=float(wait.details.get("retry_after", 5)) + 0.1)
            print(f"{name} waits for {wait.details}", file=sys.stderr)
    customer.confirm("payment_intent", offer).raise_for_status()
    with transaction(tenant=tenant_id) as db:
        purchase = db.get_one(DomainPurchase, UUID(offer["purchase_id"]))
        return DomainService.request_purchase(db.get_one(Tenant, tenant_id), purchase, db).id


def _work(world: Running, until: Any) -> int:
    """Run every job, moving the clock to the next whenever all wait; how many runs that were."""
    from sqlalchemy import func, select

    from app import clock
    from app.database.models import Job, JobState
    from app.database.session import ALL_TENANTS, transaction
    from app.tasks import celery_app, jobs, relay  # noqa: F401  # Registers every task.

    ran = 0
    batch: list[UUID] = []
    while clock.now() < until:
        batch.clear()
        relay.sweep(lambda _, job_id: batch.append(job_id))
        for job_id in batch:
            jobs.run(job_id)
        ran += len(batch)
        print(f"{clock.now():%d %H:%M:%S} {ran} runs", file=sys.stderr)
        if batch:
            continue
        with transaction(tenant=ALL_TENANTS) as db:
            due = db.scalar(
                select(func.min(Job.next_try_at)).where(
                    Job.state.in_([JobState.WAITING, JobState.SENT])
                )
            )
        if due is None:
            return ran
        world.advance(seconds=max(0.001, (due - clock.now()).total_seconds() + 0.001))
    return ran


def _states(ids: list[UUID]) -> tuple[Counter[str], int]:
    from sqlalchemy import func, select

    from app.database.models import Domain, Job, JobState
    from app.database.session import ALL_TENANTS, transaction

    with transaction(tenant=ALL_TENANTS) as db:
        rows = db.scalars(select(Domain.status).where(Domain.id.in_(ids)))
        dead = select(func.count()).where(Job.state == JobState.DEAD)
        return Counter(str(status) for status in rows), db.scalar(dead) or 0


def _requests(world: Running, *, refused: bool = False) -> int:
    """How many the DNS provider was sent, or sent away."""
    told = world.sandbox.get("/control/cloudflare/requests").json()
    return int(told["refused" if refused else "served"])


if __name__ == "__main__":
    main()
