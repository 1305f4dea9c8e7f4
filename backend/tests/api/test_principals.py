"""Who asks: people, programs with API keys, and what each must show."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from app import clock
from app.database.models import APIKey, RefreshToken, Tenant, User
from app.database.session import ALL_TENANTS, transaction
from app.rules import api_keys
from app.utils import security
from tests.fixtures.customer import Customer
from tests.fixtures.world import Running


@pytest.fixture
def key_of(world: Running) -> Callable[..., httpx.Client]:
    """`key_of(customer, "domains:read")`: the HTTP client of a program."""

    def make(customer: Customer, *scopes: str, live: bool = False, **fields: Any) -> httpx.Client:
        key = api_keys.assemble(security.new_secret(), live=live)
        with transaction(tenant=ALL_TENANTS) as db:
            db.add(
                APIKey(
                    tenant_id=UUID(customer.tenant_id),
                    name="a program",
                    prefix=api_keys.hint(key),
                    token_hash=security.token_hash(key),
                    scopes=list(scopes),
                    **fields,
                )
            )
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.Client(base_url=f"{world.api_url}/api/v1", headers=headers, timeout=30)

    return make


def code_of(answer: httpx.Response) -> tuple[int, str | None]:
    return answer.status_code, answer.json().get("error_code")


def test_a_program_does_what_its_scopes_allow(signed_in: Customer, key_of) -> None:
    program = key_of(signed_in, "domains:read")
    assert program.get("/domains").status_code == 200
    refused = program.get("/infrastructure/inboxes")
    assert code_of(refused) == (403, "FORBIDDEN")
    assert refused.json()["details"] == {"required": "inboxes:read"}


def test_a_scope_that_is_a_persons_gives_a_program_nothing(signed_in: Customer, key_of) -> None:
    program = key_of(signed_in, "profile:write", "keys:write", "account:write")
    assert code_of(program.get("/auth/sessions"))[0] == 403


def test_me_tells_a_program_who_it_is(signed_in: Customer, key_of) -> None:
    me = key_of(signed_in, "account:read", "domains:read").get("/auth/me").json()["data"]
    assert me["user"] is None
    assert me["permissions"] == ["account:read", "domains:read"]
    assert me["tenant"]["id"] == signed_in.tenant_id


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"revoked_at": "past"}, "UNAUTHENTICATED"),  # taken back
        ({"expires_at": "past"}, "TOKEN_EXPIRED"),  # over
        ({"live": True}, "UNAUTHENTICATED"),  # of a production installation, and this is none
    ],
)
def test_a_key_that_is_good_for_nothing(
    signed_in: Customer, key_of, fields: dict[str, Any], code: str
) -> None:
    fields = {
        name: clock.now() - timedelta(seconds=1) if value == "past" else value
        for name, value in fields.items()
    }
    program = key_of(signed_in, "domains:read", **fields)
    assert code_of(program.get("/domains")) == (401, code)


def test_the_use_of_a_key_is_noted(signed_in: Customer, key_of) -> None:
    program = key_of(signed_in, "domains:read")
    program.get("/domains")
    assert noted() is not None
    first = noted()
    program.get("/domains")
    assert noted() == first, "written down once a minute at most"


def noted() -> datetime | None:
    with transaction(tenant=ALL_TENANTS) as db:
        return db.query(APIKey).one().last_used_at


def test_a_program_sees_its_own_tenant_only(
    signed_in: Customer, other: Customer, own_domain, key_of
) -> None:
    theirs = own_domain(other)
    program = key_of(signed_in, "domains:read")
    assert program.get("/domains").json()["data"] == []
    assert program.get(f"/domains/{theirs}").status_code == 404


def test_a_program_of_a_suspended_tenant_is_refused(
    signed_in: Customer, operator: httpx.Client, key_of
) -> None:
    program = key_of(signed_in, "domains:read", "billing:read")
    operator.post(
        f"/admin/tenants/{signed_in.tenant_id}/suspend", json={"reason": "spam_complaint"}
    ).raise_for_status()
    assert code_of(program.get("/domains")) == (403, "TENANT_SUSPENDED")
    assert program.get("/billing/subscription").status_code == 200


def test_a_program_may_repeat_with_an_idempotency_key(paying: Customer, own_domain, key_of) -> None:
    program = key_of(paying, "inboxes:write", "inboxes:read")
    body = {"domain_id": own_domain(paying), "inbox_count": 2}
    headers = {"Idempotency-Key": "k-1"}
    first = program.post("/infrastructure/provision", json=body, headers=headers)
    again = program.post("/infrastructure/provision", json=body, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    assert again.headers["Idempotency-Replayed"] == "true"


def test_what_a_program_did_is_put_down_to_it(paying: Customer, own_domain, key_of) -> None:
    program = key_of(paying, "inboxes:write")
    program.post(
        "/infrastructure/provision", json={"domain_id": own_domain(paying), "inbox_count": 1}
    ).raise_for_status()
    trail = paying.get("/analytics/audit-log", action="inbox_provisioned")
    assert {row["actor_type"] for row in trail} == {"api_key"}


def test_somebody_without_a_second_factor_must_set_one_up_first(signed_in: Customer) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        db.get_one(Tenant, UUID(signed_in.tenant_id)).requires_two_factor = True
    assert code_of(signed_in.http.get("/domains")) == (403, "TWO_FACTOR_REQUIRED")
    assert signed_in.http.get("/auth/me").status_code == 200
    with transaction(tenant=ALL_TENANTS) as db:
        db.query(User).update({"two_factor_enabled": True})
    assert signed_in.http.get("/domains").status_code == 200


def test_credentials_leave_only_towards_somebody_who_just_proved_who_they_are(
    paying: Customer, world: Running, key_of
) -> None:
    program = key_of(paying, "credentials:export")
    export = {"format": "generic"}
    assert paying.http.post("/infrastructure/exports", json=export).status_code == 200
    with transaction(tenant=ALL_TENANTS) as db:
        user = db.query(User).one()
        family = db.query(RefreshToken).filter_by(user_id=user.id).first()
        old = security.access_token(
            user_id=user.id,
            tenant_id=user.tenant_id,
            session_version=user.session_version,
            family_id=family.family_id,
            authenticated_at=clock.now() - timedelta(minutes=16),
        )
    paying.http.headers["Authorization"] = f"Bearer {old}"
    assert paying.http.get("/domains").status_code == 200
    refused = paying.http.post("/infrastructure/exports", json=export)
    assert code_of(refused) == (401, "REAUTHENTICATION_REQUIRED")
    # A key was given for exactly this, and a program has no password to show again.
    assert program.post("/infrastructure/exports", json=export).status_code == 200
