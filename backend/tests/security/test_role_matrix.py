"""Every operation against every kind of caller: the verdict of the table of permissions is what
the server answers. The verdicts are in verdicts.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import httpx
import pytest

from app.rules.permissions import GRANTABLE, ROLES
from tests.fixtures.world import SECRET, Running
from tests.people import forgive
from tests.security.calls import Caller, call
from tests.security.estate import Estate, operators_bearer
from tests.security.operations import BY_NAME, OPERATIONS, Operation
from tests.security.verdicts import (
    DOOR,
    IN,
    NEEDS_ENTITLEMENT,
    OPERATORS_SHOW_LATELY,
    OTHERWISE,
    PEOPLE_ONLY,
    SHOWN_LATELY,
    WITHOUT_FACTOR,
    Answer,
    of_nobody,
    of_node,
    of_one_signed_in_long_ago,
    of_one_whose_trial_is_over,
    of_one_without_factor,
    of_operator,
    of_program,
    of_role,
    of_stranger,
    of_suspended,
    of_tired_operator,
)


@dataclass(frozen=True)
class Kind:
    """A kind of caller: the headers of a new one, and what the table says they are answered."""

    name: str
    headers: Callable[[Operation, Caller], dict[str, str]]
    verdict: Callable[[Operation], Answer]
    estate: Estate
    objects: Estate | None = None
    """Whose objects they ask for; by default their own."""


# Callers ----------------------------------------------------------------------------------------


def person(
    operation: Operation, caller: Caller, *, shown: timedelta = timedelta(0)
) -> dict[str, str]:
    return caller.estate.bearer(caller.person, shown=shown)


def program(operation: Operation, caller: Caller, *, fitting: bool) -> dict[str, str]:
    scopes = {operation.permission} if fitting else GRANTABLE - {operation.permission}
    return caller.estate.program(scopes)


def operator(operation: Operation, caller: Caller, *, shown: timedelta) -> dict[str, str]:
    return operators_bearer(shown=shown)


# The matrix -------------------------------------------------------------------------------------


class Matrix:
    """Asks, and keeps the answers that are not the verdict."""

    def __init__(self, client: httpx.Client, victim: Estate) -> None:
        self.client, self.victim = client, victim
        self.wrong: list[str] = []
        self.asked = 0

    def ask(self, kind: Kind) -> None:
        for operation in OPERATIONS:
            # Everybody comes from one address here, which may try each door a few times only.
            forgive()
            self.asked += 1
            if fault := self._fault(operation, kind):
                self.wrong.append(f"{kind.name}: {operation.name} -> {fault}")

    def _fault(self, operation: Operation, kind: Kind) -> str | None:
        role = kind.name if kind.name in ROLES else "owner"
        caller = Caller(kind.estate, kind.estate.person(role))
        # Operators do it to somebody else, so that the others' tenants stay what they are.
        at = Caller(self.victim, caller.person) if operation.role == "operator" else caller
        others = kind.objects
        request = call(operation, at, ids=None if others is None else others.make)
        answer = self.client.request(**request.arguments(kind.headers(operation, caller)))
        code = None if answer.is_success else answer.json().get("error_code")
        wanted = kind.verdict(operation)
        if wanted == IN:
            admitted = OTHERWISE.get(operation.name, {operation.success})
            return None if answer.status_code in admitted else f"{answer.status_code} {code}"
        if (answer.status_code, code) != wanted:
            return f"{answer.status_code} {code}, not {wanted}"
        return None


@pytest.fixture
def matrix(world: Running, estates: Callable[[str], Estate]) -> Iterator[Matrix]:
    with httpx.Client(base_url=world.api_url, timeout=30) as client:
        yield Matrix(client, estates("paying"))


@pytest.mark.slow
def test_every_operation_against_everybody_of_a_tenant(
    matrix: Matrix, estates: Callable[[str], Estate]
) -> None:
    ours = estates("paying")
    for role in ROLES:
        matrix.ask(Kind(role, person, partial(of_role, role), ours))
    long_ago = partial(person, shown=timedelta(hours=1))
    matrix.ask(Kind("an owner signed in long ago", long_ago, of_one_signed_in_long_ago, ours))
    for fitting, name in ((True, "a key with the scope"), (False, "a key with all but the scope")):
        headers = partial(program, fitting=fitting)
        matrix.ask(Kind(name, headers, partial(of_program, fitting), ours))
    assert not matrix.wrong, "\n".join(matrix.wrong)
    assert matrix.asked == 7 * len(OPERATIONS) > 400


@pytest.mark.slow
def test_every_operation_against_tenants_in_every_state(
    matrix: Matrix, estates: Callable[[str], Estate]
) -> None:
    for name, verdict, state in (
        ("a suspended owner", of_suspended, "suspended"),
        ("an owner whose trial is over", of_one_whose_trial_is_over, "over"),
        ("an owner who lacks the factor", of_one_without_factor, "strict"),
    ):
        matrix.ask(Kind(name, person, verdict, estates(state)))
    stranger = Kind("another's owner", person, of_stranger, estates("paying"), matrix.victim)
    matrix.ask(stranger)
    assert not matrix.wrong, "\n".join(matrix.wrong)


def test_every_operation_against_those_who_are_no_tenants(
    matrix: Matrix, estates: Callable[[str], Estate]
) -> None:
    ours = estates("paying")
    nodes = {"Authorization": f"Bearer {SECRET}"}
    for name, headers, verdict in (
        ("nobody", lambda *_: {}, of_nobody),
        ("somebody with junk", lambda *_: {"Authorization": "Bearer junk"}, of_nobody),
        ("an operator", partial(operator, shown=timedelta(0)), of_operator),
        ("a tired operator", partial(operator, shown=timedelta(minutes=16)), of_tired_operator),
        ("a relay node", lambda *_: nodes, of_node),
    ):
        matrix.ask(Kind(name, headers, verdict, ours))
    assert not matrix.wrong, "\n".join(matrix.wrong)


def test_the_tables_name_operations_that_there_are() -> None:
    named = DOOR | SHOWN_LATELY | OPERATORS_SHOW_LATELY | WITHOUT_FACTOR | PEOPLE_ONLY
    assert named | NEEDS_ENTITLEMENT | set(OTHERWISE) <= set(BY_NAME)


def test_the_document_says_what_is_for_people() -> None:
    assert {operation.name for operation in OPERATIONS if operation.for_people} == PEOPLE_ONLY
