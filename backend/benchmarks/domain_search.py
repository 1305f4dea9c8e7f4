"""`python -m benchmarks.domain_search`: searching names, cold and warm, and calls that were saved.

Over HTTP against the API, with the sandbox's registrar and its blocklist over real DNS. Cold: words
nobody has searched for; warm: the same words again, within the hour that answers are kept. Mixed:
people search for popular words more often (Zipf), which shows what the kept answers save. The
sandbox answers at once; `SLOW` gives the registrar the second that a real one takes.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterable

import httpx

from tests.fixtures.customer import Customer
from tests.fixtures.world import Running

WORDS = 60
MIXED = 400
TLDS = ["com", "net", "org", "io", "co"]
SLOW_SECONDS, SLOW_SEARCHES = 1.0, 5


def main() -> None:
    from benchmarks.billing.stage import newcomer, stage

    with stage() as world:
        run(world, newcomer(world))


def run(world: Running, customer: Customer) -> None:
    words = [f"grove-post-{number:03d}" for number in range(WORDS)]
    search(customer, "warming-up")
    print(f"{'':>22} {'median':>9} {'95 %':>9} {'calls':>6}")
    line("cold", timed(customer, words), calls(world))
    line("warm", timed(customer, words), calls(world))
    taken = [f"taken-post-{number:03d}" for number in range(WORDS)]
    line("cold, with suggestions", timed(customer, taken), calls(world))
    line("warm, with suggestions", timed(customer, taken), calls(world))
    chance = random.Random(7)
    popular = [f"mixed-post-{number:03d}" for number in range(200)]
    weights = [1 / (rank + 1) for rank in range(len(popular))]
    wanted = chance.choices(popular, weights, k=MIXED)
    line("mixed", timed(customer, wanted), made := calls(world))
    print(f"mixed: {MIXED} searches, {made} calls of the registrar, {1 - made / MIXED:.0%} saved")
    slow(world, customer)


def slow(world: Running, customer: Customer) -> None:
    """A registrar that takes a second: what one waits for, and what one does not."""
    words = [f"slow-grove-{number}" for number in range(SLOW_SEARCHES)]
    settings = {"slow_seconds": SLOW_SECONDS}
    world.control("namecheap/settings", **settings)
    # The sandbox is slow about names that begin with `slow-`.
    line("cold, slow registrar", timed(customer, words), calls(world))
    line("warm, slow registrar", timed(customer, words), calls(world))


def timed(customer: Customer, words: Iterable[str]) -> list[float]:
    """Milliseconds of each search, one after the other."""
    return [search(customer, word) for word in words]


def search(customer: Customer, word: str) -> float:
    began = time.perf_counter()
    found = customer.post("/domains/search", query=word, tlds=TLDS)
    took = (time.perf_counter() - began) * 1000
    assert len(found) >= len(TLDS)
    return took


def calls(world: Running) -> int:
    """Calls that the registrar has seen since the last time this was asked."""
    url = f"{world.sandbox_url}/control/namecheap/calls"
    made = httpx.get(url).json()["calls"]
    httpx.delete(url).raise_for_status()
    return sum(call["command"] == "namecheap.domains.check" for call in made)


def line(name: str, took: list[float], made: int) -> None:
    worst = statistics.quantiles(took, n=20)[-1]
    print(f"{name:>22} {statistics.median(took):>6.1f} ms {worst:>6.1f} ms {made:>6}", flush=True)


if __name__ == "__main__":
    main()
