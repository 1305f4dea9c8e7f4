"""Signing up, in and out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import jwt
import pytest
from sqlalchemy import select

from app import errors
from app.database.models import AuditLog, Tenant, User
from app.database.session import ALL_TENANTS, transaction
from app.services.session_service import SessionService
from app.services.token_families import Device
from tests.fixtures.customer import Customer
from tests.fixtures.team import mailed_token, mails
from tests.fixtures.world import Running
from tests.people import (
    PASSWORD,
    bearer,
    forgive,
    fresh_address,
    seconds_of,
    sign_in,
    sign_up,
    statements,
)


def test_register_opens_a_trial_and_a_setup_intent(api: httpx.Client) -> None:
    answer = sign_up(api, "Ann@Acme.Test", full_name="Ann")
    assert answer.status_code == 201
    data = answer.json()["data"]
    tenant = data["tenant"]
    assert tenant["subscription_status"] == "trialing"
    assert tenant["company_name"] == "Acme"
    assert (tenant["trial_inbox_limit"], tenant["trial_domain_limit"]) == (5, 1)
    assert tenant["trial_ends_at"].endswith("Z")
    assert data["user"]["email"] == "ann@acme.test"
    assert data["setup_intent"]["id"].startswith("seti_")
    assert data["setup_intent"]["client_secret"]
    assert "password" not in answer.text
    me = api.get("/api/v1/auth/me", headers=bearer(data["access_token"])).json()["data"]
    assert me["trial_days_remaining"] == 7
    assert me["limits"]["inboxes"] == 5
    assert me["usage"] == {"inboxes": 0, "domains": 0}
    with transaction(tenant=ALL_TENANTS) as db:
        actions = set(db.scalars(select(AuditLog.action)))
        assert {"trial_started", "tenant_registered", "billing_account_opened"} <= actions
        entry = db.scalars(select(AuditLog).where(AuditLog.action == "tenant_registered")).one()
        assert (entry.actor_type, str(entry.actor_id)) == ("user", data["user"]["id"])
        assert entry.request_id == answer.headers["X-Request-ID"]
        assert entry.ip == "127.0.0.1"
        assert db.scalars(select(User.password_hash)).one().startswith("$argon2id$v=19$m=19456,t=2")


def test_an_address_has_one_account(api: httpx.Client) -> None:
    assert sign_up(api).status_code == 201
    answer = sign_up(api, "ANN@acme.test")
    assert (answer.status_code, answer.json()["error_code"]) == (409, "EMAIL_ALREADY_REGISTERED")
    with transaction(tenant=ALL_TENANTS) as db:
        assert len(db.scalars(select(Tenant)).all()) == 1


def test_one_of_twenty_parallel_sign_ups_of_one_address_wins(api: httpx.Client) -> None:
    with ThreadPoolExecutor(20) as pool:
        statuses = [f.status_code for f in pool.map(lambda _: sign_up(api), range(20))]
    assert statuses.count(201) == 1
    assert set(statuses) <= {201, 409, 503}
    with transaction(tenant=ALL_TENANTS) as db:
        assert len(db.scalars(select(Tenant)).all()) == 1


def test_nothing_is_kept_when_stripe_fails(api: httpx.Client, world: Running) -> None:
    world.fault("stripe", "setup_intents", "fail_before", times=9, status=500)
    answer = sign_up(api)
    assert answer.status_code == 503
    # Whether Stripe says that it did nothing is Stripe's affair.
    assert answer.json()["error_code"].startswith("PROVIDER_")
    assert answer.headers["Retry-After"]
    with transaction(tenant=ALL_TENANTS) as db:
        assert db.scalars(select(Tenant)).all() == []


@pytest.mark.parametrize(
    "password", ["abc-def", "password123", "aaaaaaaaaa", "23456789", "Acme Corp", "x" * 129]
)
def test_poor_passwords_are_refused(api: httpx.Client, password: str) -> None:
    answer = sign_up(api, company_name="Acme Corp", password=password)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "VALIDATION_ERROR")
    assert answer.json()["details"]["fields"][0]["field"] == "password"
    assert password not in answer.text


@pytest.mark.parametrize("field", ["is_admin", "tenant_id", "subscription_tier", "id", "role"])
def test_fields_that_nobody_may_set_are_refused(api: httpx.Client, field: str) -> None:
    answer = sign_up(api, **{field: "1"})
    assert answer.status_code == 400
    assert answer.json()["details"]["fields"][0]["field"] == field


def test_sign_in_and_refresh(api: httpx.Client) -> None:
    sign_up(api)
    tokens = sign_in(api, " Ann@acme.test ").json()["data"]
    assert tokens["expires_in"] == 900
    fresh = api.post("/api/v1/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
    assert fresh.status_code == 200
    token = fresh.json()["data"]["access_token"]
    assert api.get("/api/v1/auth/me", headers=bearer(token)).status_code == 200


def test_a_refresh_token_that_is_used_twice_ends_its_session(api: httpx.Client) -> None:
    sign_up(api)
    stolen = sign_in(api, "ann@acme.test").json()["data"]
    elsewhere = sign_in(api, "ann@acme.test").json()["data"]
    body = {"refresh_token": stolen["refresh_token"]}
    fresh = api.post("/api/v1/auth/refresh", json=body).json()["data"]
    assert api.post("/api/v1/auth/refresh", json=body).status_code == 401
    # The thief's pair and the victim's are both dead, at once.
    assert api.get("/api/v1/auth/me", headers=bearer(fresh["access_token"])).status_code == 401
    body = {"refresh_token": fresh["refresh_token"]}
    assert api.post("/api/v1/auth/refresh", json=body).status_code == 401
    assert api.get("/api/v1/auth/me", headers=bearer(elsewhere["access_token"])).status_code == 200


def test_one_of_twenty_parallel_refreshes_wins(api: httpx.Client) -> None:
    sign_up(api)
    body = {"refresh_token": sign_in(api, "ann@acme.test").json()["data"]["refresh_token"]}
    with ThreadPoolExecutor(20) as pool:
        answers = list(
            pool.map(lambda _: api.post("/api/v1/auth/refresh", json=body).status_code, range(20))
        )
    assert sorted(answers) == [200] + [401] * 19


def test_signing_out_is_felt_by_the_next_request(api: httpx.Client) -> None:
    sign_up(api)
    tokens = sign_in(api, "ann@acme.test").json()["data"]
    headers = bearer(tokens["access_token"])
    assert api.post("/api/v1/auth/logout", headers=headers).json()["data"] == {"done": True}
    assert api.get("/api/v1/auth/me", headers=headers).status_code == 401
    body = {"refresh_token": tokens["refresh_token"]}
    assert api.post("/api/v1/auth/refresh", json=body).status_code == 401
    tokens = sign_in(api, "ann@acme.test").json()["data"]
    body = {"refresh_token": tokens["refresh_token"]}
    assert api.post("/api/v1/auth/logout", json=body).json()["data"] == {"done": True}
    headers = bearer(tokens["access_token"])
    assert api.get("/api/v1/auth/me", headers=headers).status_code == 401
    assert api.post("/api/v1/auth/logout").status_code == 401


def test_sessions_are_listed_and_ended(api: httpx.Client) -> None:
    sign_up(api)
    here = bearer(sign_in(api, "ann@acme.test").json()["data"]["access_token"])
    there = bearer(sign_in(api, "ann@acme.test").json()["data"]["access_token"])
    sessions = api.get("/api/v1/auth/sessions", headers=here).json()["data"]
    assert len(sessions) == 3
    assert [session["current"] for session in sessions] == [False, True, False]
    gone = sessions[0]["id"]
    assert api.delete(f"/api/v1/auth/sessions/{gone}", headers=here).status_code == 200
    assert api.get("/api/v1/auth/me", headers=there).status_code == 401
    assert api.delete(f"/api/v1/auth/sessions/{gone}", headers=here).status_code == 404


def test_another_persons_session_cannot_be_ended(signed_in: Customer, other: Customer) -> None:
    theirs = other.get("/auth/sessions")[0]["id"]
    assert signed_in.http.delete(f"/auth/sessions/{theirs}").status_code == 404
    assert other.get("/auth/me")


def test_an_access_token_expires(signed_in: Customer, world: Running) -> None:
    world.advance(seconds=15 * 60 + 1)
    answer = signed_in.http.get("/auth/me")
    assert (answer.status_code, answer.json()["error_code"]) == (401, "TOKEN_EXPIRED")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    fresh = signed_in.post("/auth/refresh", refresh_token=signed_in.signed_up["refresh_token"])
    signed_in.http.headers["Authorization"] = f"Bearer {fresh['access_token']}"
    assert signed_in.get("/auth/me")


def test_a_refresh_token_that_lies_idle_for_a_week_expires(
    signed_in: Customer, world: Running
) -> None:
    world.advance(days=7, seconds=1)
    answer = signed_in.try_post("/auth/refresh", refresh_token=signed_in.signed_up["refresh_token"])
    assert (answer.status_code, answer.json()["error_code"]) == (401, "TOKEN_EXPIRED")


def test_a_session_ends_after_thirty_days_however_busy(signed_in: Customer, world: Running) -> None:
    token = signed_in.signed_up["refresh_token"]
    for _ in range(5):
        world.advance(days=6)
        answer = signed_in.try_post("/auth/refresh", refresh_token=token)
        if answer.status_code == 200:
            token = answer.json()["data"]["refresh_token"]
            last = answer.json()["data"]["access_token"]
    # The fifth was at the very end of day 30.
    assert (answer.status_code, answer.json()["error_code"]) == (401, "TOKEN_EXPIRED")
    signed_in.http.headers["Authorization"] = f"Bearer {last}"
    assert signed_in.http.get("/auth/sessions").status_code == 401


def test_rotation_does_not_make_credentials_look_fresh(signed_in: Customer, world: Running) -> None:
    def shown_at(token: str) -> int:
        return int(jwt.decode(token, options={"verify_signature": False})["auth_time"])

    world.advance(seconds=20 * 60)
    fresh = signed_in.post("/auth/refresh", refresh_token=signed_in.signed_up["refresh_token"])
    assert shown_at(fresh["access_token"]) == shown_at(signed_in.signed_up["access_token"])


def test_forged_tokens_are_refused(signed_in: Customer) -> None:
    from app.utils import security

    good = signed_in.signed_up["access_token"]
    claims = jwt.decode(good, options={"verify_signature": False})
    head = {k: v for k, v in jwt.get_unverified_header(good).items() if k != "alg"}
    (key,) = security._secrets().signing_keys.values()
    forged = {
        "none": jwt.encode(claims, "", algorithm="none", headers=head),
        "other key": jwt.encode(claims, "k" * 40, algorithm="HS256", headers=head),
        "other algorithm": jwt.encode(claims, key * 2, algorithm="HS384", headers=head),
        "other audience": jwt.encode({**claims, "aud": "x"}, key, "HS256", headers=head),
        "other issuer": jwt.encode({**claims, "iss": "x"}, key, "HS256", headers=head),
        "other type": jwt.encode(claims, key, "HS256", headers={**head, "typ": "JWT"}),
        "other kid": jwt.encode(claims, key, "HS256", headers={**head, "kid": "../x"}),
        "old session": jwt.encode({**claims, "sv": 0}, key, "HS256", headers=head),
        "no expiry": jwt.encode(
            {k: v for k, v in claims.items() if k != "exp"}, key, "HS256", headers=head
        ),
        "not yet": jwt.encode({**claims, "nbf": claims["nbf"] + 999}, key, "HS256", headers=head),
        "cut": good[:-2],
        "empty": ".",
    }
    for kind, token in forged.items():
        answer = signed_in.http.get("/auth/me", headers=bearer(token))
        assert (answer.status_code, answer.json()["error_code"]) == (401, "UNAUTHENTICATED"), kind


def test_unknown_address_and_wrong_password_look_alike(api: httpx.Client) -> None:
    sign_up(api)
    wrong = sign_in(api, "ann@acme.test", "wrong password")
    unknown = sign_in(api, "nobody@acme.test", "wrong password")
    assert wrong.status_code == unknown.status_code == 401
    drop = {"request_id"}
    assert {k: v for k, v in wrong.json().items() if k not in drop} == {
        k: v for k, v in unknown.json().items() if k not in drop
    }


def test_the_database_is_asked_the_same_for_an_unknown_address(api: httpx.Client) -> None:
    sign_up(api)
    asked = []
    for address in ("ann@acme.test", "nobody@acme.test"):
        with statements() as seen, pytest.raises(errors.InvalidCredentials):
            SessionService.login(email=address, password="wrong password", device=Device())
        asked.append(seen)
    assert asked[0]
    assert asked[0] == asked[1]


def test_ten_failed_sign_ins_close_the_door_for_that_caller(api: httpx.Client) -> None:
    sign_up(api)
    sign_up(api, "bob@acme.test")
    for _ in range(10):
        assert sign_in(api, "ann@acme.test", "wrong password").status_code == 401
    answer = sign_in(api, "ann@acme.test")
    assert (answer.status_code, answer.json()["error_code"]) == (429, "RATE_LIMITED")
    assert int(answer.headers["Retry-After"]) > 0
    # Whoever guesses may guess at others: the caller's address is closed out for all accounts.
    assert sign_in(api, "bob@acme.test").status_code == 429


def test_an_old_hash_is_renewed_at_sign_in(api: httpx.Client) -> None:
    from argon2 import PasswordHasher

    sign_up(api)
    weak = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    with transaction(tenant=ALL_TENANTS) as db:
        db.scalars(select(User)).one().password_hash = weak
    assert sign_in(api, "ann@acme.test").status_code == 200
    with transaction(tenant=ALL_TENANTS) as db:
        assert "m=19456" in db.scalars(select(User)).one().password_hash


def test_the_mailed_token_confirms_the_address_once(
    api: httpx.Client, world: Running, drain
) -> None:
    sign_up(api, "ann@gmail.test")
    drain()
    token = mailed_token(world, "ann@gmail.test")
    assert api.post("/api/v1/auth/verify-email", json={"token": token}).status_code == 200
    assert api.post("/api/v1/auth/verify-email", json={"token": token}).status_code == 400
    with transaction(tenant=ALL_TENANTS) as db:
        assert db.scalars(select(User)).one().is_verified


def test_the_mailed_link_opens_a_page_with_a_button(
    api: httpx.Client, world: Running, drain
) -> None:
    sign_up(api, "ann@gmail.test")
    drain()
    token = mailed_token(world, "ann@gmail.test")
    page = api.get("/verify-email", params={"token": token})
    assert page.headers["content-type"].startswith("text/html")
    assert f'value="{token}"' in page.text
    assert "<script" not in api.get("/verify-email", params={"token": '"><script>'}).text
    with transaction(tenant=ALL_TENANTS) as db:
        assert not db.scalars(select(User)).one().is_verified
    assert "Thank you" in api.post("/verify-email", data={"token": token}).text
    assert api.post("/verify-email", data={"token": token}).status_code == 400
    assert api.post("/verify-email", content=b"\xff\x00").status_code == 400
    with transaction(tenant=ALL_TENANTS) as db:
        assert db.scalars(select(User)).one().is_verified


def test_an_unknown_address_takes_as_long_as_a_wrong_password(api: httpx.Client) -> None:
    sign_up(api)

    def attempt(email: str) -> None:
        forgive()
        assert sign_in(api, email, "wrong password").status_code == 401

    known, unknown = seconds_of(
        lambda: attempt("ann@acme.test"), lambda: attempt("nobody@acme.test"), times=9
    )
    # A hash takes most of the time; leaving it out would show.
    assert 0.6 < unknown / known < 1.7
    assert unknown > 0.012


def test_a_mailed_token_expires(api: httpx.Client, world: Running, drain) -> None:
    sign_up(api, "ann@gmail.test")
    drain()
    token = mailed_token(world, "ann@gmail.test")
    world.advance(hours=24, seconds=1)
    assert api.post("/api/v1/auth/verify-email", json={"token": token}).status_code == 400


def test_asking_again_does_not_tell_whether_an_address_exists(
    api: httpx.Client, world: Running, drain
) -> None:
    ann, nobody = fresh_address(), fresh_address()
    sign_up(api, ann)
    drain()
    for email in (ann, nobody):
        answer = api.post("/api/v1/auth/resend-verification", json={"email": email})
        assert (answer.status_code, answer.json()["data"]) == (202, {"done": True})
    # Both leave a job, so that neither answer takes longer; one of them finds nobody.
    assert drain() == ["billing.send_verification_mail"] * 2
    assert len(mails(world, ann)) == 2
    assert mails(world, nobody) == []


def test_at_most_three_mails_an_hour(api: httpx.Client, world: Running, drain) -> None:
    ann, nobody = fresh_address(), fresh_address()
    sign_up(api, ann)
    drain()
    for email in (ann, nobody):
        statuses = [
            api.post("/api/v1/auth/resend-verification", json={"email": email}).status_code
            for _ in range(5)
        ]
        assert statuses == [202] * 3 + [429] * 2, email
    drain()
    assert len(mails(world, ann)) == 4


def test_a_disabled_person_is_out_at_once(signed_in: Customer) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        db.scalars(select(User)).one().is_active = False
    assert signed_in.http.get("/auth/me").status_code == 401


def test_the_service_signs_in_without_holding_a_connection_for_the_hash(api: httpx.Client) -> None:
    from app.database.session import engine

    sign_up(api)
    with ThreadPoolExecutor(40) as pool:
        jobs = [
            pool.submit(
                SessionService.login, email="ann@acme.test", password=PASSWORD, device=Device()
            )
            for _ in range(40)
        ]
        assert all(job.result() for job in jobs)
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
