"""`python -m benchmarks.billing_replay [orders]`: recorded lives in random orders, one ledger each.

Ten lives were lived through the product and recorded (benchmarks/billing/lives.py). Each is told
again from its events: late, doubled, shuffled, some dropped and redelivered at the end. Meanwhile
Stripe's present goes on: whoever asks it sees the objects as they were at that moment of the life,
half-way states included. Whatever the order, the ledger must be the recorded one, to the hash.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from benchmarks.billing import lives
from benchmarks.billing.lives import Life
from benchmarks.billing.stage import databases

ORDERS = 10_000
PROCESSES = 4


@dataclass(frozen=True)
class Step:
    """Either the life goes on by one event, or an event of the past is delivered."""

    event: int
    delivered: bool


def order(count: int, seed: int) -> Iterator[Step]:
    """One random order of `count` events: each happens once, in its time, and comes at least once.

    How late things come differs from order to order, from almost at once to all at the very end.
    """
    chance = random.Random(seed)
    eagerness = chance.choice((0.05, 0.3, 0.5, 0.7, 0.95))
    doubled, dropped = chance.choice((0.0, 0.3, 1.0)), chance.choice((0.0, 0.2, 0.5))
    under_way: list[int] = []
    lost: list[int] = []
    happened = 0
    while happened < count or under_way:
        if under_way and (happened == count or chance.random() < eagerness):
            event = under_way.pop(chance.randrange(len(under_way)))
            if event >= 0 and chance.random() < dropped:
                lost.append(event)
            else:
                yield Step(abs(event) - 1 if event < 0 else event, delivered=True)
            continue
        yield Step(happened, delivered=False)
        # A copy is written as a negative number, because only the original may be dropped: what
        # was dropped is certain to come again.
        under_way += [happened] + [-happened - 1] * (chance.random() < doubled)
        happened += 1
    chance.shuffle(lost)
    for event in lost:
        yield Step(event, delivered=True)


class Replay:
    """One life, made ready to be told again and again in one database."""

    def __init__(self, life: Life, clock_file: Path) -> None:
        from app.services import stripe_events
        from benchmarks.billing.recorded import RecordedStripe

        self._life, self._clock_file = life, clock_file
        self._stripe = RecordedStripe(life["events"])
        self._told = [
            n for n, event in enumerate(life["events"]) if event["type"] in stripe_events.HANDLERS
        ]

    def run(self, seed: int) -> str | None:
        """Tell the life in the order of `seed`; None when the books are the recorded ones."""
        from sqlalchemy.orm import Session

        from app.database.session import ALL_TENANTS, engine, scope
        from app.services import ledger

        handled = 0
        with engine.connect() as connection, connection.begin() as everything:
            tenant_id = UUID(self._life["tenant"]["id"])

            def session() -> Session:
                # A savepoint for each event, and nothing of it stays: the next order starts anew.
                made = Session(
                    connection,
                    expire_on_commit=False,
                    join_transaction_mode="create_savepoint",
                )
                scope(made, ALL_TENANTS)
                return made

            self._stripe.present = 0
            self._be_at(0)
            with session() as db, db.begin():
                self._begin(db)
            for step in order(len(self._told), seed):
                event = self._told[step.event]
                if not step.delivered:
                    self._be_at(event)
                    continue
                handled += 1
                with session() as db, db.begin():
                    self._deliver(db, event)
            with session() as db:
                movements = ledger.read(tenant_id, db)
                standing = self._standing(db, tenant_id)
            everything.rollback()
        self.handled = handled
        if ledger.fingerprint(movements) != self._life["fingerprint"]:
            return f"{self._life['name']}, order {seed}: another ledger, {len(movements)} movements"
        if standing != self._life["standing"]:
            return f"{self._life['name']}, order {seed}: {standing}, not {self._life['standing']}"
        return None

    def _be_at(self, event: int) -> None:
        """Stripe shows what was so after `event`, and the one clock says that moment."""
        # Between two events told to us others may have happened: up to the next one all have.
        later = [n for n in self._told if n > event]
        present = later[0] - 1 if later else len(self._life["events"]) - 1
        self._stripe.present = max(self._stripe.present, present)
        moment = self._life["events"][event]["created"]
        self._clock_file.write_text(f"{moment + 1 - time.time()}\n")

    def _begin(self, db: Any) -> None:
        """The tenant as it was after sign-up, and the offers it was to get."""
        from app.database.models import DomainPurchase, Tenant
        from app.services.subscription_service import SubscriptionService

        known = self._life["tenant"]
        tenant = Tenant(
            id=UUID(known["id"]),
            company_name="Recorded",
            company_email="owner@recorded.example",
            stripe_customer_id=known["stripe_customer_id"],
        )
        SubscriptionService.create_trial(tenant, db)
        tenant.trial_ends_at = datetime.fromtimestamp(known["trial_ends_at"], UTC)
        for offer in self._life["offers"]:
            values = {
                **offer,
                "id": UUID(offer["id"]),
                "expires_at": datetime.fromtimestamp(offer["expires_at"], UTC),
            }
            db.add(DomainPurchase(tenant_id=tenant.id, signature=b"", **values))

    def _deliver(self, db: Any, number: int) -> None:
        from app.database.models import ProviderEvent, new_id
        from app.services import stripe_events

        event = self._life["events"][number]
        row = ProviderEvent(
            id=new_id(),
            provider="stripe",
            # The unique id keeps a second delivery out of the table; here it is to be handled.
            provider_id=f"{event['id']}:{new_id()}",
            event_type=event["type"],
            occurred_at=datetime.fromtimestamp(event["created"], UTC),
            payload=event,
        )
        stripe_events.apply(db, row, self._stripe)

    @staticmethod
    def _standing(db: Any, tenant_id: UUID) -> list[Any]:
        from app.database.models import Tenant

        tenant = db.get_one(Tenant, tenant_id)
        return [
            str(tenant.subscription_status),
            str(tenant.subscription_tier),
            tenant.trial_converted,
            tenant.suspension_reason,
        ]


# The measurement ----------------------------------------------------------------------------------


def prepare(folder: Path) -> Path:
    """Follow a clock of our own; the file that moves it."""
    from app import clock

    file = folder / "clock"
    file.write_text("0\n")
    clock.follow(file)
    return file


def work(seeds: range, results: multiprocessing.Queue[tuple[int, list[str]]]) -> None:
    """Tell one order for each seed, in a database of this process's own, and say how it went."""
    quieten()
    # Lives share cards and days; in one database they would wait for each other.
    with databases(), tempfile.TemporaryDirectory() as folder:
        replays = ready(Path(folder))
        for seed in seeds:
            replay = replays[seed % len(replays)]
            found = replay.run(seed)
            results.put((replay.handled, [] if found is None else [found]))


