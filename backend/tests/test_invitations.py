"""Invitations: a mailed link makes somebody a member."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select

from app.config import get_settings
from app.database.models import (
    AuditLog,
    Invitation,
    SuspensionReason,
    Tenant,
)
from app.database.session import ALL_TENANTS, transaction
from app.services.invitation_service import InvitationService
from tests.fixtures.customer import Customer
from tests.fixtures.team import (
    PASSWORD,
    accept,
    code,
    id_of,
    invite,
    mailed_link,
    mailed_token,
    mails,
    remove,
    team_of,
    verify,
)
from tests.fixtures.world import Running

Drain = Callable[..., list[str]]


@pytest.fixture
def signed_in(signed_in: Customer) -> Customer:
    """An owner whose address is confirmed."""
    verify(signed_in)
    return signed_in


@pytest.fixture
def other(other: Customer) -> Customer:
    verify(other)
    return other


def test_an_invited_person_joins_by_the_mailed_link(
    signed_in: Customer, api: httpx.Client, world: Running, drain: Drain
) -> None:
    made = invite(signed_in, " Bo@Gmail.Test ", "admin")
    assert made.status_code == 201
    row = made.json()["data"]
    assert (row["email"], row["status"], row["role"]) == ("bo@gmail.test", "invited", "admin")
    assert row["invited_by"] == id_of(signed_in)
    assert "token" not in made.text
    drain()
    assert mailed_link(world, "bo@gmail.test").startswith(
        f"{get_settings().public_url}/accept-invite?token="
    )
    token = mailed_token(world, "bo@gmail.test")
    joined = accept(api, token)
    assert joined.status_code == 201
    data = joined.json()["data"]
    assert (data["user"]["role"], data["user"]["is_verified"]) == ("admin", True)
    mine = {"Authorization": f"Bearer {data['access_token']}"}
    me = api.get("/api/v1/auth/me", headers=mine).json()["data"]
    assert me["tenant"]["id"] == signed_in.tenant_id
    signed = api.post("/api/v1/auth/login", json={"email": "bo@gmail.test", "password": PASSWORD})
    assert signed.status_code == 200
    assert team_of(signed_in)["bo@gmail.test"]["status"] == "active"
    assert code(accept(api, token)) == (400, "VALIDATION_ERROR"), "a link works once"


def test_only_who_confirmed_their_own_address_may_invite(customer: Customer) -> None:
    stranger = customer.sign_up()
    assert code(invite(stranger, "bo@gmail.test")) == (409, "CONFLICT")
    assert len(team_of(stranger)) == 1
    verify(stranger)
    assert invite(stranger, "bo@gmail.test").status_code == 201


def test_what_is_long_over_is_forgotten(signed_in: Customer, world: Running) -> None:
    invite(signed_in, "missed@gmail.test")
    remove(signed_in, invite(signed_in, "revoked@gmail.test").json()["data"]["id"])

    def kept() -> set[str]:
        with transaction(tenant=ALL_TENANTS) as db:
            InvitationService.forget(db)
            return set(db.scalars(select(Invitation.email)))

    world.advance(days=90, hours=1)
    assert kept() == {"missed@gmail.test"}
    world.advance(days=7)
    assert kept() == set()


def test_the_link_is_kept_hashed(signed_in: Customer, world: Running, drain: Drain) -> None:
    invite(signed_in, "bo@gmail.test")
    drain()
    token = mailed_token(world, "bo@gmail.test")
    with transaction(tenant=ALL_TENANTS) as db:
        row = db.scalars(select(Invitation)).one()
        assert token.encode() not in bytes(row.token_hash)
        assert len(row.token_hash) == 32
        trail = [str(vars(entry)) for entry in db.scalars(select(AuditLog))]
    assert not any(token in line or "bo@gmail.test" in line for line in trail)


def test_the_answer_does_not_tell_of_accounts_elsewhere(
    signed_in: Customer, other: Customer, api: httpx.Client, world: Running, drain: Drain
) -> None:
    elsewhere = other.signed_up["user"]["email"]
    answers = [invite(signed_in, email) for email in (elsewhere, "nobody@gmail.test")]
    assert [answer.status_code for answer in answers] == [201, 201]
    own = {"id", "email", "created_at", "expires_at"}
    shapes = [
        {name: value for name, value in answer.json()["data"].items() if name not in own}
        for answer in answers
    ]
    assert shapes[0] == shapes[1]
    drain()
    # Only the holder of the mailbox learns of it, who knows.
    answer = accept(api, mailed_token(world, elsewhere))
    assert code(answer) == (409, "EMAIL_ALREADY_REGISTERED")
    assert team_of(signed_in)[elsewhere]["status"] == "invited"


def test_inviting_again_voids_the_link_before(
    signed_in: Customer, api: httpx.Client, world: Running, drain: Drain
) -> None:
    first = invite(signed_in, "bo@gmail.test").json()["data"]
    drain()
    old = mailed_token(world, "bo@gmail.test")
    second = invite(signed_in, "bo@gmail.test", "read_only").json()["data"]
    assert second["id"] == first["id"]
    assert accept(api, old).status_code == 400, "dead before the next mail is sent"
    drain()
    joined = accept(api, mailed_token(world, "bo@gmail.test"))
    assert joined.json()["data"]["user"]["role"] == "read_only"
    assert code(invite(signed_in, "bo@gmail.test")) == (409, "CONFLICT"), "a member already"


def test_a_link_ends_after_seven_days(
    signed_in: Customer, api: httpx.Client, world: Running, drain: Drain
) -> None:
    invite(signed_in, "bo@gmail.test")
    drain()
    token = mailed_token(world, "bo@gmail.test")
    world.advance(days=7, seconds=1)
    assert accept(api, token).status_code == 400
    signed_in.sign_in_again()
    assert team_of(signed_in)["bo@gmail.test"]["status"] == "expired"
    invite(signed_in, "bo@gmail.test")
    drain()
    assert accept(api, mailed_token(world, "bo@gmail.test")).status_code == 201


def test_a_revoked_invitation_is_worth_nothing(
    signed_in: Customer, api: httpx.Client, world: Running, drain: Drain
) -> None:
    made = invite(signed_in, "bo@gmail.test").json()["data"]
    drain()
    assert remove(signed_in, made["id"]).json()["data"] == {"done": True}
    assert accept(api, mailed_token(world, "bo@gmail.test")).status_code == 400
    assert "bo@gmail.test" not in team_of(signed_in)
    assert code(remove(signed_in, made["id"])) == (404, "NOT_FOUND")
    # One that is revoked before the mail left is not mailed.
    made = invite(signed_in, "unmailed@gmail.test").json()["data"]
    remove(signed_in, made["id"])
    drain()
    assert mails(world, "unmailed@gmail.test") == []


def test_a_poor_password_does_not_spend_the_link(
    signed_in: Customer, api: httpx.Client, world: Running, drain: Drain
) -> None:
    invite(signed_in, "bo@gmail.test")
    drain()
    token = mailed_token(world, "bo@gmail.test")
    answer = accept(api, token, "password123")
    assert answer.json()["details"]["fields"][0]["field"] == "password"
    assert accept(api, token, "bo@gmail.test").status_code == 400
    assert accept(api, token).status_code == 201


def test_of_ten_who_follow_one_link_at_once_one_joins(
    signed_in: Customer, api: httpx.Client, world: Running, drain: Drain
) -> None:
    invite(signed_in, "bo@gmail.test")
    drain()
    token = mailed_token(world, "bo@gmail.test")
    with ThreadPoolExecutor(8) as pool:
        statuses = [
            answer.status_code for answer in pool.map(lambda _: accept(api, token), range(8))
        ]
    assert statuses.count(201) == 1
    assert set(statuses) <= {201, 400, 409}
    assert len(team_of(signed_in)) == 2


def test_of_ten_invitations_at_once_one_stands(signed_in: Customer) -> None:
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: invite(signed_in, "bo@gmail.test"), range(10)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    made = {answer.json()["data"]["id"] for answer in answers if answer.status_code == 201}
    assert made == {team_of(signed_in)["bo@gmail.test"]["id"]}


def test_links_are_not_guessed(api: httpx.Client) -> None:
    statuses = [accept(api, f"guess-{number}").status_code for number in range(12)]
    assert statuses == [400] * 10 + [429] * 2


def test_the_mailed_link_opens_a_page_that_asks_for_name_and_password(
    signed_in: Customer, api: httpx.Client, world: Running, drain: Drain
) -> None:
    invite(signed_in, "bo@gmail.test")
    drain()
    link = mailed_link(world, "bo@gmail.test")
    page = api.get(link)
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    token = link.partition("token=")[2]
    assert f'value="{token}"' in page.text
    assert "<script" not in api.get("/accept-invite", params={"token": '"><script>'}).text
    good = {"token": token, "full_name": "Bo", "password": PASSWORD, "repeated": PASSWORD}
    for wrong in (
        {"repeated": "something else"},
        {"full_name": " "},
        {"full_name": "\0"},
        {"password": "short", "repeated": "short"},
        {"password": "password123", "repeated": "password123"},
        {"full_name": '"><script>', "repeated": ""},
    ):
        answer = api.post("/accept-invite", data={**good, **wrong})
        assert answer.status_code == 400, wrong
        assert f'value="{token}"' in answer.text, "may be tried again"
        assert "<script" not in answer.text
    assert "Welcome" in api.post("/accept-invite", data=good).text
    assert api.post("/accept-invite", data=good).status_code == 400
    assert api.post("/accept-invite", content=b"\xff\x00").status_code == 400
    signed = api.post("/api/v1/auth/login", json={"email": "bo@gmail.test", "password": PASSWORD})
    mine = {"Authorization": f"Bearer {signed.json()['data']['access_token']}"}
    sessions = api.get("/api/v1/auth/sessions", headers=mine).json()["data"]
    assert len(sessions) == 1, "the page leaves no session behind that nobody holds"


def test_nobody_joins_a_suspended_company(
    signed_in: Customer, api: httpx.Client, world: Running, drain: Drain
) -> None:
    invite(signed_in, "bo@gmail.test")
    drain()
    with transaction(tenant=ALL_TENANTS) as db:
        tenant = db.get_one(Tenant, UUID(signed_in.tenant_id))
        tenant.is_suspended, tenant.suspension_reason = True, SuspensionReason.PAYMENT_FAILED
    token = mailed_token(world, "bo@gmail.test")
    assert code(accept(api, token)) == (403, "TENANT_SUSPENDED")
    assert code(invite(signed_in, "cy@gmail.test")) == (403, "TENANT_SUSPENDED")


def test_mailboxes_are_not_flooded_with_invitations(signed_in: Customer) -> None:
    answers = [invite(signed_in, "bo@gmail.test").status_code for _ in range(51)]
    assert answers == [201] * 50 + [429]
