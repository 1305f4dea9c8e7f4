"""`python -m demo.seed --stack .data/stack.json`: a company to look around with, left alive."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import httpx
from rich.console import Console

from demo.__main__ import addresses_of
from demo.journey import Journey
from demo.world import DemoFailed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stack", type=Path, required=True, help="stack.json of a running stack")
    parser.add_argument("--json", action="store_true", help="print the account as JSON")
    arguments = parser.parse_args()
    stack = json.loads(arguments.stack.read_text())
    console = Console(stderr=arguments.json, width=None if sys.stdout.isatty() else 120)
    addresses = addresses_of(stack["endpoints"])
    journey = Journey(addresses, None, arguments.stack.parent / "demo", console)
    try:
        outcome = journey.settle()
    except (DemoFailed, httpx.HTTPError, OSError) as error:
        console.print(f"[red]✗ It stopped:[/] {error}")
        return 1
    account = {
        "api": f"{addresses.api_url}/api/v1",
        "email": journey.email,
        "password": journey.password,
        "domain": outcome.domain,
        "inboxes": str(outcome.csv_path),
        "received_mail": f"{addresses.sandbox_url}/mail/",
    }
    if arguments.json:
        print(json.dumps(account))
    else:
        for name, value in account.items():
            console.print(f"  [bold]{name.replace('_', ' '):<14}[/bold] {value}", highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
