"""Every operation against every kind of caller: the verdict of the table of permissions is what
the server answers.

The rows come from the OpenAPI document (x-role, x-scope), the verdicts from rules/permissions.py,
and what neither says (who must have shown credentials lately, what is open to the suspended) from
the tables here, so that a change of a route's guard is a change of this file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from secrets import token_hex
from uuid import UUID

import httpx
import pytest

from app import clock
from app.database.models import Plan, SubscriptionStatus, SuspensionReason, Tenant
from app.database.session import ALL_TENANTS, transaction
from app.rules.permissions import GRANTABLE, ROLES
from app.services import kill_switch
from app.services.operator_service import OperatorService
from app.utils import security
from tests.fixtures.customer import Customer
from tests.fixtures.world import SECRET, Running
from tests.people import forgive
from tests.security.calls import Caller, call
from tests.security.estate import Estate
from tests.security.operations import BY_NAME, OPERATIONS, Operation

DOOR = {
    # Read why.
    "GET /auth/me",
    # Pay.
    "GET /billing/subscription",
    "GET /billing/payment-methods",
    "POST /billing/setup-intent",
    "GET /billing/invoices",
    "GET /billing/transactions",
    # Log out, here and elsewhere; POST /auth/logout is open to anybody.
    "GET /auth/sessions",
    "DELETE /auth/sessions/{session_id}",
    # Export one's data, which wants credentials shown lately.
    "GET /auth/data-export",
    "POST /auth/reauthenticate",
}
"""All that a suspended tenant may do."""

SHOWN_LATELY = {
    "DELETE /auth/me",
    "GET /auth/data-export",
    "GET /infrastructure/provisions/{provision_id}/csv",
    "PATCH /auth/tenant",
    "PATCH /auth/users/{user_id}",
    "POST /auth/2fa/disable",
    "POST /auth/2fa/enable",
    "POST /auth/2fa/recovery-codes",
    "POST /auth/2fa/setup",
    "POST /auth/api-keys",
    "POST /auth/users",
    "POST /infrastructure/exports",
}
"""What credentials must have been shown for in the last 15 minutes."""

OPERATORS_SHOW_LATELY = {
    "POST /admin/jobs/{job_id}/replay",
    "POST /admin/tenants/{tenant_id}/reinstate",
    "POST /admin/tenants/{tenant_id}/suspend",
}

WITHOUT_FACTOR = {
    "GET /auth/2fa",
    "GET /auth/me",
    "GET /auth/sessions",
    "DELETE /auth/sessions/{session_id}",
    "POST /auth/2fa/enable",
    "POST /auth/2fa/setup",
    "POST /auth/change-password",
    "POST /auth/reauthenticate",
}
"""Open to somebody who must set up a second factor first."""

HAS_FACTOR = {"POST /auth/2fa/disable", "POST /auth/2fa/recovery-codes"}
"""Who calls these has one, or the call would mean nothing."""

PEOPLE_ONLY = {
    "DELETE /auth/api-keys/{key_id}",
    "DELETE /auth/me",
    "DELETE /auth/sessions/{session_id}",
    "DELETE /auth/users/{user_id}",
    "GET /auth/2fa",
    "GET /auth/api-keys",
    "GET /auth/data-export",
    "GET /auth/sessions",
    "PATCH /auth/tenant",
    "PATCH /auth/users/{user_id}",
    "POST /auth/2fa/disable",
    "POST /auth/2fa/enable",
    "POST /auth/2fa/recovery-codes",
    "POST /auth/2fa/setup",
    "POST /auth/api-keys",
    "POST /auth/change-password",
    "POST /auth/reauthenticate",
    "POST /auth/users",
}
"""No API key opens these: a leaked key must not make keys, invite people or change sign-ins."""

NEEDS_ENTITLEMENT = {"POST /billing/domain-purchase-intent", "POST /infrastructure/provision"}
"""Refused once a trial is over, until somebody pays."""

OTHERWISE = {
    # Nobody here has a card on file.
    "POST /billing/upgrade": {402},
    # The registrar paces us.
    "POST /domains/search": {200, 503},
    "POST /billing/domain-purchase-intent": {201, 503},
    # Without Stripe's signature.
    "POST /webhooks/stripe": {400},
}
"""What an admitted caller is answered where it is not the success of the document."""

Answer = tuple[int, str | None]
IN: Answer = (0, None)
"""Admitted."""
UNKNOWN: Answer = (401, "UNAUTHENTICATED")
REFUSED: Answer = (403, "FORBIDDEN")


@dataclass(frozen=True)
class Kind:
    """A kind of caller: the headers of a new one, and what the table says they are answered."""

    name: str
    headers: Callable[[Operation, Caller], dict[str, str]]
    verdict: Callable[[Operation], Answer]
    estate: Estate
    objects: Estate | None = None
    """Whose objects they ask for; by default their own."""


@pytest.fixture
def estates(world: Running, drain: Callable[..., list[str]]) -> Callable[[str], Estate]:
    """`estates("suspended")`: a tenant of its own, known to the payment provider."""

    def make(state: str) -> Estate:
        owner = Customer(world, drain).sign_up()
        with transaction(tenant=ALL_TENANTS) as db:
            tenant = db.get_one(Tenant, UUID(owner.tenant_id))
            tenant.subscription_tier = Plan.ENTERPRISE
            tenant.subscription_status = SubscriptionStatus.ACTIVE
            if state == "suspended":
                kill_switch.turn_on(tenant, SuspensionReason.SPAM_COMPLAINT, db)
            elif state == "over":
                tenant.subscription_status = SubscriptionStatus.TRIALING
                tenant.trial_ends_at = clock.now() - timedelta(days=1)
            elif state == "strict":
                tenant.requires_two_factor = True
        return Estate(owner.tenant_id)

    return make


# Callers ----------------------------------------------------------------------------------------


def person(
    operation: Operation, caller: Caller, *, shown: timedelta = timedelta(0)
) -> dict[str, str]:
    return caller.estate.bearer(caller.person, shown=shown)


def program(operation: Operation, caller: Caller, *, fitting: bool) -> dict[str, str]:
    scopes = {operation.permission} if fitting else GRANTABLE - {operation.permission}
    return caller.estate.program(scopes)


def operator(operation: Operation, caller: Caller, *, shown: timedelta) -> dict[str, str]:
    with transaction(tenant=ALL_TENANTS) as db:
        made = OperatorService.create(f"walker-{token_hex(6)}", db).operator
    token = security.operator_token(
        operator_id=made.id,
        session_version=made.session_version,
        authenticated_at=clock.now() - shown,
    )
    return {"Authorization": f"Bearer {token}"}


# Verdicts ---------------------------------------------------------------------------------------


def _anybodys(operation: Operation) -> Answer | None:
    """What does not depend on which tenant's person or program asks."""
    return {"anonymous": IN, "stripe": IN, "node": UNKNOWN}.get(operation.role)


