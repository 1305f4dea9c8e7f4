"""Hostile and malformed input made from the OpenAPI document by schemathesis, over real sockets.

In its own process, as whom it says; `make fuzz` runs the same with more examples and more seeds.
Its phases: the document's examples; every boundary of every field; random input, half of it
invalid; and sequences of calls that use what earlier answers gave.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from app.database.models import Domain, Inbox, Job
from app.database.session import ALL_TENANTS, transaction
from app.errors import Unavailable
from tests.fixtures.world import SECRET, Running
from tests.people import forgive
from tests.security.estate import KINDS, Estate, operators_bearer

BACKEND = Path(__file__).parents[2]
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "8"))
"""Random requests for each operation."""
SEEDS = [int(seed) for seed in os.environ.get("FUZZ_SEEDS", "1").split(",")]
LIVING = 25
"""Objects of each kind whose ids may be used."""

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "use_after_free",
    "ensure_resource_availability",
    "ignored_auth",
)


@dataclass
class Caller:
    """Who asks, and what they are known to be able to ask."""

    paths: str
    """Of the operations, as a pattern."""
    main: Callable[[], str] | None = None
    """A new token of the one who asks; None for a stranger."""
    spare: Callable[[], str] | None = None
    """A token of somebody else of the same kind, for what ends sessions."""
    keep: str = ""
    """The id that must not be removed: the caller's own."""
    phases: str = "examples,coverage,fuzzing,stateful"
    examples: int = EXAMPLES
    seconds: int | None = None
    """The phases are repeated until then."""
    reaches: float = 0.65
    """The part of the operations that must have succeeded at least once, or little was seen."""


TENANTS = "^/(api/v1/(?!admin)|webhooks/)"


def member(estate: Estate, role: str, phases: str) -> Caller:
    me = estate.person(role)
    return Caller(
        TENANTS,
        lambda: estate.session(me)[0],
        lambda: estate.session(estate.person(role))[0],
        str(me),
        phases,
    )


def owner(estate: Estate) -> Caller:
    return member(estate, "owner", "examples,fuzzing")


def owner_in_sequences(estate: Estate) -> Caller:
    caller = member(estate, "owner", "stateful")
    # By the clock: one round of this phase ends after some forty sequences.
    caller.seconds, caller.reaches = 15 + EXAMPLES // 2, 0
    return caller


def at_boundaries(of: str) -> Callable[[Estate], Caller]:
    """The owner, at the boundaries of every field of a part of the operations."""

    def caller(estate: Estate) -> Caller:
        made = member(estate, "owner", "coverage")
        made.paths = of
        # Some objects are used up by the first call about them.
        made.reaches = 0.4
        return made

    return caller


def reader(estate: Estate) -> Caller:
    caller = member(estate, "read_only", "fuzzing,stateful")
    # Who may only read is refused the rest.
    caller.reaches = 0.4
    return caller


