"""`python -m benchmarks.celery_kill [--tasks 400] [--frozen 20] [--only ROW …]`: nothing is lost.

The whole product runs by `inboxgrove up`. For each row of the matrix so many refunds of one cent
are asked for in one transaction: outbox rows, each of which becomes a job whose effect is money
given back at Stripe, a line in the ledger and a second job, which mails a receipt. When a quarter
is done the row's disturbance strikes. At the end Stripe's refunds, the ledger's lines and the mails
in the customer's mailbox are counted. A refund carries its key, so that a repeat is none; a mail
has no such thing, only the same Message-ID, by which a mailbox knows it again: those repeats have a
column. Exit code 1 when one effect is missing or there twice.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from signal import SIGCONT, SIGINT, SIGKILL, SIGQUIT, SIGSTOP, SIGTERM

from benchmarks.faults.customer import sign_up, stripe_list
from benchmarks.faults.refunds import Books, Counts
from benchmarks.faults.stack import BROKER, DATABASE, RELAY, WORKER, Stack, running

TASKS, FROZEN_SECONDS = 400, 20.0
STRIKE_AT = 0.25
PATIENCE_SECONDS = 400.0
"""Longer than the broker keeps a message that nobody acknowledged."""

Disturbance = Callable[[Stack, float], None]
"""Strikes, waits for the given seconds where it freezes something, and ends."""


def nothing(_: Stack, __: float) -> None:
    """The floor of the other rows."""


def kill(title: str, sig: signal.Signals = SIGKILL) -> Disturbance:
    def strike(stack: Stack, _: float) -> None:
        stack.signal_group(title, sig)

    return strike


def freeze(title: str) -> Disturbance:
    def strike(stack: Stack, seconds: float) -> None:
        stack.signal_group(title, SIGSTOP)
        time.sleep(seconds)
        stack.signal_group(title, SIGCONT)

    return strike


def kill_child(stack: Stack, _: float) -> None:
    stack.signal_one(stack.children(WORKER)[0], SIGKILL)


def freeze_child(stack: Stack, seconds: float) -> None:
    child = stack.children(WORKER)[0]
    stack.signal_one(child, SIGSTOP)
    time.sleep(seconds)
    stack.signal_one(child, SIGCONT)


def wipe_broker(stack: Stack, _: float) -> None:
    """Killed, and its disk lost before it starts again."""
    stack.signal_group(BROKER, SIGKILL)
    stack.forget_broker()


ROWS: dict[str, Disturbance] = {
    "nothing": nothing,
    "worker killed": kill(WORKER),
    "pool child killed": kill_child,
    "broker killed": kill(BROKER),
    "broker killed, its data lost": wipe_broker,
    "worker frozen": freeze(WORKER),
    "pool child frozen": freeze_child,
    "broker frozen": freeze(BROKER),
    "relay killed": kill(RELAY),
    "relay frozen": freeze(RELAY),
    "PostgreSQL restarted": kill(DATABASE, SIGINT),
    "PostgreSQL crashed": kill(DATABASE, SIGQUIT),
}


@dataclass(frozen=True)
class Row:
    title: str
    counts: Counts
    took: float
    """Seconds from the request to the last job."""
    healed: float
    """Seconds from the end of the disturbance to the first job done afterwards."""
    done: float
    """Seconds from the end of the disturbance to the last job."""

    def is_right(self, tasks: int) -> bool:
        return self.counts.are_exactly(tasks)

    def line(self, tasks: int) -> str:
        c = self.counts
        cells = [
            *(self.title, tasks - c.done, c.refunds, c.refunds - c.refunded, c.lines),
            *(c.mailed, c.mails - c.mailed),
            *(f"{seconds:.1f} s" for seconds in (self.healed, self.done, self.took)),
        ]
        return f"| {' | '.join(str(cell) for cell in cells)} |"


HEAD = """| struck | tasks lost | effects at Stripe | doubled | ledger lines | mails | repeated | \
healed after | all done after | whole row |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=TASKS)
    parser.add_argument("--frozen", type=float, default=FROZEN_SECONDS, help="seconds")
    parser.add_argument("--only", nargs="+", choices=list(ROWS), default=list(ROWS))
    asked = parser.parse_args()
    # Also who is told to end leaves nothing behind.
    signal.signal(SIGTERM, lambda *_: sys.exit(143))
    wrong = []
    with running() as stack:
        os.environ |= stack.environment
        customer = sign_up(stack)
        paid = stripe_list(stack, "payment_intents")
        intent = next(each["id"] for each in paid if each["amount_received"] > 0)
        books = Books(stack, customer, intent)
        print(HEAD, flush=True)
        for title in asked.only:
            row = measure(stack, books, title, asked.tasks, asked.frozen)
            print(row.line(asked.tasks), flush=True)
            if not row.is_right(asked.tasks):
                wrong.append(title)
    print(f"\nwrong: {', '.join(wrong) or 'none'}")
    return 1 if wrong else 0


def measure(stack: Stack, books: Books, title: str, tasks: int, frozen: float) -> Row:
    cause = f"{title} {time.time():.0f}"
    began = time.time()
    books.ask(cause, tasks)
    books.until(lambda: books.finished(cause) >= tasks * STRIKE_AT, PATIENCE_SECONDS)
    ROWS[title](stack, frozen)
    ended = time.time()
    books.until(lambda: books.is_over(cause, tasks), PATIENCE_SECONDS)
    first, last = books.between(cause, ended)
    counts = books.count(cause)
    return Row(title, counts, last - began, max(0.0, first - ended), max(0.0, last - ended))


if __name__ == "__main__":
    sys.exit(main())