def of_nobody(operation: Operation) -> Answer:
    return _anybodys(operation) or UNKNOWN


def of_role(role: str, operation: Operation) -> Answer:
    if operation.is_tenants:
        return IN if operation.permission in ROLES[role] else REFUSED
    return _anybodys(operation) or REFUSED


def of_suspended(operation: Operation) -> Answer:
    joins = operation.name == "POST /auth/users/accept-invite"
    if joins or (operation.is_tenants and operation.name not in DOOR):
        return 403, "TENANT_SUSPENDED"
    return of_role("owner", operation)


def of_one_whose_trial_is_over(operation: Operation) -> Answer:
    if operation.name in NEEDS_ENTITLEMENT:
        return 402, "TRIAL_EXPIRED"
    return of_role("owner", operation)


def of_one_signed_in_long_ago(operation: Operation) -> Answer:
    if operation.name in SHOWN_LATELY:
        return 401, "REAUTHENTICATION_REQUIRED"
    return of_role("owner", operation)


def of_one_without_factor(operation: Operation) -> Answer:
    if operation.name in HAS_FACTOR:
        return IN
    if operation.is_tenants and operation.name not in WITHOUT_FACTOR:
        return 403, "TWO_FACTOR_REQUIRED"
    return of_role("owner", operation)


