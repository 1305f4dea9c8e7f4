"""`python -m benchmarks.outage [--seconds 60] [--only DEPENDENCY …] [--how MODE …]`.

The whole product under a steady load of some forty requests a second: reads, inboxes made, paused
and resumed, names searched and bought, mail submitted. Each dependency is in turn refused, frozen,
failing and slow for so many seconds, by a TCP proxy before it or, the worker, by signals. For each
cell: what users saw, how long after the end the last of them saw an error, how long until all that
had been accepted by a 2xx or a 250 was done, and what of it was lost. Exit code 1 when something
was lost, an invariant is broken, or users still see errors two minutes after the end.
"""

from __future__ import annotations

import argparse
import csv
import io
import secrets
import signal
import smtplib
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM

from app.embedded import EmbeddedPostgres, EmbeddedValkey
from app.embedded.ports import HOST, free_ports
from app.embedded.process import wait_until
from benchmarks.faults.customer import sign_up
from benchmarks.faults.duty import Duty
from benchmarks.faults.load import TOGGLERS, Accepted, Estate, Load
from benchmarks.faults.proxy import FAILING, FROZEN, OPEN, REFUSED, SLOW, Proxy, house
from benchmarks.faults.stack import WORKER, Stack, running
from demo.smtp import Inbox, compose, login
from demo.world import Addresses, wait_for

SECONDS = 60.0
MODES = (REFUSED, FROZEN, FAILING, SLOW)
BEFORE_SECONDS, CALM_SECONDS = 3.0, 5.0
HEAL_SECONDS, WORK_SECONDS = 120.0, 300.0
SENDING = 800


class Outages:
    """Each dependency's proxies, and the worker's signals."""

    def __init__(self, proxies: dict[str, list[Proxy]], stack: Stack) -> None:
        self._proxies, self._stack = proxies, stack

    def hold(self, dependency: str, mode: str, seconds: float) -> None:
        """Out of order for so long, and in order again."""
        if dependency == "worker":
            self._worker(mode, time.monotonic() + seconds)
            return
        for proxy in self._proxies[dependency]:
            proxy.be(mode)
        time.sleep(seconds)
        for proxy in self._proxies[dependency]:
            proxy.be(OPEN)

    def _worker(self, mode: str, until: float) -> None:
        """Refused: killed whenever it is there. Failing: a child of its pool dies each second.
        Slow: it may run a tenth of the time."""
        stack = self._stack
        while (left := until - time.monotonic()) > 0:
            if mode == REFUSED:
                stack.signal_group(WORKER, SIGKILL)
                time.sleep(min(0.1, left))
            elif mode == FAILING:
                for child in stack.children(WORKER)[:1]:
                    stack.signal_one(child, SIGKILL)
                time.sleep(min(1.0, left))
            else:
                stack.signal_group(WORKER, SIGSTOP)
                time.sleep(left if mode == FROZEN else min(0.9, left))
                stack.signal_group(WORKER, SIGCONT)
                if mode == SLOW:
                    time.sleep(0.1)


@dataclass(frozen=True)
class Cell:
    dependency: str
    mode: str
    requests: int
    errors: Counter[tuple[str, str]]
    """Bad answers by what was asked and the status."""
    worst: float
    median: float
    healed: float
    done: float
    lost: list[str]
    broken: list[str]

    @property
    def is_right(self) -> bool:
        return not self.lost and not self.broken and self.healed < HEAL_SECONDS

    def line(self) -> str:
        kinds = [f"{what} {status}: {n}" for (what, status), n in sorted(self.errors.items())]
        cells = [
            *(self.dependency, self.mode, self.requests, "; ".join(kinds) or "no error"),
            *(f"{self.median * 1000:.0f} ms", f"{self.worst:.1f} s"),
            *(f"{self.healed:.1f} s", f"{self.done:.1f} s", len(self.lost), len(self.broken)),
        ]
        return f"| {' | '.join(str(cell) for cell in cells)} |"


