"""Passwords: forgotten, reset by a mailed link, changed, and shown again."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import jwt
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app import errors
from app.database.models import AuditLog, MailToken, OutboxEvent, RefreshToken, User
from app.database.session import ALL_TENANTS, transaction
from app.services.identity_service import IdentityService
from app.services.password_service import PasswordService
from app.services.session_service import SessionService
from app.services.token_families import Device
from app.utils import security
from tests.fixtures.customer import Customer
from tests.fixtures.team import code_of, mailed_link, mailed_token, mails, two_factor_on
from tests.fixtures.world import Running
from tests.people import (
    PASSWORD,
    bearer,
    forgive,
    fresh_address,
    outcome,
    seconds_of,
    sign_in,
    sign_up,
    statements,
)

NEW = "another horse entirely"
Drain = Callable[..., list[str]]


def forgot(api: httpx.Client, email: str, **more: object) -> httpx.Response:
    return api.post("/api/v1/auth/forgot-password", json={"email": email}, **more)  # type: ignore[arg-type]


def reset(api: httpx.Client, token: str, password: str = NEW) -> httpx.Response:
    body = {"token": token, "new_password": password}
    return api.post("/api/v1/auth/reset-password", json=body)


def change(
    api: httpx.Client, headers: dict[str, str], old: str = PASSWORD, new: str = NEW
) -> httpx.Response:
    body = {"current_password": old, "new_password": new}
    return api.post("/api/v1/auth/change-password", json=body, headers=headers)


def me(api: httpx.Client, headers: dict[str, str]) -> int:
    return api.get("/api/v1/auth/me", headers=headers).status_code


@pytest.fixture
def ann(api: httpx.Client, drain: Drain) -> str:
    """The address of somebody who signed up, and whose verification mail is out."""
    address = fresh_address()
    assert sign_up(api, address).status_code == 201
    drain()
    return address


@pytest.fixture
def token(api: httpx.Client, world: Running, drain: Drain, ann: str) -> str:
    """What ann was mailed after she forgot her password."""
    assert forgot(api, ann).status_code == 202
    drain()
    return mailed_token(world, ann)


def only_user() -> User:
    with transaction(tenant=ALL_TENANTS) as db:
        return db.scalars(select(User)).one()


def actions() -> list[str]:
    with transaction(tenant=ALL_TENANTS) as db:
        return list(db.scalars(select(AuditLog.action).order_by(AuditLog.created_at)))


# By a mailed link -------------------------------------------------------------------------------


def test_a_forgotten_password_is_replaced_once(
    api: httpx.Client, world: Running, drain: Drain, ann: str, token: str
) -> None:
    before = sign_in(api, ann).json()["data"]
    assert reset(api, token).json()["data"] == {"done": True}
    assert outcome(sign_in(api, ann)) == (401, "INVALID_CREDENTIALS")
    assert sign_in(api, ann, NEW).status_code == 200
    # Every session ended with it, at once.
    assert me(api, bearer(before["access_token"])) == 401
    spent = {"refresh_token": before["refresh_token"]}
    assert api.post("/api/v1/auth/refresh", json=spent).status_code == 401
    assert outcome(reset(api, token, "yet another horse")) == (400, "VALIDATION_ERROR")
    drain()
    assert mails(world, ann)[0]["subject"] == "Your password was changed"
    assert {"password_reset_requested", "password_reset"} <= set(actions())
    with transaction(tenant=ALL_TENANTS) as db:
        (entry,) = db.scalars(select(AuditLog).where(AuditLog.action == "password_reset"))
        assert (entry.actor_type, entry.actor_id, entry.ip) == ("user", only_user().id, "127.0.0.1")
        assert entry.changes["sessions"] == [2, 0]


def test_the_link_comes_from_the_settings_and_never_from_the_request(
    api: httpx.Client, world: Running, drain: Drain, ann: str
) -> None:
    for name in ("Host", "X-Forwarded-Host", "X-Forwarded-Server", "X-Original-Host", "Forwarded"):
        value = "host=evil.test" if name == "Forwarded" else "evil.test"
        forgive()
        assert forgot(api, ann, headers={name: value}).status_code == 202
        drain()
        assert mailed_link(world, ann).startswith(f"{world.api_url}/reset-password?token="), name


def test_a_reset_link_is_good_for_thirty_minutes(
    api: httpx.Client, world: Running, token: str
) -> None:
    world.advance(seconds=30 * 60 - 30)
    # A poor password does not spend it.
    assert reset(api, token, "password1").status_code == 400
    world.advance(seconds=31)
    assert reset(api, token).status_code == 400


def test_a_newer_link_and_any_new_password_kill_older_links(
    api: httpx.Client, world: Running, drain: Drain, ann: str, token: str
) -> None:
    assert forgot(api, ann).status_code == 202
    drain()
    newer = mailed_token(world, ann)
    assert newer != token
    assert reset(api, token).status_code == 400
    headers = bearer(sign_in(api, ann).json()["data"]["access_token"])
    assert change(api, headers).status_code == 200
    assert reset(api, newer, "yet another horse").status_code == 400


def test_a_link_serves_its_own_purpose_only(
    api: httpx.Client, world: Running, drain: Drain
) -> None:
    address = fresh_address()
    sign_up(api, address)
    drain()
    to_verify = mailed_token(world, address)
    assert reset(api, to_verify).status_code == 400
    forgot(api, address)
    drain()
    to_reset = mailed_token(world, address)
    assert api.post("/api/v1/auth/verify-email", json={"token": to_reset}).status_code == 400
    assert not only_user().is_verified
    accept = {"token": to_reset, "password": NEW, "full_name": "Eve"}
    assert api.post("/api/v1/auth/users/accept-invite", json=accept).status_code == 400
    assert reset(api, to_reset).status_code == 200


def test_a_token_is_kept_hashed(token: str) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        rows = db.scalars(select(MailToken).where(MailToken.purpose == "reset_password")).all()
        assert [bytes(row.token_hash) for row in rows] == [security.token_hash(token)]
        assert token not in str([event.payload for event in db.scalars(select(OutboxEvent))])


def test_one_of_twenty_parallel_resets_wins(ann: str, token: str) -> None:
    def attempt(number: int) -> str | None:
        password = f"parallel horse no {number}"
        try:
            PasswordService.reset(token, password)
        except errors.Invalid:
            return None
        return password

    with ThreadPoolExecutor(20) as pool:
        won = [password for password in pool.map(attempt, range(20)) if password]
    assert len(won) == 1
    assert security.verify_password(only_user().password_hash, won[0])
    assert actions().count("password_reset") == 1


def test_no_session_slips_past_a_reset(ann: str, token: str, api: httpx.Client) -> None:
    """Whoever refreshes or signs in with the old password meanwhile is out afterwards too."""
    sessions = [sign_in(api, ann).json()["data"]["refresh_token"] for _ in range(6)]

    def rotate(refresh_token: str) -> None:
        try:
            for _ in range(20):
                _, tokens = SessionService.refresh(refresh_token, Device())
                refresh_token = tokens.refresh_token
        except errors.Unauthenticated:
            return

    def enter() -> None:
        try:
            for _ in range(5):
                SessionService.login(email=ann, password=PASSWORD, device=Device())
        except errors.InvalidCredentials:
            return

    with ThreadPoolExecutor(10) as pool:
        busy = [pool.submit(rotate, session) for session in sessions]
        busy += [pool.submit(enter) for _ in range(3)]
        pool.submit(PasswordService.reset, token, NEW).result()
        for job in busy:
            job.result()
    with transaction(tenant=ALL_TENANTS) as db:
        live = select(RefreshToken).where(RefreshToken.revoked_at.is_(None))
        assert db.scalars(live).all() == []


def test_a_reset_does_not_skip_the_second_factor(
    signed_in: Customer, world: Running, api: httpx.Client, drain: Drain
) -> None:
    secret, _ = two_factor_on(signed_in)
    email = str(signed_in.signed_up["user"]["email"])
    with transaction(tenant=ALL_TENANTS) as db:
        db.scalars(select(User)).one().email = address = fresh_address()
    assert email != address
    forgot(api, address)
    drain()
    assert reset(api, mailed_token(world, address)).json()["data"] == {"done": True}
    assert outcome(sign_in(api, address, NEW)) == (401, "TOTP_REQUIRED")
    assert sign_in(api, address, NEW, totp_code=code_of(secret, 1)).status_code == 200


def test_poor_passwords_are_refused_here_too(api: httpx.Client, ann: str, token: str) -> None:
    for poor in ("password1", "Acme!2026", ann, "aaaaaaaaaa"):
        forgive()
        answer = reset(api, token, poor)
        assert outcome(answer) == (400, "VALIDATION_ERROR"), poor
        assert answer.json()["details"]["fields"][0]["field"] == "new_password"
        assert poor not in answer.text
    assert reset(api, token).status_code == 200


# What a stranger can find out -------------------------------------------------------------------


def test_asking_does_not_tell_whether_an_address_exists(
    api: httpx.Client, drain: Drain, ann: str, world: Running
) -> None:
    # The sandbox keeps the mail of tests before, so this is nobody's in any of them.
    nobody = fresh_address()
    answers = [forgot(api, address) for address in (ann, nobody)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].content == answers[1].content
    assert drain() == ["accounts.send_password_reset"] * 2
    assert len(mails(world, ann)) == 2
    assert mails(world, nobody) == []


@pytest.mark.parametrize(
    "request_", [PasswordService.request_reset, IdentityService.request_verification]
)
def test_the_database_is_asked_the_same_for_an_unknown_address(
    ann: str, request_: Callable[[str, Session], None]
) -> None:
    asked = []
    for address in (ann, fresh_address()):
        with statements() as seen, transaction(tenant=ALL_TENANTS) as db:
            request_(address, db)
        asked.append(seen)
    assert any("INSERT INTO outbox" in statement for statement in asked[0])
    assert asked[0] == asked[1]


def test_asking_takes_as_long_for_an_unknown_address(api: httpx.Client, ann: str) -> None:
    def ask(address: str) -> None:
        forgive()
        assert forgot(api, address).status_code == 202

    for address_of in (lambda: ann, fresh_address):
        ask(address_of())
    known, unknown = seconds_of(lambda: ask(ann), lambda: ask(fresh_address()), times=25)
    assert 0.5 < unknown / known < 2


def test_the_fourth_mail_of_an_hour_is_refused_for_any_address(api: httpx.Client, ann: str) -> None:
    for address in (ann, fresh_address()):
        statuses = [forgot(api, address).status_code for _ in range(5)]
        assert statuses == [202] * 3 + [429] * 2


def test_guessing_tokens_is_slowed_down(api: httpx.Client, token: str) -> None:
    statuses = [reset(api, f"guess-{number}").status_code for number in range(12)]
    assert statuses == [400] * 10 + [429] * 2


def test_a_disabled_person_is_not_written_to(
    api: httpx.Client, drain: Drain, ann: str, world: Running, token: str
) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        db.scalars(select(User)).one().is_active = False
    count = len(mails(world, ann))
    assert forgot(api, ann).status_code == 202
    drain()
    assert len(mails(world, ann)) == count
    assert reset(api, token).status_code == 400


# Pages ------------------------------------------------------------------------------------------


def test_the_mailed_link_opens_a_page_with_two_fields(
    api: httpx.Client, ann: str, token: str
) -> None:
    page = api.get("/reset-password", params={"token": token})
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert f'value="{token}"' in page.text
    assert page.text.count('type="password"') == 2
    assert "<script" not in api.get("/reset-password", params={"token": '"><script>'}).text

    def fill_in(password: str, repeated: str) -> httpx.Response:
        form = {"token": token, "password": password, "repeated": repeated}
        return api.post("/reset-password", data=form)

    for password, repeated in ((NEW, "other"), ("password1", "password1"), ("x", "x")):
        again = fill_in(password, repeated)
        assert again.status_code == 400
        assert f'value="{token}"' in again.text, (
            "the link is still good, so the form is shown again"
        )
    assert "Thank you" in fill_in(NEW, NEW).text
    assert "not good any more" in fill_in(NEW, NEW).text
    assert sign_in(api, ann, NEW).status_code == 200


def test_the_page_without_a_token_mails_one(
    api: httpx.Client, ann: str, drain: Drain, world: Running
) -> None:
    page = api.get("/reset-password")
    assert 'action="/forgot-password"' in page.text
    texts = [api.post("/forgot-password", data={"email": who}) for who in (ann, fresh_address())]
    assert [text.status_code for text in texts] == [200, 200]
    assert texts[0].text == texts[1].text
    drain()
    assert mailed_link(world, ann).startswith(f"{world.api_url}/reset-password?token=")
    for nonsense in ("", "no address", "\0@x.test", "x" * 400 + "@x.test"):
        assert api.post("/forgot-password", data={"email": nonsense}).status_code == 400, nonsense
    for _ in range(2):
        api.post("/forgot-password", data={"email": ann})
    assert api.post("/forgot-password", data={"email": ann}).status_code == 429


@pytest.mark.parametrize(
    "body", [b"", b"\xff\x00", b"a=1&" * 50, b"token=x&password=%00&repeated="]
)
def test_hostile_forms_get_a_page(api: httpx.Client, body: bytes) -> None:
    answer = api.post("/reset-password", content=body)
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith(("text/html", "application/json"))


# Changed by its owner ---------------------------------------------------------------------------


def test_a_change_cuts_every_other_session_at_once(
    api: httpx.Client, ann: str, drain: Drain, world: Running
) -> None:
    here = sign_in(api, ann).json()["data"]
    there = sign_in(api, ann).json()["data"]
    answer = change(api, bearer(here["access_token"]))
    assert answer.status_code == 200
    fresh = answer.json()["data"]
    assert fresh["user"]["email"] == ann
    for old in (here, there):
        assert me(api, bearer(old["access_token"])) == 401
        body = {"refresh_token": old["refresh_token"]}
        assert api.post("/api/v1/auth/refresh", json=body).status_code == 401
    assert me(api, bearer(fresh["access_token"])) == 200
    body = {"refresh_token": fresh["refresh_token"]}
    assert api.post("/api/v1/auth/refresh", json=body).status_code == 200
    assert outcome(sign_in(api, ann)) == (401, "INVALID_CREDENTIALS")
    drain()
    assert mails(world, ann)[0]["subject"] == "Your password was changed"
    assert "password_changed" in actions()


def test_a_change_needs_the_old_password_and_a_good_new_one(api: httpx.Client, ann: str) -> None:
    headers = bearer(sign_in(api, ann).json()["data"]["access_token"])
    assert outcome(change(api, headers, old="wrong horse")) == (401, "INVALID_CREDENTIALS")
    assert outcome(change(api, headers, new="password1")) == (400, "VALIDATION_ERROR")
    assert outcome(change(api, headers, new=PASSWORD)) == (400, "VALIDATION_ERROR")
    assert change(api, {}).status_code == 401
    assert me(api, headers) == 200
    for _ in range(4):
        change(api, headers, old="wrong horse")
    assert outcome(change(api, headers)) == (429, "RATE_LIMITED")


def test_one_of_ten_parallel_changes_wins(api: httpx.Client, ann: str) -> None:
    headers = bearer(sign_in(api, ann).json()["data"]["access_token"])
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda n: change(api, headers, new=f"horse number {n}"), range(10)))
    statuses = [answer.status_code for answer in answers]
    assert statuses.count(200) == 1
    assert set(statuses) <= {200, 401, 429}


# Shown again ------------------------------------------------------------------------------------


def shown_at(token: str) -> int:
    return int(jwt.decode(token, options={"verify_signature": False})["auth_time"])


def test_credentials_shown_again_make_a_fresh_token_of_the_same_session(
    signed_in: Customer, world: Running
) -> None:
    old = signed_in.signed_up["access_token"]
    world.advance(seconds=10 * 60)
    password = f"Correct-{signed_in.tag}-horse"
    made = signed_in.post("/auth/reauthenticate", password=password)
    assert (made["expires_in"], made["token_type"]) == (900, "bearer")
    assert shown_at(made["access_token"]) - shown_at(old) >= 10 * 60
    signed_in.http.headers["Authorization"] = f"Bearer {made['access_token']}"
    (session,) = signed_in.get("/auth/sessions")
    assert session["current"]
    # What is rotated from here on carries it along.
    pair = signed_in.post("/auth/refresh", refresh_token=signed_in.signed_up["refresh_token"])
    assert shown_at(pair["access_token"]) == shown_at(made["access_token"])
    assert "user_reauthenticated" in actions()


def test_what_is_dangerous_wants_them_shown_lately(signed_in: Customer, world: Running) -> None:
    for _ in range(2):
        world.advance(seconds=10 * 60)
        pair = signed_in.post("/auth/refresh", refresh_token=signed_in.signed_up["refresh_token"])
        signed_in.signed_up["refresh_token"] = pair["refresh_token"]
        signed_in.http.headers["Authorization"] = f"Bearer {pair['access_token']}"
    assert outcome(signed_in.try_post("/auth/2fa/setup")) == (401, "REAUTHENTICATION_REQUIRED")
    made = signed_in.post("/auth/reauthenticate", password=f"Correct-{signed_in.tag}-horse")
    signed_in.http.headers["Authorization"] = f"Bearer {made['access_token']}"
    assert signed_in.post("/auth/2fa/setup")


def test_who_has_a_second_factor_shows_both(signed_in: Customer) -> None:
    secret, codes = two_factor_on(signed_in)
    password = f"Correct-{signed_in.tag}-horse"

    def show(**more: str) -> tuple[int, str | None]:
        return outcome(signed_in.try_post("/auth/reauthenticate", **more))

    assert show(password=password) == (401, "TOTP_REQUIRED")
    assert show(password=password, totp_code="000000") == (401, "INVALID_CREDENTIALS")
    assert show(password="wrong", totp_code=code_of(secret, 1)) == (401, "INVALID_CREDENTIALS")
    good = code_of(secret, 1)
    assert show(password=password, totp_code=good) == (200, None)
    assert show(password=password, totp_code=good) == (401, "INVALID_CREDENTIALS")
    assert show(password=password, totp_code=codes[0]) == (200, None)
    assert show(password=password, totp_code=codes[0]) == (401, "INVALID_CREDENTIALS")


def test_guessing_the_password_of_an_open_session_is_slowed_down(signed_in: Customer) -> None:
    wrong = [signed_in.try_post("/auth/reauthenticate", password="wrong") for _ in range(6)]
    assert [answer.status_code for answer in wrong] == [401] * 5 + [429]
