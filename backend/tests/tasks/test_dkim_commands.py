"""`inboxgrove ops dkim …`: what operators see of rotations, and what they can do."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from typer.testing import CliRunner

from app.integrations import ports
from app.ops_dkim import dkim_app
from tests.fakes import FakeWorld
from tests.fixtures.chain import NAME, Quote, Settle, domain_of, order


def say(*words: str) -> tuple[int, Any]:
    """The exit code, and the answer when all went well."""
    # A command begins a request of its own, which must not stay in the test's context.
    providers = ports.current()
    result = copy_context().run(CliRunner().invoke, dkim_app, [*words, "--json"])
    # It also makes providers of its own.
    ports.install(providers)
    return result.exit_code, json.loads(result.stdout) if result.exit_code == 0 else None


def test_list_rotate_and_back(
    outside: FakeWorld, quote: Quote, settle: Settle, drain: Callable[..., list[str]]
) -> None:
    made = order(quote())
    settle(hours=1)
    old = domain_of(made).dkim_selector
    assert say("list") == (0, {"rotations": []})
    assert say("rotate", "nobody-has-this.com")[0] == 1

    code, begun = say("rotate", NAME.upper())
    assert code == 0
    assert say("rotate", NAME)[0] == 1, "one at a time"
    hidden = ("TXT", f"{begun['new_selector']}._domainkey.{NAME}")
    outside.resolver.hidden.add(hidden)
    drain()
    ((row,),) = say("list")[1].values()
    assert (row["id"], row["domain"], row["stage"]) == (begun["id"], NAME, "publishing")
    assert (row["old_selector"], row["new_selector"]) == (old, begun["new_selector"])
    assert hidden[1] in row["waits_for"]

    assert say("back", begun["id"]) == (0, {"id": begun["id"], "stage": "undone"})
    drain(due_too=True)
    assert say("list") == (0, {"rotations": []})
    assert domain_of(made).dkim_selector == old
    assert say("back", begun["id"])[0] == 1


def test_a_leaked_key_is_ended_by_the_rotation_that_replaces_it(
    outside: FakeWorld, quote: Quote, settle: Settle, drain: Callable[..., list[str]]
) -> None:
    made = order(quote())
    settle(hours=1)
    begun = say("rotate", NAME)[1]
    drain()
    assert domain_of(made).dkim_selector == begun["new_selector"]
    assert say("rotate", NAME, "--revoke-now")[1]["id"] == begun["id"]
    drain(due_too=True)
    ((row,),) = say("list")[1].values()
    assert (row["stage"], row["leaked"]) == ("revoked", True)
    assert say("back", begun["id"])[0] == 1
