"""The people of a tenant: their roles, and their leaving."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select

from app import errors
from app.database.models import (
    AuditLog,
    RefreshToken,
    Role,
    User,
)
from app.database.session import ALL_TENANTS, transaction
from app.services.team_service import TeamService
from tests.fixtures.customer import Customer
from tests.fixtures.team import (
    PASSWORD,
    Join,
    accept,
    change,
    code,
    id_of,
    invite,
    mailed_token,
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


# Roles ------------------------------------------------------------------------------------------


def test_nobody_gives_or_touches_a_role_above_their_own(signed_in: Customer, join: Join) -> None:
    admin, member = join(signed_in, "admin"), join(signed_in, "member")
    asked = invite(signed_in, "own@gmail.test", "owner").json()["data"]
    forbidden = (403, "FORBIDDEN")
    assert code(invite(admin, "cy@gmail.test", "owner")) == forbidden
    assert code(invite(admin, "own@gmail.test", "member")) == forbidden, "an owner's invitation"
    assert code(remove(admin, asked["id"])) == forbidden
    assert code(change(admin, id_of(admin), role="owner")) == forbidden
    assert code(change(admin, id_of(member), role="owner")) == forbidden
    assert code(change(admin, id_of(signed_in), role="member")) == forbidden
    assert code(change(admin, id_of(signed_in), full_name="X")) == forbidden
    assert code(remove(admin, id_of(signed_in))) == forbidden
    assert change(admin, id_of(member), role="admin").status_code == 200
    assert change(signed_in, id_of(member), role="owner").status_code == 200


@pytest.mark.parametrize("role", ["member", "read_only"])
def test_members_see_the_team_and_change_nothing(
    signed_in: Customer, join: Join, role: str
) -> None:
    member = join(signed_in, role)
    assert len(team_of(member)) == 2
    forbidden = (403, "FORBIDDEN")
    assert code(invite(member, "cy@gmail.test", "read_only")) == forbidden
    assert code(change(member, id_of(member), full_name="X")) == forbidden
    assert code(remove(member, id_of(member))) == forbidden
    assert code(remove(member, id_of(signed_in))) == forbidden


def test_a_new_role_cuts_old_access_tokens_at_once(signed_in: Customer, join: Join) -> None:
    member = join(signed_in, "member")
    changed = change(signed_in, id_of(member), role="read_only", full_name="Bo Lind").json()["data"]
    assert (changed["role"], changed["full_name"]) == ("read_only", "Bo Lind")
    assert member.http.get("/auth/me").status_code == 401
    fresh = member.post("/auth/refresh", refresh_token=member.signed_up["refresh_token"])
    member.http.headers["Authorization"] = f"Bearer {fresh['access_token']}"
    assert member.get("/auth/me")["user"]["role"] == "read_only"
    # A name alone signs nobody out.
    assert change(signed_in, id_of(member), full_name="Bo").status_code == 200
    assert member.get("/auth/me")["user"]["full_name"] == "Bo"


def test_who_lost_the_right_meanwhile_changes_nothing(signed_in: Customer, join: Join) -> None:
    admin, member = join(signed_in, "admin"), join(signed_in, "member")
    with transaction(tenant=UUID(signed_in.tenant_id)) as db:
        actor = db.get_one(User, UUID(id_of(admin)))
        assert change(signed_in, id_of(admin), role="member").status_code == 200
        with pytest.raises(errors.Forbidden):
            TeamService.change(actor, UUID(id_of(member)), db, role=Role.READ_ONLY)
        with pytest.raises(errors.Forbidden):
            TeamService.remove(actor, UUID(id_of(member)), db)
    assert team_of(signed_in)[member.signed_up["user"]["email"]]["role"] == "member"


@pytest.mark.parametrize(
    "body", [{}, {"role": "boss"}, {"role": None}, {"full_name": ""}, {"is_admin": True}]
)
def test_changes_that_mean_nothing_are_refused(signed_in: Customer, body: dict[str, Any]) -> None:
    answer = signed_in.http.patch(f"/auth/users/{id_of(signed_in)}", json=body)
    assert code(answer) == (400, "VALIDATION_ERROR")


# The last owner ---------------------------------------------------------------------------------


def test_the_last_owner_stays(signed_in: Customer, join: Join) -> None:
    conflict = (409, "CONFLICT")
    join(signed_in, "admin")
    assert code(change(signed_in, id_of(signed_in), role="admin")) == conflict
    assert code(remove(signed_in, id_of(signed_in))) == conflict
    assert code(signed_in.http.delete("/auth/me")) == conflict
    second = join(signed_in, "owner")
    assert change(signed_in, id_of(signed_in), role="member").status_code == 200
    assert code(second.http.delete("/auth/me")) == conflict


@pytest.mark.parametrize("deed", ["demote", "remove", "leave"])
def test_of_two_owners_at_each_other_one_is_left(
    signed_in: Customer, join: Join, deed: str
) -> None:
    pair = (signed_in, join(signed_in, "owner"))
    wins = 0
    for _ in range(5):
        with transaction(tenant=ALL_TENANTS) as db:
            for user in db.scalars(select(User)):
                user.role = Role.OWNER
        start = Barrier(2)

        def act(number: int, start: Barrier = start) -> int:
            actor, target = pair[number], pair[1 - number]
            start.wait()
            if deed == "demote":
                return change(actor, id_of(target), role="member").status_code
            if deed == "remove":
                return remove(actor, id_of(target)).status_code
            return actor.http.delete("/auth/me").status_code

        with ThreadPoolExecutor(2) as pool:
            statuses = sorted(pool.map(act, range(2)))
        assert statuses.count(200) == 1, statuses
        assert statuses[1] in {401, 403, 404, 409}
        with transaction(tenant=ALL_TENANTS) as db:
            owners = db.scalars(select(User).where(User.role == Role.OWNER, User.is_active)).all()
        assert len(owners) == 1
        wins += 1
        if deed != "demote":
            break
        for somebody in pair:
            fresh = httpx.post(
                f"{somebody.world.api_url}/api/v1/auth/refresh",
                json={"refresh_token": somebody.signed_up["refresh_token"]},
                timeout=30,
            ).json()["data"]
            somebody.signed_up["refresh_token"] = fresh["refresh_token"]
            somebody.http.headers["Authorization"] = f"Bearer {fresh['access_token']}"
    assert wins


def test_however_owners_turn_on_each_other_one_is_left(signed_in: Customer, join: Join) -> None:
    ids = [
        UUID(id_of(who)) for who in (signed_in, join(signed_in, "owner"), join(signed_in, "owner"))
    ]
    tenant_id = UUID(signed_in.tenant_id)

    def fresh() -> None:
        with transaction(tenant=ALL_TENANTS) as db:
            for user in db.scalars(select(User)):
                user.role, user.is_active = Role.OWNER, True

    def act(number: int, how: str, start: Barrier) -> bool:
        with transaction(tenant=tenant_id) as db:
            actor = db.get_one(User, ids[number])
            target = ids[(number + 1) % 3]
            start.wait()
            try:
                if how == "demote":
                    TeamService.change(actor, target, db, role=Role.ADMIN)
                elif how == "remove":
                    TeamService.remove(actor, target, db)
                else:
                    TeamService.leave(actor, db)
            except (errors.Conflict, errors.Forbidden, errors.NotFound, errors.Unauthenticated):
                return False
            return True

    done = 0
    for how in ("demote", "remove", "leave") * 10:
        fresh()
        start = Barrier(3)
        with ThreadPoolExecutor(3) as pool:
            deeds = [pool.submit(act, number, how, start) for number in range(3)]
            done += sum(deed.result() for deed in deeds)
        with transaction(tenant=tenant_id) as db:
            owners = db.scalars(select(User).where(User.role == Role.OWNER, User.is_active)).all()
        assert len(owners) >= 1, how
    assert done >= 30, "something was done in every round"


# Leaving ----------------------------------------------------------------------------------------


def test_a_removed_member_is_out_at_once(
    signed_in: Customer, join: Join, api: httpx.Client, world: Running, drain: Drain
) -> None:
    admin = join(signed_in, "admin", full_name="Cy")
    email = admin.signed_up["user"]["email"]
    made = admin.post("/auth/api-keys", name="robot", scopes=["domains:read"])
    assert remove(signed_in, id_of(admin)).status_code == 200
    assert admin.http.get("/auth/me").status_code == 401
    refreshed = admin.try_post("/auth/refresh", refresh_token=admin.signed_up["refresh_token"])
    assert refreshed.status_code == 401
    login = {"email": email, "password": PASSWORD}
    assert code(api.post("/api/v1/auth/login", json=login)) == (401, "INVALID_CREDENTIALS")
    assert email not in team_of(signed_in)
    with transaction(tenant=ALL_TENANTS) as db:
        row = db.get_one(User, UUID(id_of(admin)))
        assert (row.is_active, row.totp_secret) == (False, None)
        theirs = select(RefreshToken).where(RefreshToken.user_id == row.id)
        assert all(token.revoked_at for token in db.scalars(theirs)), "sessions die, too"
    assert code(remove(signed_in, id_of(admin))) == (404, "NOT_FOUND")
    # The programs go on.
    robot = {"Authorization": f"Bearer {made['key']}"}
    assert api.get("/api/v1/domains", headers=robot).status_code == 200
    (listed,) = signed_in.get("/auth/api-keys")
    assert listed["created_by"] == {
        "id": id_of(admin),
        "full_name": "Cy",
        "email": None,
        "removed": True,
    }
    # The address is free again, also for this team.
    invite(signed_in, email)
    drain()
    assert accept(api, mailed_token(world, email)).status_code == 201


def test_anybody_but_the_last_owner_may_leave(signed_in: Customer, join: Join) -> None:
    member = join(signed_in, "read_only")
    assert member.http.delete("/auth/me").json()["data"] == {"done": True}
    assert member.http.get("/auth/me").status_code == 401
    assert len(team_of(signed_in)) == 1


# Reading ----------------------------------------------------------------------------------------


def test_the_list_is_paged_through_members_and_invitations(signed_in: Customer, join: Join) -> None:
    invite(signed_in, "a@gmail.test")
    join(signed_in)
    invite(signed_in, "b@gmail.test")
    join(signed_in)
    everybody = [row["id"] for row in signed_in.get("/auth/users")]
    assert len(everybody) == 5
    for limit in (1, 2, 4, 5):
        seen: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            answer = signed_in.http.get("/auth/users", params={"limit": limit, **cursor}).json()
            seen += [row["id"] for row in answer["data"]]
            assert len(answer["data"]) <= limit
            if not answer["meta"]["has_more"]:
                break
            cursor = {"cursor": answer["meta"]["next_cursor"]}
        assert seen == everybody


def test_another_tenants_people_do_not_exist(
    signed_in: Customer, other: Customer, join: Join
) -> None:
    theirs = join(other)
    asked = invite(other, "x@gmail.test").json()["data"]["id"]
    for id_ in (id_of(theirs), id_of(other), asked):
        assert code(change(signed_in, id_, role="member")) == (404, "NOT_FOUND")
        assert code(remove(signed_in, id_)) == (404, "NOT_FOUND")
    assert len(team_of(signed_in)) == 1
    assert len(team_of(other)) == 3


def test_what_was_done_is_written_down(signed_in: Customer, join: Join) -> None:
    member = join(signed_in, "member")
    change(signed_in, id_of(member), role="admin", full_name="Bo Lind")
    remove(signed_in, id_of(member))
    invited = invite(signed_in, "cy@gmail.test").json()["data"]["id"]
    remove(signed_in, invited)
    with transaction(tenant=ALL_TENANTS) as db:
        rows = db.scalars(select(AuditLog).order_by(AuditLog.created_at)).all()
    found = {row.action: row for row in rows}
    assert found["invitation_accepted"].actor_id == UUID(id_of(member))
    assert found["user_changed"].changes["role"] == ["member", "admin"]
    assert found["user_changed"].actor_id == UUID(id_of(signed_in))
    assert found["user_removed"].resource_id == UUID(id_of(member))
    assert found["invitation_revoked"].resource_id == UUID(invited)
    assert all("Bo Lind" not in str(row.changes) for row in rows)
