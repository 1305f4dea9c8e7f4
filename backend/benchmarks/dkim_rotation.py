"""`python -m benchmarks.dkim_rotation`: mail through the replacement of several names' keys.

Every name sends to four receivers after each step of its rotation, and to one that takes mail at a
second try, so that it is delivered after the switch with the signature of before. Receivers look up
keys by DNS and verify with dkimpy. The days between the steps are skipped; the seconds are those
that all names together take for a step, the mail between the steps not counted. Prints JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stdout
from itertools import cycle
from typing import Any
from uuid import UUID

import httpx

from tests.fixtures.customer import Customer
from tests.fixtures.world import eventually

DOMAINS = 4
INBOXES = 12
RECEIVERS = ("gmail.test", "outlook.test", "yahoo.test", "corp.test")


def main() -> None:
    from benchmarks.billing.stage import newcomer, stage

    # The log goes where it does not mix with the figures.
    with redirect_stdout(sys.stderr), stage() as world:
        figures = run(newcomer(world))
    print(json.dumps(figures, indent=2))


def run(customer: Customer) -> dict[str, Any]:
    _pays(customer)
    names = [Name(customer, number) for number in range(DOMAINS)]
    _restore()
    seconds: dict[str, float] = {}

    def step(stage: str, begin: Callable[[], None]) -> None:
        began = time.perf_counter()
        begin()
        customer.settle(lambda: all(name.stage() == stage for name in names), within=120, why=stage)
        seconds[stage] = round(time.perf_counter() - began, 2)
        for name in names:
            name.send()

    def all_rotate() -> None:
        for name in names:
            name.rotate()

    for name in names:
        name.send()
        name.send_late()
    step("keeping", all_rotate)
    step("revoked", lambda: _later(customer, 7))
    step("done", lambda: _later(customer, 2.1))
    sent = sum(name.sent for name in names)
    found = eventually(
        lambda: (m := _received(customer)) and len(m) == sent and m,
        within=60,
        why="all mail has arrived",
    )
    return {
        "domains": DOMAINS,
        "mails": sent,
        "delivered": len(found),
        "dkim": dict(Counter(m["dkim"] for m in found)),
        "signed_before_delivered_after_the_switch": sum("late" in m["subject"] for m in found),
        "selectors": dict(Counter(m["dkim_selector"] for m in found)),
        "seconds_for_all_names": seconds,
    }


class Name:
    """A name that sends."""

    def __init__(self, customer: Customer, number: int) -> None:
        self._customer = customer
        bought = customer.buy_domain(f"rotating-{number}-{customer.tag}.com")
        self._path = f"/domains/{bought['id']}"
        # In turn, so that none comes to its limit of an hour.
        self._rows = cycle(customer.provision(bought["id"], INBOXES))
        self.sent = 0

    def rotate(self) -> None:
        self._customer.post(f"{self._path}/rotate-dkim")

    def stage(self) -> str:
        (rotation,) = self._customer.get(f"{self._path}/dkim")["rotations"]
        return str(rotation["stage"])

    def send(self) -> None:
        for receiver in RECEIVERS:
            self._send(f"ann@{receiver}", "at once")

    def send_late(self) -> None:
        self._send("greylist@gmail.test", "late")

    def _send(self, to: str, when: str) -> None:
        self._customer.send(next(self._rows), to, f"rotation {self._customer.tag} {when}")
        self.sent += 1


def _received(customer: Customer) -> list[dict[str, Any]]:
    answer = httpx.get(
        f"{customer.world.sandbox_url}/mail/messages",
        params={"subject": f"rotation {customer.tag}", "limit": 1000},
        timeout=20,
    )
    found: list[dict[str, Any]] = answer.json()["messages"]
    return found


def _later(customer: Customer, days: float) -> None:
    customer.world.advance(days=days)
    customer.sign_in_again()


def _restore() -> None:
    """What the calendar does for a relay that finds its Redis empty, as it is in the beginning."""
    from app.database.session import ALL_TENANTS, transaction
    from app.integrations import ports
    from app.services import directory_repair

    with transaction(tenant=ALL_TENANTS) as db:
        directory_repair.reconcile(db, ports.current().mail)


def _pays(customer: Customer) -> None:
    """A plan with room for several names."""
    from app.database.models import Plan, SubscriptionStatus, Tenant
    from app.database.session import ALL_TENANTS, transaction

    with transaction(tenant=ALL_TENANTS) as db:
        tenant = db.get_one(Tenant, UUID(customer.tenant_id))
        tenant.subscription_tier = Plan.GROWTH
        tenant.subscription_status = SubscriptionStatus.ACTIVE
        tenant.trial_converted = True


if __name__ == "__main__":
    main()