HEAD = """| dependency | is | requests | bad answers | median | worst | last error after | \
all work done after | lost | invariants broken |
|---|---|---:|---|---:|---:|---:|---:|---:|---:|"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each outage")
    parser.add_argument("--only", nargs="+", metavar="DEPENDENCY")
    parser.add_argument("--how", nargs="+", choices=MODES, default=MODES)
    asked = parser.parse_args()
    # Also who is told to end leaves nothing behind.
    signal.signal(SIGTERM, lambda *_: sys.exit(143))
    wrong = []
    with stage() as (stack, proxies, duty):
        estate = settle(stack, duty, proxies["KumoMTA node"][1].port)
        outages = Outages(proxies, stack)
        print(HEAD, flush=True)
        for dependency in asked.only or [*list(proxies)[:2], "worker", *list(proxies)[2:]]:
            for mode in asked.how:
                cell = measure(outages, estate, duty, dependency, mode, asked.seconds)
                print(cell.line(), flush=True)
                if not cell.is_right:
                    wrong.append(f"{dependency} {mode}: {cell.lost[:5]} {cell.broken[:5]}")
    print("\nwrong: " + ("; ".join(wrong) or "none"))
    return 1 if wrong else 0


def measure(
    outages: Outages, estate: Estate, duty: Duty, dependency: str, mode: str, seconds: float
) -> Cell:
    with Load(estate, secrets.token_hex(3), buy_every=max(4.0, seconds / 6)) as load:
        time.sleep(BEFORE_SECONDS)
        outages.hold(dependency, mode, seconds)
        over = time.monotonic()
        promised, done = load.accepted.so_far(), WORK_SECONDS

        def is_kept() -> bool:
            nonlocal done
            if done == WORK_SECONDS and not duty.undone(promised, load.tag):
                done = time.monotonic() - over
            return done < WORK_SECONDS

        def is_calm() -> bool:
            is_kept()
            return time.monotonic() - load.last_bad(over) > CALM_SECONDS

        wait_until(is_calm, HEAL_SECONDS, every=0.2)
        healed = load.last_bad(over) - over
    wait_until(
        lambda: is_kept() and not duty.undone(load.accepted, load.tag), WORK_SECONDS, every=0.5
    )
    lost = duty.undone(load.accepted, load.tag)
    broken = duty.broken()
    if broken:
        # A job may be under way this very moment.
        wait_until(lambda: not duty.broken(), 60.0, every=5.0)
        broken = duty.broken()
    times = sorted(seen.ended - seen.began for seen in load.seen)
    return Cell(
        dependency=dependency,
        mode=mode,
        requests=len(load.seen),
        errors=Counter((seen.what, seen.status) for seen in load.seen if not seen.good),
        worst=times[-1],
        median=times[len(times) // 2],
        healed=healed,
        done=done,
        lost=lost,
        broken=broken,
    )


@contextmanager
def stage() -> Iterator[tuple[Stack, dict[str, list[Proxy]], Duty]]:
    """The product, with a proxy before each thing it depends on."""
    with ExitStack() as left:
        folder = Path(left.enter_context(tempfile.TemporaryDirectory(prefix="inboxgrove-outage-")))
        postgres = left.enter_context(EmbeddedPostgres(folder / "postgres", port=0, fast=True))
        valkey = left.enter_context(EmbeddedValkey(folder / "valkey", port=0))
        at = left.enter_context(house())
        sandbox, submission, *ours = free_ports(8)
        proxies = {
            "PostgreSQL": [at.add(ours[0], postgres.port, "postgresql", 0.1)],
            "Redis": [at.add(ours[1], valkey.port, "redis", 0.2)],
            "Stripe": [at.add(ours[2], sandbox, "http", 3.0)],
            "Namecheap": [at.add(ours[3], sandbox, "http", 3.0)],
            "Cloudflare": [at.add(ours[4], sandbox, "http", 3.0)],
            # Its orders, and its customers' mail.
            "KumoMTA node": [
                at.add(ours[5], sandbox, "http", 3.0),
                at.add(free_ports(1)[0], submission, "smtp", 0.5),
            ],
        }
        urls = {name: f"http://{HOST}:{found[0].port}" for name, found in proxies.items()}
        stack = left.enter_context(
            running(
                DATABASE_URL=postgres.url.replace(f":{postgres.port}/", f":{ours[0]}/"),
                REDIS_URL=valkey.url.replace(f":{valkey.port}/", f":{ours[1]}/"),
                SANDBOX_PORT=str(sandbox),
                SUBMISSION_PORT=str(submission),
                STRIPE_API_BASE=f"{urls['Stripe']}/stripe",
                NAMECHEAP_API_URL=f"{urls['Namecheap']}/namecheap/xml.response",
                CLOUDFLARE_API_URL=f"{urls['Cloudflare']}/cloudflare/client/v4",
                KUMO_ADMIN_URLS=f"{urls['KumoMTA node']}/kumomta",
            )
        )
        database = postgres.url.rpartition("/")[2]
        yield stack, proxies, Duty(stack, postgres.admin_url.rpartition("/")[0] + f"/{database}")


def settle(stack: Stack, duty: Duty, submission: int) -> Estate:
    """A customer with a name and inboxes, which send through the proxy."""
    customer = sign_up(stack)
    domain_id = customer.buy_domain(f"bench-{customer.tag}.com")
    made = customer.api.post(
        "/infrastructure/provision", domain_id=domain_id, inbox_count=SENDING + TOGGLERS
    )
    rows = list(csv.DictReader(io.StringIO(made["csv_data"])))
    all_of_them = Accepted(inboxes=[row["email"] for row in rows])
    wait_for(
        lambda: not duty.undone(all_of_them),
        seconds=60,
        every=0.5,
        what="the inboxes are active",
    )
    api_url = stack.endpoint("api")
    toggled = {each["full_email"]: each["id"] for each in made["inboxes"]}
    estate = Estate(
        customer=customer,
        api_url=api_url,
        addresses=Addresses(api_url, stack.endpoint("sandbox"), HOST, submission),
        domain_id=domain_id,
        inboxes=deque(Inbox(r["email"], r["username"], r["password"]) for r in rows[TOGGLERS:]),
        toggled=[toggled[row["email"]] for row in rows[:TOGGLERS]],
    )
    # A fresh directory is not believed before the first comparison has called it whole.
    wait_for(lambda: takes_mail(estate), seconds=90, every=1.0, what="mail is taken")
    return estate


def takes_mail(estate: Estate) -> bool:
    inbox = estate.inboxes[0]
    try:
        with login(estate.addresses, inbox) as session:
            session.send_message(compose(inbox, "ann@gmail.test", "the first"))
    except smtplib.SMTPException:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