def of_stranger(operation: Operation) -> Answer:
    names_something = operation.ids_in("path") or set(operation.ids_in_body()) & set(
        operation.example() or {}
    )
    if operation.is_tenants and names_something:
        return 404, "NOT_FOUND"
    return of_role("owner", operation)


def of_program(fitting: bool, operation: Operation) -> Answer:
    if operation.is_tenants:
        return IN if fitting and operation.name not in PEOPLE_ONLY else REFUSED
    # To operators it is no token of theirs.
    return _anybodys(operation) or UNKNOWN


def of_operator(operation: Operation) -> Answer:
    return IN if operation.role == "operator" else _anybodys(operation) or UNKNOWN


def of_tired_operator(operation: Operation) -> Answer:
    if operation.name in OPERATORS_SHOW_LATELY:
        return 401, "REAUTHENTICATION_REQUIRED"
    return of_operator(operation)


def of_node(operation: Operation) -> Answer:
    return IN if operation.role == "node" else _anybodys(operation) or UNKNOWN


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
    assert matrix.wrong == []
    assert matrix.asked == 7 * len(OPERATIONS) > 400


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
    assert matrix.wrong == []


def test_every_operation_against_those_who_are_no_tenants(
    matrix: Matrix, estates: Callable[[str], Estate]
) -> None:
    ours = estates("paying")
    nodes = {"Authorization": f"Bearer {SECRET}"}
    for name, headers, verdict in (
        ("nobody", lambda *_: {}, of_nobody),
        ("an operator", partial(operator, shown=timedelta(0)), of_operator),
        ("a tired operator", partial(operator, shown=timedelta(minutes=16)), of_tired_operator),
        ("a relay node", lambda *_: nodes, of_node),
    ):
        matrix.ask(Kind(name, headers, verdict, ours))
    assert matrix.wrong == []


def test_the_tables_name_operations_that_there_are() -> None:
    named = DOOR | SHOWN_LATELY | OPERATORS_SHOW_LATELY | WITHOUT_FACTOR | PEOPLE_ONLY
    assert named | NEEDS_ENTITLEMENT | set(OTHERWISE) <= set(BY_NAME)


def test_the_document_says_what_is_for_people() -> None:
    assert {operation.name for operation in OPERATIONS if operation.for_people} == PEOPLE_ONLY


# The door of the suspended ----------------------------------------------------------------------


def test_a_suspended_tenant_is_told_why(world: Running, estates: Callable[[str], Estate]) -> None:
    shut = estates("suspended")
    with httpx.Client(base_url=f"{world.api_url}/api/v1", timeout=30) as client:
        client.headers.update(shut.bearer(shut.person("owner")))
        refused = client.get("/domains").json()
        told = client.get("/auth/me").json()["data"]["suspension"]
    assert refused["error_code"] == "TENANT_SUSPENDED"
    assert refused["details"]["reason"] == "spam_complaint" == told["reason"]
    assert refused["details"]["since"] is not None
    assert told["what_to_do"]


@pytest.mark.parametrize("role", sorted(ROLES))
def test_the_suspended_door_is_no_wider_for_anybody(
    world: Running, estates: Callable[[str], Estate], role: str
) -> None:
    shut = estates("suspended")
    answered = set()
    with httpx.Client(base_url=world.api_url, timeout=30) as client:
        for operation in OPERATIONS:
            if not operation.is_tenants:
                continue
            forgive()
            caller = Caller(shut, shut.person(role))
            request = call(operation, caller)
            answer = client.request(**request.arguments(shut.bearer(caller.person)))
            if answer.is_success:
                answered.add(operation.name)
            else:
                assert answer.status_code == 403, (operation.name, answer.text)
    allowed = {name for name in DOOR if BY_NAME[name].permission in ROLES[role]}
    assert answered == allowed
