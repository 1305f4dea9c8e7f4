"""A suspended tenant may pay, read why, log out and take its data away, and nothing else.

The table of what that is stands in verdicts.py, as DOOR.
"""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from app.rules.permissions import ROLES
from tests.fixtures.world import Running
from tests.people import forgive
from tests.security.calls import Caller, call
from tests.security.estate import Estate
from tests.security.operations import BY_NAME, OPERATIONS
from tests.security.verdicts import DOOR, OTHERWISE


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
            if answer.is_success or answer.status_code in OTHERWISE.get(operation.name, ()):
                answered.add(operation.name)
            else:
                assert answer.status_code == 403, (operation.name, answer.text)
    allowed = {name for name in DOOR if BY_NAME[name].permission in ROLES[role]}
    assert answered == allowed