def stranger(estate: Estate) -> Caller:
    # Most of it is 401, so a few will do.
    return Caller("^/", phases="examples,fuzzing", examples=max(4, EXAMPLES // 10), reaches=0)


def operator(estate: Estate) -> Caller:
    def token() -> str:
        return operators_bearer()["Authorization"].removeprefix("Bearer ")

    return Caller("^/api/v1/admin/", token, token)


def node(estate: Estate) -> Caller:
    return Caller("^/internal/", lambda: SECRET, lambda: SECRET, phases="coverage,fuzzing")


CALLERS: dict[str, Callable[[Estate], Caller]] = {
    "owner": owner,
    "owner_at_accounts": at_boundaries("^/api/v1/auth/"),
    "owner_at_money": at_boundaries("^/api/v1/billing/"),
    "owner_at_the_rest": at_boundaries("^/(api/v1/(?!admin|auth/|billing/)|webhooks/)"),
    "owner_in_sequences": owner_in_sequences,
    "reader": reader,
    "stranger": stranger,
    "operator": operator,
    "node": node,
}


@pytest.mark.slow
@pytest.mark.timeout(3600 if EXAMPLES > 20 else 300)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("who", CALLERS)
def test_nothing_breaks(
    estates: Callable[[str], Estate],
    world: Running,
    dead_job: Job,
    tmp_path: Path,
    who: str,
    seed: int,
) -> None:
    estate = estates("paying")
    estate.everything()
    caller = CALLERS[who](estate)
    (tmp_path / "schemathesis.toml").write_text(_settings(caller, estate, dead_job))
    with kept(caller, tmp_path / "caller.json"):
        ran = _schemathesis(world, tmp_path, caller, seed)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["failures"] == [], ran
    assert report["errors"] == [], ran
    assert report["complete"], ran
    tested, selected = report["operations"]["tested"], report["operations"]["selected"]
    assert tested > 15 if caller.seconds else tested == selected > 0, ran
    rates = report["valid_rates"].values()
    reached = [rate for rate in rates if any(phase["accepted"] for phase in rate.values())]
    assert len(reached) >= caller.reaches * selected, ran
    if caller.keep:
        me = {"Authorization": f"Bearer {caller.main and caller.main()}"}
        assert httpx.get(f"{world.api_url}/api/v1/auth/me", headers=me).status_code == 200
    made = report["test_cases"]["generated"]
    print(f"{who}, seed {seed}: {made} requests")  # noqa: T201  # For make fuzz.


def _schemathesis(world: Running, folder: Path, caller: Caller, seed: int) -> str:
    """Run it; what it printed."""
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli"),
            *("--config-file", str(folder / "schemathesis.toml")),
            *("run", f"{world.api_url}/openapi.json", "--no-color", "--continue-on-failure"),
            *("--checks", ",".join(CHECKS), "--phases", caller.phases),
            *("--include-path-regex", caller.paths),
            *("--seed", str(seed), "--generation-database", "none", "--workers", "1"),
            *(("--max-time", str(caller.seconds)) if caller.seconds else ()),
            # A dictionary of ids makes bodies that Hypothesis finds large.
            *("--suppress-health-check", "all"),
            *("--report", "json", "--report-json-path", str(folder / "report.json")),
        ],
        cwd=folder,
        env={
            **os.environ,
            "FUZZ_CALLER": str(folder / "caller.json"),
            "SCHEMATHESIS_HOOKS": "tests.security.fuzz_hooks",
            "PYTHONPATH": str(BACKEND),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    (folder / "out.txt").write_text(ran.stdout + ran.stderr)
    return ran.stdout + ran.stderr


def _settings(caller: Caller, estate: Estate, dead_job: Job) -> str:
    """Ids of what lives, so that not every request ends at 404."""
    words = {
        name: [estate.make(kind) for kind in kinds for _ in range(LIVING)]
        for name, kinds in KINDS.items()
    }
    words["job_id"] = [str(dead_job.id)]
    guests = [estate.person("member") for _ in range(10)]
    words["token"] = [estate.invited() for _ in guests]
    for purpose in ("verify_email", "reset_password"):
        words["token"] += [estate.mailed(guest, purpose) for guest in guests]
    signed = [estate.make("signed_domain") for _ in range(10)]
    with transaction(tenant=ALL_TENANTS) as db:
        words["username"] = list(db.scalars(select(Inbox.username)))
        words["domain"] = list(db.scalars(select(Domain.domain_name).where(Domain.id.in_(signed))))
    words["domain_name"] = [f"fuzzed-{number}.com" for number in range(20)]
    words["targets"] = ["no@example.com", "@example.org", "Some.One+tag@example.net"]
    lists = {"domain_ids", "inbox_ids", "targets"}
    lines = ["max-stream-events = 3", "request-timeout = 20.0"]
    lines += ["[generation]", f"max-examples = {caller.examples}"]
    # A body may be refused for its size before anybody reads it.
    refused = [*range(400, 406), 408, 409, 413, 429, 431, "5xx"]
    lines += ["[checks.negative_data_rejection]", f"expected-statuses = {json.dumps(refused)}"]
    lines += ["[phases.stateful]", "max-steps = 6"]
    lines += ["[phases.stateful.generation]", f"max-examples = {3 * caller.examples}"]
    for name, values in words.items():
        lines += [f"[dictionaries.{name}]", f"values = {json.dumps(values)}"]
    lines.append("[parameters]")
    for name in words:
        places = [f"body.{name}[*]"] if name in lists else [name, f"body.{name}"]
        lines += [f'"{place}" = {{ dictionary = "{name}", probability = 0.8 }}' for place in places]
    return "\n".join(lines)


@contextmanager
def kept(caller: Caller, file: Path) -> Iterator[None]:
    """Keep the caller signed in, and the doors open that count attempts: what lies behind them is
    looked at here. `file` holds what fuzz_hooks.py reads."""

    def write(main: str | None, spares: int) -> None:
        spare = [caller.spare() for _ in range(spares)] if caller.spare else []
        new = file.with_suffix(".new")
        new.write_text(json.dumps({"main": main, "spare": spare, "keep": caller.keep}))
        new.replace(file)

    def work() -> None:
        main = first
        for second in itertools.count(1):
            if over.wait(1):
                return
            with suppress(Unavailable):
                # Of a busy table another time will do.
                forgive()
            if caller.main and second % 60 == 0:
                main = caller.main()
            write(main, 10)

    over, first = threading.Event(), caller.main() if caller.main else None
    write(first, 40)
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
