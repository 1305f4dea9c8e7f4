"""Fields that nobody may set, and fields that there are not, in every body: 400, and nothing done."""

from __future__ import annotations

from typing import Any

import httpx

from app.database.models import Base
from tests.fixtures.world import Running
from tests.people import forgive
from tests.security.calls import Caller, call
from tests.security.estate import Estate, operators_bearer
from tests.security.operations import OPERATIONS, Operation
from tests.security.test_isolation import checksums

FORBIDDEN: dict[str, Any] = {
    "id": "019a2b3c-4d5e-7f60-8a1b-2c3d4e5f6071",
    "tenant_id": "019a2b3c-4d5e-7f60-8a1b-2c3d4e5f6071",
    "user_id": "019a2b3c-4d5e-7f60-8a1b-2c3d4e5f6071",
    "created_by": "019a2b3c-4d5e-7f60-8a1b-2c3d4e5f6071",
    "invited_by": "019a2b3c-4d5e-7f60-8a1b-2c3d4e5f6071",
    "created_at": "2020-01-01T00:00:00Z",
    "updated_at": "2020-01-01T00:00:00Z",
    "is_admin": True,
    "is_active": True,
    "is_verified": True,
    "is_suspended": False,
    "is_default": True,
    "is_superuser": True,
    "permissions": ["platform"],
    "password_hash": "x",
    "password_hmac": "x",
    "token_hash": "x",
    "session_version": 99,
    "totp_secret": "JBSWY3DPEHPK3PXP",
    "totp_step": 0,
    "two_factor_enabled": False,
    "suspension_reason": None,
    "subscription_tier": "enterprise",
    "subscription_status": "active",
    "stripe_customer_id": "cus_x",
    "stripe_subscription_id": "sub_x",
    "trial_ends_at": "2099-01-01T00:00:00Z",
    "trial_inbox_limit": 10_000,
    "trial_converted": True,
    "trial_refused_for": None,
    "domains_count": 0,
    "inboxes_count": 0,
    "daily_limit": 1_000_000,
    "monthly_limit": 1_000_000,
    "health_score": 100,
    "warmup_stage": 99,
    "price_cents": 1,
    "cost_cents": 1,
    "amount": 1,
    "currency": "xxx",
    "state": "captured",
    "kumo_authorized": True,
    "dkim_selector": "mine",
    "rule_version": "0",
    "actor_id": "019a2b3c-4d5e-7f60-8a1b-2c3d4e5f6071",
    "revoked_at": None,
    "expires_in": 10**9,
    "__proto__": {},
    "no_such_field": 1,
    "": 1,
}
"""Columns and answers that look as if they could be set."""

WRITES = [operation for operation in OPERATIONS if operation.body_schema()]


def test_every_write_is_known() -> None:
    assert len(FORBIDDEN) >= 40
    assert len(WRITES) > 20
    assert all(w.body_schema().get("additionalProperties") is False for w in WRITES)
    columns = {name for table in Base.metadata.tables.values() for name in table.c.keys()}  # noqa: SIM118
    assert len(set(FORBIDDEN) & columns) > 30, "the list follows the tables"


def test_no_body_takes_a_field_that_it_does_not_document(world: Running, estate: Estate) -> None:
    wrong: list[str] = []
    with httpx.Client(base_url=world.api_url, timeout=30) as client:
        for operation in WRITES:
            forgive()
            caller = Caller(estate, estate.person("owner"))
            request = call(operation, caller)
            known = operation.body_schema()["properties"]
            extra = {name: value for name, value in FORBIDDEN.items() if name not in known}
            arguments = request.arguments(_headers(operation, caller))
            before = checksums(estate)
            answer = client.request(**arguments | {"json": extra | (request.body or {})})
            if faults := _faults(answer, set(extra)):
                wrong.append(f"{operation.name}: {faults}")
            if checksums(estate) != before:
                wrong.append(f"{operation.name} changed something")
    assert wrong == []


def _headers(operation: Operation, caller: Caller) -> dict[str, str]:
    if operation.role == "operator":
        return operators_bearer()
    return caller.estate.bearer(caller.person) if operation.is_tenants else {}


def _faults(answer: httpx.Response, extra: set[str]) -> str | None:
    """Each of the fields is refused by its name, and nothing but them."""
    if answer.status_code != 400:
        return f"{answer.status_code} {answer.text[:200]}"
    fields = answer.json()["details"].get("fields", [])
    refused = {field["field"] for field in fields if field["type"] == "extra_forbidden"}
    return None if refused == extra and len(fields) == len(extra) else f"{fields}"
