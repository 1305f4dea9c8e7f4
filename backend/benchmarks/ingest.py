"""`python -m benchmarks.ingest`: delivery records through the HTTP endpoint, against bare COPY.

Rate: batches of 1,000 log records of 20 domains' 2,000 inboxes, posted over eight connections to
`inboxgrove api` with two workers; each answer means stored, deduplicated and counted in four
roll-ups. Floor: COPY of the very rows that were stored, already encoded, into a table with the same
columns and indexes, with a durable commit after each 1,000, by as many writers at once as the API
has connections to the database that work (four), and by one. Both in the same run, in turns.

Lag: 100,000 inboxes of 1,000 domains with 50 mails a day each, whose peak is 300 mails a second.
Four nodes post what happened as the log hook does (100 records at most, a second after the first at
most). Measured for each record: from the moment it happened until the answer, when every counter
shows it.
"""

from __future__ import annotations

import os
import random
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson

from benchmarks.mail.stage import Server, api, database, dealt
from benchmarks.mail.traffic import BATCH, body, connect, kinds, post, post_all, record

ROUNDS, ROUND_BATCHES = 5, 100
CLIENTS, FLOOR_WRITERS = 8, (1, 4)
PEAK, PEAK_SECONDS, NODES = 300, int(os.environ.get("PEAK_SECONDS", "120")), 4


def main() -> None:
    with database(inboxes=2_000, domains=20, tenants=5) as server, api(server) as url:
        rate(url, server)
    with database(inboxes=100_000, domains=1_000, tenants=200) as server, api(server) as url:
        lag(url, server)


def rate(url: str, server: Server) -> None:
    posted: list[float] = []
    floors: dict[int, list[float]] = {writers: [] for writers in FLOOR_WRITERS}
    for number in range(ROUNDS + 1):
        bodies = [body(server.inboxes, number * ROUND_BATCHES + n) for n in range(ROUND_BATCHES)]
        began = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(lambda bodies: post_all(url, bodies), dealt(bodies, CLIENTS)))
        took = time.perf_counter() - began
        copied = {
            writers: server.copy_again(number, ROUND_BATCHES, writers) for writers in FLOOR_WRITERS
        }
        if number:  # The first round makes the days, the connections and the plans.
            posted.append(BATCH * ROUND_BATCHES / took)
            for writers, seconds in copied.items():
                floors[writers].append(BATCH * ROUND_BATCHES / seconds)
    server.check(BATCH * ROUND_BATCHES * (ROUNDS + 1))
    through = statistics.median(posted)
    print(f"through HTTP, {CLIENTS} connections, batches of {BATCH}: {through:,.0f} records/s")
    for writers, rates in floors.items():
        floor = statistics.median(rates)
        print(f"bare COPY, {writers} at once: {floor:,.0f} rows/s, ratio {through / floor:.2f}")


def lag(url: str, server: Server) -> None:
    """The busiest two minutes of the day. Each mail is two records, a tenth of them three."""
    lags: list[float] = []
    nodes = [Node(url, lags) for _ in range(NODES)]
    dice = random.Random(1)
    began, sent = time.perf_counter(), 0
    for node in nodes:
        node.start()
    while (now := time.perf_counter() - began) < PEAK_SECONDS:
        while sent < now * PEAK:
            node, inbox = dice.choice(nodes), dice.choice(server.inboxes)
            for kind in kinds(sent):
                node.happened(record(inbox, kind, sent))
            sent += 1
        time.sleep(0.005)
    for node in nodes:
        node.close()
    server.check(sum(len(kinds(n)) for n in range(sent)))
    lags.sort()
    cuts = {name: lags[int(len(lags) * share)] for name, share in (("p50", 0.5), ("p99", 0.99))}
    print(
        f"{len(server.inboxes):,} inboxes, {sent / PEAK_SECONDS:.0f} mails/s for {PEAK_SECONDS} s,"
        f" {len(lags):,} records: lag p50 {cuts['p50']:.2f} s, p99 {cuts['p99']:.2f} s,"
        f" worst {lags[-1]:.2f} s"
    )


class Node:
    """A node's log hook: a batch when 100 records wait, or a second after the first of them."""

    def __init__(self, url: str, lags: list[float]) -> None:
        self._url, self._lags = url, lags
        self._waiting: list[tuple[float, dict[str, Any]]] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def happened(self, item: dict[str, Any]) -> None:
        with self._lock:
            self._waiting.append((time.perf_counter(), item))

    def close(self) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        connection = connect(self._url)
        while True:
            with self._lock:
                oldest = self._waiting[0][0] if self._waiting else None
                due = oldest is not None and (
                    len(self._waiting) >= 100 or time.perf_counter() - oldest >= 1
                )
                batch = self._waiting[:100] if due or self._over.is_set() else []
                del self._waiting[: len(batch)]
            if batch:
                post(connection, orjson.dumps({"records": [item for _, item in batch]}))
                answered = time.perf_counter()
                self._lags += [answered - at for at, _ in batch]
            elif self._over.is_set():
                return
            else:
                time.sleep(0.005)


if __name__ == "__main__":
    main()
