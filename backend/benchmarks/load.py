"""`python -m benchmarks.load [SECONDS]`: a mixed journey at 1, 16 and 64 users, as fast as it goes.

The whole stack of `inboxgrove up` with one API process, its limits widened; locust runs
tests/locustfile.py from a process of its own on the same machine. Told are requests a second and
the percentiles of each endpoint, sign-ups included. Exit 1 when a request failed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from benchmarks.faults.stack import BACKEND, running

USERS = (1, 16, 64)
SECONDS = 20


def main() -> None:
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    failed = 0
    with running(FORWARDED_ALLOW_IPS="127.0.0.1") as stack:
        for users in USERS:
            rows = run(stack.endpoint("api"), users, seconds)
            failed += tell(users, seconds, rows)
    sys.exit(1 if failed else 0)


def run(host: str, users: int, seconds: int) -> list[dict[str, Any]]:
    """What locust counted, by endpoint."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "locust", "-f", "tests/locustfile.py", "--headless"),
            *("--users", str(users), "--spawn-rate", str(users), "--run-time", f"{seconds}s"),
            *("--host", host, "--json", "--loglevel", "ERROR"),
        ],
        cwd=BACKEND,
        env={**os.environ, "LOAD_PACE": "0", "LOAD_FORWARDED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def tell(users: int, seconds: int, rows: list[dict[str, Any]]) -> int:
    """Print one round; how many requests failed."""
    everything: dict[str, int] = {}
    for row in rows:
        for bucket, count in row["response_times"].items():
            everything[bucket] = everything.get(bucket, 0) + count
    asked = sum(row["num_requests"] for row in rows)
    failed: int = sum(row["num_failures"] for row in rows)
    print(f"\n{users} users: {asked / seconds:.0f} requests a second, {failed} failed", flush=True)
    print(f"{'endpoint':<44} {'count':>6} {'p50 ms':>8} {'p95 ms':>8} {'p99 ms':>8}")
    for row in sorted(rows, key=lambda row: -row["num_requests"]):
        line(f"{row['method']} {row['name']}", row["response_times"])
    line("all", everything)
    return failed


def line(name: str, times: dict[str, int]) -> None:
    p50, p95, p99 = (percentile(times, share) for share in (0.50, 0.95, 0.99))
    print(f"{name:<44} {sum(times.values()):>6} {p50:>8.0f} {p95:>8.0f} {p99:>8.0f}")


def percentile(times: dict[str, int], share: float) -> float:
    """Milliseconds, from locust's counts by rounded milliseconds."""
    wanted, seen = share * sum(times.values()), 0
    for bucket, count in sorted((float(key), count) for key, count in times.items()):
        seen += count
        if seen >= wanted:
            return bucket
    return float("nan")


if __name__ == "__main__":
    main()
