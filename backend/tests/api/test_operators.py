"""Platform operators: two factors at the door, short sessions, and a trail of what they do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select, text

from app import clock
from app.database.models import Operator
from app.database.session import ALL_TENANTS, transaction
from app.services.operator_service import OperatorService
from app.utils import security
from tests.api.test_envelope import filled, is_error, operations
from tests.fixtures.customer import Customer
from tests.fixtures.database import WAITING
from tests.fixtures.operators import OperatorClient, totp_code
from tests.fixtures.world import Running, eventually


@pytest.fixture
def stranger(world: Running):
    """An operator who has not signed in yet."""
    with OperatorClient(world) as client:
        yield client


def actions(operator: OperatorClient, **filters: str) -> list[str]:
    rows = operator.get("/admin/audit", params=filters).json()["data"]
    return [row["action"] for row in rows]


# The door ---------------------------------------------------------------------------------------


def test_a_session_needs_both_factors(stranger: OperatorClient) -> None:
    for wrong in (
        {"totp_code": totp_code(stranger.secret, steps=-20)},
        {"totp_code": "000000x"},
        {"token": f"ig_op_{security.new_token()}"},
        {"token": "x"},
    ):
        answer = stranger.try_sign_in(**wrong)
        is_error(answer, 401, "INVALID_CREDENTIALS")
        assert answer.json()["message"] == "The token or the code is wrong."
    answer = stranger.post("/admin/session", json={"token": stranger.token})
    is_error(answer, 400, "VALIDATION_ERROR")
    opened = stranger.try_sign_in().json()["data"]
    assert set(opened) == {"access_token", "expires_in", "token_type"}
    assert opened["expires_in"] == 3600
    headers = {"Authorization": f"Bearer {opened['access_token']}"}
    assert stranger.get("/admin/tenants", headers=headers).status_code == 200


def test_the_long_lived_token_opens_nothing_else(stranger: OperatorClient) -> None:
    headers = {"Authorization": f"Bearer {stranger.token}"}
    tried = 0
    for method, path, operation in operations():
        if operation["x-role"] in {"operator", "read_only", "member", "admin", "owner", "node"}:
            url = f"{stranger._world.api_url}{filled(path)}"
            answer = stranger.request(method, url, headers=headers, json={"reason": "x"})
            is_error(answer, 401, "UNAUTHENTICATED")
            tried += 1
    assert tried > 40


def test_a_code_counts_once(stranger: OperatorClient) -> None:
    code = stranger.fresh_code()
    assert stranger.try_sign_in(totp_code=code).status_code == 200
    is_error(stranger.try_sign_in(totp_code=code), 401, "INVALID_CREDENTIALS")
    # An older one that was never sent is over, too.
    older = totp_code(stranger.secret, steps=-1)
    is_error(stranger.try_sign_in(totp_code=older), 401, "INVALID_CREDENTIALS")


def test_a_code_counts_once_for_those_who_send_it_together(stranger: OperatorClient) -> None:
    code = stranger.fresh_code()
    with ThreadPoolExecutor(4) as pool:
        with transaction(tenant=ALL_TENANTS) as db:
            db.execute(select(Operator).with_for_update())
            sent = [pool.submit(stranger.try_sign_in, totp_code=code) for _ in range(4)]
            # All four are at the operator's row before the first may go on.
            eventually(lambda: db.scalar(text(WAITING)) >= 4, within=4, why="four wait for the row")
        answers = [future.result() for future in sent]
    assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401]


def test_guessing_codes_is_throttled_and_success_is_not_counted(
    world: Running, stranger: OperatorClient
) -> None:
    for _ in range(7):
        assert stranger.try_sign_in().status_code == 200
    for _ in range(5):
        is_error(stranger.try_sign_in(totp_code="12345x"), 401, "INVALID_CREDENTIALS")
    refused = stranger.try_sign_in()
    is_error(refused, 429, "RATE_LIMITED")
    assert int(refused.headers["Retry-After"]) > 0
    # It is the account that waits, not the platform.
    with OperatorClient(world) as another:
        assert another.try_sign_in().status_code == 200
    world.advance(seconds=11 * 60)
    assert stranger.try_sign_in().status_code == 200


def test_an_address_that_tries_many_tokens_is_throttled(stranger: OperatorClient) -> None:
    codes = {
        stranger.try_sign_in(token=f"ig_op_{number}", totp_code="123456").status_code
        for number in range(12)
    }
    assert codes == {401, 429}


def test_refused_attempts_at_a_known_operator_are_put_down(operator: OperatorClient) -> None:
    is_error(operator.try_sign_in(totp_code="12345x"), 401, "INVALID_CREDENTIALS")
    (refused, opened, made) = operator.get("/admin/audit").json()["data"]
    assert [row["action"] for row in (refused, opened, made)] == [
        "operator_session_refused",
        "operator_session_opened",
        "operator_created",
    ]
    assert refused["operator_id"] == opened["operator_id"] == operator.id
    assert refused["ip"] == "127.0.0.1"
    assert refused["request_id"]
    assert made["operator_id"] is None
    assert operator.token not in str(made)
    assert operator.secret not in str(made)


def test_an_operator_without_a_second_factor_cannot_sign_in(stranger: OperatorClient) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        db.get_one(Operator, UUID(stranger.id)).totp_secret = None
    is_error(stranger.try_sign_in(), 401, "INVALID_CREDENTIALS")


# Two worlds -------------------------------------------------------------------------------------


def test_a_tenant_is_no_operator(paying: Customer) -> None:
    for method, path, operation in operations():
        if operation["x-role"] == "operator":
            url = f"{paying.world.api_url}{filled(path)}"
            answer = paying.http.request(method, url, json={"reason": "blacklisted"})
            is_error(answer, 403, "FORBIDDEN")


def test_an_operator_is_no_tenant(operator: OperatorClient) -> None:
    tried = 0
    for method, path, operation in operations():
        if operation["x-role"] in {"read_only", "member", "admin", "owner", "node"}:
            url = f"{operator._world.api_url}{filled(path)}"
            is_error(operator.request(method, url, json={}), 401, "UNAUTHENTICATED")
            tried += 1
    assert tried > 30


# Sessions ---------------------------------------------------------------------------------------


def test_a_session_lasts_an_hour(world: Running, operator: OperatorClient) -> None:
    world.advance(seconds=59 * 60)
    assert operator.get("/admin/tenants").status_code == 200
    world.advance(seconds=2 * 60)
    is_error(operator.get("/admin/tenants"), 401, "TOKEN_EXPIRED")


def test_what_cannot_be_undone_wants_a_recent_session(
    world: Running, paying: Customer, operator: OperatorClient
) -> None:
    world.advance(seconds=14 * 60)
    tenant = f"/admin/tenants/{paying.tenant_id}"
    assert operator.post(f"{tenant}/suspend", json={"reason": "blacklisted"}).is_success
    world.advance(seconds=2 * 60)
    guarded = {
        (method, path)
        for method, path, operation in operations()
        if operation["x-role"] == "operator" and method == "POST"
    }
    assert len(guarded) >= 6
    for method, path in guarded:
        url = f"{world.api_url}{filled(path)}"
        answer = operator.request(method, url, json={"reason": "blacklisted"})
        is_error(answer, 401, "REAUTHENTICATION_REQUIRED")
    assert operator.get(tenant).status_code == 200
    assert operator.sign_in().post(f"{tenant}/reinstate").is_success


def test_signing_out_ends_every_session_of_that_operator(
    operator: OperatorClient, second_operator: OperatorClient
) -> None:
    first = operator.headers["Authorization"]
    operator.sign_in()
    assert operator.delete("/admin/session").json()["data"] == {"done": True}
    for token in (first, operator.headers["Authorization"]):
        answer = operator.get("/admin/tenants", headers={"Authorization": token})
        is_error(answer, 401, "UNAUTHENTICATED")
    assert second_operator.get("/admin/tenants").status_code == 200
    assert actions(second_operator, action="operator_sessions_ended")
    assert operator.sign_in().get("/admin/tenants").status_code == 200


def test_a_revoked_operator_is_nobody(
    operator: OperatorClient, second_operator: OperatorClient
) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        OperatorService.revoke(operator.name, db)
    is_error(operator.get("/admin/tenants"), 401, "UNAUTHENTICATED")
    is_error(operator.try_sign_in(), 401, "INVALID_CREDENTIALS")
    assert second_operator.get("/admin/tenants").status_code == 200
    # Also when nothing but the revocation says so.
    with transaction(tenant=ALL_TENANTS) as db:
        db.get_one(Operator, UUID(second_operator.id)).revoked_at = clock.now()
    is_error(second_operator.get("/admin/tenants"), 401, "UNAUTHENTICATED")


def test_a_new_second_factor_ends_what_the_old_one_opened(operator: OperatorClient) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        made = OperatorService.reset_two_factor(operator.name, db)
    assert made.token is None
    is_error(operator.get("/admin/tenants"), 401, "UNAUTHENTICATED")
    old = totp_code(operator.secret, steps=1)
    is_error(operator.try_sign_in(totp_code=old), 401, "INVALID_CREDENTIALS")
    operator.secret = made.totp_secret
    assert operator.sign_in().get("/admin/tenants").status_code == 200


def test_a_forged_or_foreign_token_is_nobody(operator: OperatorClient) -> None:
    signed = security.operator_token(
        operator_id=UUID("01890000-0000-7000-8000-000000000000"),
        session_version=1,
        authenticated_at=clock.now(),
    )
    head, body, signature = operator.headers["Authorization"].removeprefix("Bearer ").split(".")
    for token in (signed, f"{head}.{body}.{signature[::-1]}", f"{head}.{body}.", "ig_op_x"):
        answer = operator.get("/admin/tenants", headers={"Authorization": f"Bearer {token}"})
        is_error(answer, 401, "UNAUTHENTICATED")


# Decisions --------------------------------------------------------------------------------------

EVIDENCE = {"complaints": 12, "rate": 0.004, "source": "feedback loop", "automatic": False}


def test_a_suspension_is_a_decision_that_the_tenant_can_read(
    paying: Customer, other: Customer, operator: OperatorClient
) -> None:
    assert paying.get("/auth/me")["suspension"] is None
    before = datetime.now(UTC) - timedelta(days=1)
    path = f"/admin/tenants/{paying.tenant_id}"
    body = {"reason": "spam_complaint", "note": "Twelve complaints.", "evidence": EVIDENCE}
    assert operator.post(f"{path}/suspend", json=body).is_success
    (row,) = operator.get("/admin/decisions").json()["data"]
    assert (row["action"], row["reason"], row["evidence"]) == (
        "suspend",
        "spam_complaint",
        EVIDENCE,
    )
    assert (row["actor_type"], row["actor_id"]) == ("operator", operator.id)
    assert (row["tenant_id"], row["note"]) == (paying.tenant_id, "Twelve complaints.")
    assert row["rule_version"]
    told = paying.get("/auth/me")["suspension"]
    assert (told["reason"], told["note"]) == ("spam_complaint", "Twelve complaints.")
    assert "support" in told["what_to_do"]
    assert datetime.fromisoformat(told["since"]) > before
    refused = paying.http.get("/domains")
    is_error(refused, 403, "TENANT_SUSPENDED")
    details = refused.json()["details"]
    assert details["reason"] == "spam_complaint"
    assert datetime.fromisoformat(details["since"]) == datetime.fromisoformat(told["since"])
    assert datetime.fromisoformat(details["since"]).utcoffset() == timedelta(0)
    assert other.get("/auth/me")["suspension"] is None
    # Repeating it decides nothing.
    assert operator.post(f"{path}/suspend", json=body).is_success
    assert operator.post(f"{path}/reinstate", json={"note": "Explained."}).is_success
    assert operator.post(f"{path}/reinstate").is_success
    rows = operator.get("/admin/decisions").json()["data"]
    assert [(row["action"], row["note"]) for row in rows] == [
        ("reinstate", "Explained."),
        ("suspend", "Twelve complaints."),
    ]
    assert paying.get("/auth/me")["suspension"] is None


def test_decisions_are_filtered_and_paged(
    paying: Customer, other: Customer, operator: OperatorClient
) -> None:
    for customer in (paying, other):
        path = f"/admin/tenants/{customer.tenant_id}"
        operator.post(f"{path}/suspend", json={"reason": "blacklisted"}).raise_for_status()
        operator.post(f"{path}/reinstate").raise_for_status()
    of_one = operator.get("/admin/decisions", params={"tenant_id": paying.tenant_id}).json()
    assert {row["tenant_id"] for row in of_one["data"]} == {paying.tenant_id}
    suspensions = operator.get("/admin/decisions?action=suspend").json()["data"]
    assert [row["tenant_id"] for row in suspensions] == [other.tenant_id, paying.tenant_id]
    seen, cursor = [], None
    while True:
        params = {"limit": "3", **({"cursor": cursor} if cursor else {})}
        answer = operator.get("/admin/decisions", params=params).json()
        seen += [row["id"] for row in answer["data"]]
        cursor = answer["meta"]["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 4
    is_error(operator.get("/admin/decisions?action=x"), 400, "VALIDATION_ERROR")


@pytest.mark.parametrize(
    "body",
    [
        b'{"reason": "blacklisted", "evidence": {"x": NaN}}',
        b'{"reason": "blacklisted", "evidence": {"x": 1e999}}',
        b'{"reason": "blacklisted", "evidence": {"x": 100000000000000000000000}}',
        b'{"reason": "blacklisted", "evidence": {"x": {"deep": 1}}}',
        b'{"reason": "blacklisted", "evidence": {"x": "a\\u0000"}}',
        b'{"reason": "blacklisted", "evidence": [1]}',
        b'{"reason": "blacklisted", "note": "' + b"x" * 2001 + b'"}',
        b'{"reason": "boredom"}',
        b"{}",
    ],
)
def test_evidence_is_plain_facts(paying: Customer, operator: OperatorClient, body: bytes) -> None:
    path = f"/admin/tenants/{paying.tenant_id}/suspend"
    answer = operator.post(path, content=body, headers={"Content-Type": "application/json"})
    is_error(answer, 400, "VALIDATION_ERROR")
    assert operator.get("/admin/decisions").json()["data"] == []


# What operators see and leave -------------------------------------------------------------------


def test_one_tenant_with_people_counts_decisions_and_trail(
    paying: Customer, other: Customer, own_domain, operator: OperatorClient
) -> None:
    own_domain(paying)
    path = f"/admin/tenants/{paying.tenant_id}"
    operator.post(f"{path}/suspend", json={"reason": "blacklisted"}).raise_for_status()
    shown = operator.get(path).json()["data"]
    assert shown["tenant"]["id"] == paying.tenant_id
    assert [user["email"] for user in shown["users"]] == [f"owner@company-{paying.tag}.example"]
    assert shown["counts"]["users"] == 1
    assert shown["counts"]["domains"] == {"active": 1}
    assert [row["action"] for row in shown["decisions"]] == ["suspend"]
    assert shown["audit"][0]["action"] == "tenant_suspended"
    assert "tenant_registered" in {row["action"] for row in shown["audit"]}
    assert other.tenant_id not in str(shown)
    assert "password_hash" not in str(shown)
    absent = "/admin/tenants/01890000-0000-7000-8000-000000000000"
    is_error(operator.get(absent), 404, "NOT_FOUND")
    is_error(operator.get("/admin/tenants/x"), 400, "VALIDATION_ERROR")


def test_acts_on_a_tenant_are_in_both_trails(
    paying: Customer, operator: OperatorClient, second_operator: OperatorClient
) -> None:
    path = f"/admin/tenants/{paying.tenant_id}"
    operator.post(f"{path}/suspend", json={"reason": "blacklisted"}).raise_for_status()
    second_operator.post(f"{path}/reinstate").raise_for_status()
    for action, who in (("tenant_suspended", operator), ("tenant_reinstated", second_operator)):
        (theirs,) = paying.get("/analytics/audit-log", action=action)
        assert (theirs["actor_type"], theirs["actor_id"]) == ("operator", who.id)
        (ours,) = operator.get(
            "/admin/audit", params={"operator_id": who.id, "action": action}
        ).json()["data"]
        assert (ours["resource_type"], ours["resource_id"]) == ("tenant", paying.tenant_id)
        assert ours["request_id"] == theirs["request_id"]
    assert actions(operator, operator_id=second_operator.id) == [
        "tenant_reinstated",
        "operator_session_opened",
    ]


def test_signing_in_hides_what_was_given(operator: OperatorClient, api: httpx.Client) -> None:
    body = {"token": 7, "totp_code": operator.secret}
    answer = api.post("/api/v1/admin/session", json=body)
    is_error(answer, 400, "VALIDATION_ERROR")
    assert operator.secret not in answer.text
