"""Second factors: switched on and off, spent once, and never guessed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select

from app.database.models import AuditLog, RecoveryCode, User
from app.database.session import ALL_TENANTS, transaction
from app.services.two_factor_service import TwoFactorService
from tests.fixtures.customer import Customer
from tests.fixtures.team import PASSWORD, Join, code_of, mails, two_factor_on
from tests.fixtures.world import Running


def sign_in(customer: Customer, **more: str) -> httpx.Response:
    return httpx.post(
        f"{customer.world.api_url}/api/v1/auth/login",
        json={"email": email_of(customer), "password": password_of(customer), **more},
        timeout=30,
    )


def email_of(customer: Customer) -> str:
    email: str = customer.signed_up["user"]["email"]
    return email


def password_of(customer: Customer) -> str:
    return PASSWORD if email_of(customer).startswith("bo-") else f"Correct-{customer.tag}-horse"


def user_of(customer: Customer) -> User:
    with transaction(tenant=ALL_TENANTS) as db:
        return db.get_one(User, UUID(customer.signed_up["user"]["id"]))


def code(answer: httpx.Response) -> tuple[int, Any]:
    return answer.status_code, answer.json().get("error_code")


def test_a_second_factor_is_asked_for_once_it_is_on(signed_in: Customer, world: Running) -> None:
    made = signed_in.post("/auth/2fa/setup")
    assert made["secret"] in made["otpauth_uri"]
    assert made["qr_svg"].startswith("<svg ")
    assert signed_in.get("/auth/2fa")["enabled"] is False
    assert sign_in(signed_in).status_code == 200, "set-up alone changes nothing"

    enabled = signed_in.post("/auth/2fa/enable", code=code_of(made["secret"]))
    assert len(set(enabled["recovery_codes"])) == 10
    signed_in.http.headers["Authorization"] = f"Bearer {enabled['access_token']}"
    assert signed_in.get("/auth/2fa") == {
        "enabled": True,
        "required": False,
        "recovery_codes_left": 10,
    }
    assert signed_in.get("/auth/me")["user"]["two_factor_enabled"] is True
    assert code(sign_in(signed_in)) == (401, "TOTP_REQUIRED")
    assert code(sign_in(signed_in, totp_code="000000")) == (401, "INVALID_CREDENTIALS")
    world.advance(seconds=30)
    assert sign_in(signed_in, totp_code=code_of(made["secret"])).status_code == 200


def test_nothing_that_proves_is_kept_in_the_clear(signed_in: Customer) -> None:
    secret, codes = two_factor_on(signed_in)
    user = user_of(signed_in)
    assert user.totp_secret is not None
    assert secret.encode() not in bytes(user.totp_secret)
    with transaction(tenant=ALL_TENANTS) as db:
        hashes = list(db.scalars(select(RecoveryCode.code_hash)))
        trail = [str(row.changes) for row in db.scalars(select(AuditLog))]
    assert len(hashes) == 10
    assert not any(text.encode() in bytes(hash_) for text in codes for hash_ in hashes)
    assert not any(text in line for text in [secret, *codes] for line in trail)


def test_a_wrong_code_switches_nothing_on(signed_in: Customer) -> None:
    assert code(signed_in.try_post("/auth/2fa/enable", code="123456")) == (409, "CONFLICT")
    secret = signed_in.post("/auth/2fa/setup")["secret"]
    for wrong in (code_of(secret, 2), code_of(secret, -2), "12345", "abcdef", "１２３４５６"):
        answer = signed_in.try_post("/auth/2fa/enable", code=wrong)
        if answer.status_code == 429:
            break
        assert code(answer) == (400, "VALIDATION_ERROR")
        assert answer.json()["details"]["fields"][0]["field"] == "code"
    assert not user_of(signed_in).two_factor_enabled


def test_of_two_set_ups_the_later_counts(signed_in: Customer) -> None:
    earlier = signed_in.post("/auth/2fa/setup")["secret"]
    later = signed_in.post("/auth/2fa/setup")["secret"]
    assert signed_in.try_post("/auth/2fa/enable", code=code_of(earlier)).status_code == 400
    enabled = signed_in.post("/auth/2fa/enable", code=code_of(later))
    signed_in.http.headers["Authorization"] = f"Bearer {enabled['access_token']}"
    # One that is on is not replaced by whoever finds an open screen.
    assert code(signed_in.try_post("/auth/2fa/setup")) == (409, "CONFLICT")
    assert code(signed_in.try_post("/auth/2fa/enable", code=code_of(later, 1))) == (409, "CONFLICT")


def test_switching_ends_every_session_but_the_callers(signed_in: Customer) -> None:
    elsewhere = sign_in(signed_in).json()["data"]
    before = signed_in.http.headers["Authorization"]
    two_factor_on(signed_in)
    assert signed_in.get("/auth/me")
    for stale in (before, f"Bearer {elsewhere['access_token']}"):
        answer = signed_in.http.get("/auth/me", headers={"Authorization": stale})
        assert answer.status_code == 401
    theirs = signed_in.try_post("/auth/refresh", refresh_token=elsewhere["refresh_token"])
    assert theirs.status_code == 401
    assert signed_in.post("/auth/refresh", refresh_token=signed_in.signed_up["refresh_token"])


def test_a_code_counts_once(signed_in: Customer, world: Running) -> None:
    secret, _ = two_factor_on(signed_in)
    enabled_with = code_of(secret)
    assert code(sign_in(signed_in, totp_code=enabled_with)) == (401, "INVALID_CREDENTIALS")
    newer = code_of(secret, 1)
    assert sign_in(signed_in, totp_code=newer).status_code == 200
    world.advance(seconds=30)
    assert sign_in(signed_in, totp_code=newer).status_code == 401, "used already"
    assert sign_in(signed_in, totp_code=enabled_with).status_code == 401, "older than the last"
    assert sign_in(signed_in, totp_code=code_of(secret, 1)).status_code == 200


def in_parallel(customer: Customer, text: str, times: int = 50) -> list[bool]:
    def once(_: int) -> bool:
        with transaction(tenant=UUID(customer.tenant_id)) as db:
            return TwoFactorService.accepts(UUID(customer.signed_up["user"]["id"]), text, db)

    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(once, range(times)))


def test_of_fifty_who_use_one_code_at_once_one_succeeds(
    signed_in: Customer, world: Running
) -> None:
    secret, codes = two_factor_on(signed_in)
    for round_ in range(3):
        world.advance(seconds=30)
        assert sum(in_parallel(signed_in, code_of(secret))) == 1
        assert sum(in_parallel(signed_in, codes[round_])) == 1


def test_of_ten_who_sign_in_with_one_code_at_once_one_succeeds(
    signed_in: Customer, world: Running
) -> None:
    secret, _ = two_factor_on(signed_in)
    world.advance(seconds=30)
    text = code_of(secret)
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: sign_in(signed_in, totp_code=text), range(10)))
    statuses = [answer.status_code for answer in answers]
    assert statuses.count(200) == 1
    assert set(statuses) <= {200, 401, 429}


def test_a_recovery_code_replaces_the_app_once(
    signed_in: Customer, world: Running, drain: Callable[..., list[str]]
) -> None:
    _, codes = two_factor_on(signed_in)
    typed = codes[0].upper().replace("-", " ")
    assert sign_in(signed_in, totp_code=typed).status_code == 200
    assert code(sign_in(signed_in, totp_code=codes[0])) == (401, "INVALID_CREDENTIALS")
    assert sign_in(signed_in, totp_code=codes[1]).status_code == 200
    assert signed_in.get("/auth/2fa")["recovery_codes_left"] == 8
    drain()
    subjects = [mail["subject"] for mail in mails(world, email_of(signed_in))]
    assert subjects.count("A recovery code was used") == 2


def test_new_recovery_codes_void_the_old(signed_in: Customer) -> None:
    assert code(signed_in.try_post("/auth/2fa/recovery-codes")) == (409, "CONFLICT")
    _, old = two_factor_on(signed_in)
    new = signed_in.post("/auth/2fa/recovery-codes")["recovery_codes"]
    assert not set(new) & set(old)
    assert sign_in(signed_in, totp_code=old[0]).status_code == 401
    assert sign_in(signed_in, totp_code=new[0]).status_code == 200


def test_after_five_wrong_codes_even_the_right_one_waits(
    signed_in: Customer, world: Running
) -> None:
    secret, codes = two_factor_on(signed_in)
    for _ in range(5):
        assert sign_in(signed_in, totp_code="000000").status_code == 401
    world.advance(seconds=30)
    answer = sign_in(signed_in, totp_code=code_of(secret))
    assert code(answer) == (429, "RATE_LIMITED")
    assert int(answer.headers["Retry-After"]) > 0
    assert sign_in(signed_in, totp_code=codes[0]).status_code == 429, "nor a recovery code"
    world.advance(seconds=660)
    assert sign_in(signed_in, totp_code=code_of(secret)).status_code == 200


@pytest.mark.parametrize("proof", ["password", "code", "recovery"])
def test_it_is_switched_off_by_password_or_code(
    signed_in: Customer, world: Running, proof: str
) -> None:
    secret, codes = two_factor_on(signed_in)
    elsewhere = sign_in(signed_in, totp_code=codes[1]).json()["data"]
    for body in ({}, {"password": "x", "code": "y"}, {"password": None}, {"code": ""}):
        assert signed_in.try_post("/auth/2fa/disable", **body).status_code == 400
    for wrong in ({"password": "wrong password"}, {"code": "000000"}):
        answer = signed_in.try_post("/auth/2fa/disable", **wrong)
        assert code(answer) == (401, "INVALID_CREDENTIALS")
    world.advance(seconds=30)
    right = {
        "password": {"password": password_of(signed_in)},
        "code": {"code": code_of(secret)},
        "recovery": {"code": codes[0]},
    }[proof]
    disabled = signed_in.post("/auth/2fa/disable", **right)
    assert disabled["enabled"] is False
    stale = {"Authorization": f"Bearer {elsewhere['access_token']}"}
    assert signed_in.http.get("/auth/me", headers=stale).status_code == 401
    signed_in.http.headers["Authorization"] = f"Bearer {disabled['access_token']}"
    assert signed_in.get("/auth/2fa")["enabled"] is False
    assert sign_in(signed_in).status_code == 200
    user = user_of(signed_in)
    assert (user.totp_secret, user.totp_step) == (None, None)
    assert code(signed_in.try_post("/auth/2fa/disable", code="000000")) == (409, "CONFLICT")


@pytest.mark.parametrize("path", ["setup", "enable", "disable", "recovery-codes"])
def test_all_of_it_wants_credentials_shown_lately(
    signed_in: Customer, world: Running, path: str
) -> None:
    world.advance(seconds=901)
    fresh = signed_in.post("/auth/refresh", refresh_token=signed_in.signed_up["refresh_token"])
    signed_in.http.headers["Authorization"] = f"Bearer {fresh['access_token']}"
    body = {"enable": {"code": "000000"}, "disable": {"password": "x"}}.get(path, {})
    answer = signed_in.try_post(f"/auth/2fa/{path}", **body)
    assert code(answer) == (401, "REAUTHENTICATION_REQUIRED")


def test_people_are_told_and_it_is_written_down(
    signed_in: Customer, world: Running, drain: Callable[..., list[str]]
) -> None:
    two_factor_on(signed_in)
    signed_in.post("/auth/2fa/recovery-codes")
    signed_in.post("/auth/2fa/disable", password=password_of(signed_in))
    drain()
    subjects = {mail["subject"] for mail in mails(world, email_of(signed_in))}
    assert subjects >= {
        "Two-factor authentication is on",
        "New recovery codes",
        "Two-factor authentication is off",
    }
    with transaction(tenant=ALL_TENANTS) as db:
        rows = db.scalars(select(AuditLog).where(AuditLog.resource_type == "user")).all()
    found = {row.action: row for row in rows}
    for action in (
        "two_factor_set_up",
        "two_factor_enabled",
        "recovery_codes_renewed",
        "two_factor_disabled",
    ):
        assert str(found[action].actor_id) == signed_in.signed_up["user"]["id"]
        assert found[action].ip == "127.0.0.1"


def test_a_company_may_require_it_of_everybody(
    signed_in: Customer, join: Join, world: Running
) -> None:
    member, admin = join(signed_in, "member"), join(signed_in, "admin")
    patch = {"requires_two_factor": True}
    assert code(signed_in.http.patch("/auth/tenant", json=patch)) == (409, "CONFLICT")
    two_factor_on(signed_in)
    assert code(member.http.patch("/auth/tenant", json=patch)) == (403, "FORBIDDEN")
    assert signed_in.http.patch("/auth/tenant", json=patch).json()["data"] == {
        "id": signed_in.tenant_id,
        "requires_two_factor": True,
    }
    for person in (member, admin):
        assert code(person.http.get("/auth/users")) == (403, "TWO_FACTOR_REQUIRED")
        assert code(person.http.get("/domains")) == (403, "TWO_FACTOR_REQUIRED")
        assert person.http.get("/auth/me").status_code == 200
        assert person.http.get("/auth/2fa").json()["data"]["required"] is True
    assert signed_in.get("/auth/users")
    two_factor_on(member)
    assert member.get("/auth/users")
    assert admin.http.post("/auth/logout").status_code == 200
    # Whoever gives it up again is back at the door.
    off = member.post("/auth/2fa/disable", password=PASSWORD)
    member.http.headers["Authorization"] = f"Bearer {off['access_token']}"
    assert code(member.http.get("/auth/users")) == (403, "TWO_FACTOR_REQUIRED")
    patch = {"requires_two_factor": False}
    assert signed_in.http.patch("/auth/tenant", json=patch).status_code == 200
    assert member.get("/auth/users")
