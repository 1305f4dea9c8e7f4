"""`python -m demo --stack .data/stack.json`: the main job on a running stack.

Leaves with 0 only when everything that the closing table tells was true.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from demo.journey import INBOXES, Journey, Outcome
from demo.world import Addresses, DemoFailed, Operator


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stack", type=Path, required=True, help="stack.json of a running stack")
    arguments = parser.parse_args()
    # A log file or a pipe has no width of its own.
    console = Console(width=None if sys.stdout.isatty() else 120)
    stack = json.loads(arguments.stack.read_text())
    addresses = addresses_of(stack["endpoints"])
    operator = _make_operator(stack["environment"])
    journey = Journey(addresses, operator, arguments.stack.parent / "demo", console)
    began = time.monotonic()
    try:
        outcome = journey.run()
        _check_invariants(stack["environment"])
        total = time.monotonic() - began
    except (DemoFailed, httpx.HTTPError, OSError) as error:
        console.print(f"[red]✗ The demo stopped:[/] {error}")
        return 1
    finally:
        _inboxgrove(stack["environment"], "admin", "revoke-operator", operator.name)
    console.print(_table(outcome, addresses, total))
    steps = [{"step": title, "seconds": round(took, 3)} for title, took in outcome.timings]
    report = arguments.stack.parent / "demo/times.json"
    report.write_text(json.dumps({"total": round(total, 3), "steps": steps}, indent=1))
    return 0


def addresses_of(endpoints: dict[str, str]) -> Addresses:
    host, _, port = endpoints["submission"].rpartition(":")
    return Addresses(
        api_url=endpoints["api"],
        sandbox_url=endpoints["sandbox"],
        submission_host=host,
        submission_port=int(port),
    )


def _make_operator(environment: dict[str, str]) -> Operator:
    """An operator of the demo's own, made as operators are: from the command line."""
    made = _inboxgrove(environment, "admin", "create-operator", f"demo-{secrets.token_hex(4)}")
    if made.returncode != 0:
        raise SystemExit(f"No operator could be made: {made.stderr.strip()}")
    given = json.loads(made.stdout)
    return Operator(name=given["name"], token=given["token"], totp_secret=given["totp_secret"])


def _check_invariants(environment: dict[str, str]) -> None:
    """Raises DemoFailed with the ids, when something that must always be true is not."""
    found = _inboxgrove(environment, "ops", "invariants")
    if found.returncode != 0:
        broken = {name: ids for name, ids in json.loads(found.stdout or "{}").items() if ids}
        raise DemoFailed(f"What must always be true is not: {broken or found.stderr.strip()}")


def _inboxgrove(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *words, "--json"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def _table(outcome: Outcome, addresses: Addresses, total: float) -> Table:
    table = Table(title="InboxGrove did the main job", show_header=False, title_justify="left")
    verdict = " ".join(f"{name}=pass" for name in outcome.verdicts)
    table.add_row("Authenticated", f"{min(outcome.verdicts.values())}/{INBOXES} {verdict}")
    table.add_row("Time to inbox", f"{outcome.seconds_to_inbox:.2f} s for {INBOXES} messages")
    table.add_row("Time to silence", f"{outcome.seconds_to_silence:.2f} s")
    table.add_row("Invariants", "all hold (inboxgrove ops invariants)")
    table.add_row("Whole job", f"{total:.1f} s")
    table.add_row("Domain", outcome.domain)
    table.add_row("CSV", str(outcome.csv_path))
    table.add_row("API docs (while it runs)", f"{addresses.api_url}/docs")
    table.add_row("Received mail (same)", f"{addresses.sandbox_url}/mail/")
    return table


if __name__ == "__main__":
    sys.exit(main())
