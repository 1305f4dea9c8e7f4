"""How every operation is called so that it succeeds: the document's example, with living values."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

import pyotp

from app import clock
from app.database.models import (
    Domain,
    Inbox,
    Job,
    JobState,
    OutboxEvent,
    User,
    new_id,
)
from app.database.session import ALL_TENANTS, transaction
from app.services.operator_service import OperatorService
from tests.security.belongings import PASSWORD
from tests.security.estate import KINDS, Estate
from tests.security.operations import Operation, Request

_numbers = itertools.count(1)
Ids = Callable[[str], str]
"""From the kind of an object to the id of one."""


@dataclass
class Caller:
    """Whose objects a call is about, and who makes it."""

    estate: Estate
    person: UUID

    def own(self, kind: str) -> str:
        """The id of a new object of theirs. Sessions are a person's, and all else the tenant's."""
        if kind == "session":
            return str(self.estate.session(self.person)[2])
        return self.estate.make(kind)


def call(
    operation: Operation,
    caller: Caller,
    *,
    ids: Ids | None = None,
    kind_of: Callable[[str], str] | None = None,
) -> Request:
    """A request that succeeds when the caller may make it.

    `ids` gives objects other than the caller's own; `kind_of` chooses when a parameter may name
    objects of several kinds.
    """
    ids = ids or caller.own
    kind_of = kind_of or first_kind

    def id_of(parameter: str) -> str:
        return PLATFORM[parameter]() if parameter in PLATFORM else ids(kind_of(parameter))

    body = operation.example()
    living = LIVING.get(operation.name, _nothing)(caller)
    if body is not None:
        known = {name: value for name, value in body.items() if name not in living}
        for name in operation.ids_in_body():
            if name in known:
                known[name] = [id_of(name)] if name.endswith("_ids") else id_of(name)
        body = known | living
    path = operation.path
    for name in operation.ids_in("path"):
        path = path.replace(f"{{{name}}}", id_of(name))
    for name, value in NODES_WORDS.items():
        if f"{{{name}}}" in path:
            path = path.replace(f"{{{name}}}", value(caller))
    return Request(operation.method, path, QUERIES.get(operation.name, {}), body)


def first_kind(parameter: str) -> str:
    """Raises KeyError for a parameter of which nobody said what its ids are ids of."""
    return KINDS[parameter][0]


# Living values ----------------------------------------------------------------------------------


def _nothing(caller: Caller) -> dict[str, Any]:
    return {}


def _newcomer(caller: Caller) -> dict[str, Any]:
    tag = secrets.token_hex(6)
    return {"email": f"owner@walk-{tag}.test", "company_name": f"Walk {tag}"}


def _address(caller: Caller) -> dict[str, Any]:
    return {"email": f"guest-{secrets.token_hex(6)}@walk.test"}


def _login(caller: Caller) -> dict[str, Any]:
    somebody = caller.estate.person("member")
    with transaction(tenant=ALL_TENANTS) as db:
        return {"email": db.get_one(User, somebody).email, "password": PASSWORD}


def _refresh_token(caller: Caller) -> dict[str, Any]:
    return {"refresh_token": caller.estate.session(caller.estate.person("member"))[1]}


def _mailed(purpose: str, caller: Caller) -> dict[str, Any]:
    somebody = caller.estate.person("member")
    return {"token": caller.estate.mailed(somebody, purpose), **_new_password(caller, purpose)}


def _claim(caller: Caller) -> dict[str, Any]:  # Whoever calls, another name.
    return {"domain_name": f"claim-{secrets.token_hex(6)}.com", "dns": "nameservers"}


def _new_password(caller: Caller, purpose: str = "reset_password") -> dict[str, Any]:
    if purpose != "reset_password":
        return {}
    return {"new_password": f"another horse {secrets.token_hex(4)}"}


def _pending_factor(caller: Caller) -> dict[str, Any]:
    """The person scanned a code, and shows what the app makes of it."""
    caller.estate.give_factor(caller.person, in_force=False)
    return {"code": caller.estate.code_of(caller.person)}


def _factor(caller: Caller) -> dict[str, Any]:
    caller.estate.give_factor(caller.person, in_force=True)
    return {"password": PASSWORD}


def _operator(caller: Caller) -> dict[str, Any]:
    with transaction(tenant=ALL_TENANTS) as db:
        made = OperatorService.create(f"walker-{next(_numbers)}", db)
    return {"token": made.token, "totp_code": pyotp.TOTP(made.totp_secret).at(clock.now())}


def _names(caller: Caller) -> dict[str, Any]:
    return {"targets": [f"no-{secrets.token_hex(4)}@example.com"]}


QUERIES = {"GET /billing/upgrade/preview": {"plan": "enterprise"}}
"""What must stand in an address and names no object."""

LIVING: dict[str, Callable[[Caller], dict[str, Any]]] = {
    "POST /admin/mta-nodes": lambda caller: {"url": "http://127.0.0.1:9"},
    "POST /admin/session": _operator,
    "POST /auth/2fa/disable": _factor,
    "POST /auth/2fa/recovery-codes": _factor,
    "POST /auth/2fa/enable": _pending_factor,
    "POST /auth/change-password": lambda caller: {
        "current_password": PASSWORD, **_new_password(caller)
    },
    "POST /auth/login": _login,
    "POST /auth/logout": _refresh_token,
    "POST /auth/reauthenticate": lambda caller: {"password": PASSWORD},
    "POST /auth/refresh": _refresh_token,
    "POST /auth/register": _newcomer,
    "POST /auth/reset-password": partial(_mailed, "reset_password"),
    "POST /auth/users": _address,
    "POST /auth/users/accept-invite": lambda caller: {"token": caller.estate.invited()},
    "POST /auth/verify-email": partial(_mailed, "verify_email"),
    "POST /domains/connect": _claim,
    "POST /infrastructure/suppressions": _names,
    # True would shut out everybody who comes after.
    "PATCH /auth/tenant": lambda caller: {"requires_two_factor": False},
}  # fmt: skip
"""What an example cannot hold."""


def _dead_job() -> str:
    with transaction(tenant=ALL_TENANTS) as db:
        event = OutboxEvent(id=new_id(), event="X", payload={}, routed_at=clock.now())
        db.add(event)
        db.flush()
        job = Job(
            id=new_id(),
            outbox_id=event.id,
            task="billing.expire_trials",
            payload={},
            state=JobState.DEAD,
            attempts=12,
            next_try_at=clock.now(),
        )
        db.add(job)
        return str(job.id)


def _any_operator() -> str:
    return str(new_id())


def _any_node() -> str:
    return str(new_id())


PLATFORM: dict[str, Callable[[], str]] = {
    "job_id": _dead_job,
    "mta_node_id": _any_node,
    "operator_id": _any_operator,
}
"""Ids of what belongs to no tenant."""


def _username(caller: Caller) -> str:
    with transaction(tenant=ALL_TENANTS) as db:
        return db.get_one(Inbox, UUID(caller.estate.make("inbox"))).username


def _signed_domain(caller: Caller) -> str:
    with transaction(tenant=ALL_TENANTS) as db:
        return db.get_one(Domain, UUID(caller.estate.make("signed_domain"))).domain_name


NODES_WORDS: dict[str, Callable[[Caller], str]] = {
    "username": _username,
    "domain": _signed_domain,
}
"""How relay nodes name what they ask for."""