def ready(folder: Path) -> list[Replay]:
    file = prepare(folder)
    return [Replay(life, file) for life in lives.read()]


def main() -> None:
    orders = int(sys.argv[1]) if len(sys.argv) > 1 else ORDERS
    os.environ["LOG_LEVEL"] = "CRITICAL"
    began, told = time.perf_counter(), lives.read()
    # Fresh processes, because a forked one would share this one's connections.
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[tuple[int, list[str]]] = context.Queue()
    workers = [
        context.Process(target=work, args=(range(n, orders, PROCESSES), results))
        for n in range(PROCESSES)
    ]
    for worker in workers:
        worker.start()
    handled, wrong, done = 0, [], 0
    while done < orders:
        count, found = results.get(timeout=600)
        handled, wrong, done = handled + count, wrong + found, done + 1
        if done % 500 == 0:
            print(f"{done} of {orders} orders", file=sys.stderr, flush=True)
    for worker in workers:
        worker.join()
    seconds = time.perf_counter() - began
    print(
        json.dumps(
            {
                "lives": len(told),
                "movements": sum(life["movements"] for life in told),
                "orders": orders,
                "events handled": handled,
                "other ledgers": len(wrong),
                "seconds": round(seconds, 1),
            }
        )
    )
    for one in wrong[:20]:
        print(one)
    raise SystemExit(1 if wrong else 0)


def quieten() -> None:
    """Alerts to operators are logged as errors; ten thousand lives have many."""
    from app.utils import monitoring

    monitoring.configure(
        level="CRITICAL", fmt="json", sentry_dsn=None, release="bench", environment="test"
    )


if __name__ == "__main__":
    main()
