"""The people of a tenant, and what all of them must do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from anyio import to_thread
from fastapi import APIRouter, Request

from app import clock
from app.api.cursors import Cursor, Limit, seal, unseal
from app.api.deps import DB, Person, address_of, public, requires
from app.api.idempotency import IdempotentRoute
from app.api.responses import Envelope, Page, ok, page
from app.api.schemas import auth, team
from app.api.v1.auth import device_of, hashing
from app.database import throttles
from app.database.models import Invitation, User
from app.database.queries import team as queries
from app.rules.permissions import Permission
from app.services.invitation_service import InvitationService
from app.services.team_service import TeamService
from app.services.token_families import Tokens

router = APIRouter(prefix="/auth", tags=["auth"], route_class=IdempotentRoute)


@router.get("/users", response_model=Page[team.MemberOut], **requires(Permission.TEAM_READ))
def list_users(db: DB, limit: Limit = 50, cursor: Cursor = None) -> Any:
    """Members and open invitations, in the order of their making."""
    rows, last = queries.people(db, after=unseal("users", cursor), limit=limit)
    return page([_out(row) for row in rows], seal("users", last))


@router.post(
    "/users",
    status_code=201,
    response_model=Envelope[team.MemberOut],
    **requires(
        Permission.TEAM_WRITE, person=True, recent=True, audit_event="user_invited", idempotent=True
    ),
)
def invite_user(body: team.InviteIn, person: Person, db: DB) -> Any:
    """Mail somebody a link by which they join; it works for seven days, and once.

    Inviting again voids the link before. The answer does not tell whether the address has an
    account elsewhere.
    """
    return ok(_out(InvitationService.issue(person.user, body.email, body.role, db)))


@router.post(
    "/users/accept-invite",
    status_code=201,
    response_model=Envelope[auth.LoginOut],
    **public(audit_event="invitation_accepted"),
)
async def accept_invite(body: team.AcceptIn, request: Request) -> Any:
    """Join by the mailed link, which proves the address, and sign in."""

    def work() -> tuple[User, Tokens]:
        with throttled(address_of(request)):
            return InvitationService.accept(
                body.token,
                full_name=body.full_name,
                password=body.password,
                device=device_of(request),
            )

    user, tokens = await to_thread.run_sync(work, limiter=hashing)
    return ok({**vars(tokens), "user": user})


@contextmanager
def throttled(address: str) -> Iterator[None]:
    """Counts failures of those who try links; a whole office may join from one address."""
    throttles.spend("accept_invite", address=address)
    yield
    throttles.refund("accept_invite", address=address)


@router.patch(
    "/users/{user_id}",
    response_model=Envelope[team.MemberOut],
    **requires(Permission.TEAM_WRITE, person=True, recent=True, audit_event="user_changed"),
)
def change_user(user_id: UUID, body: team.MemberPatch, person: Person, db: DB) -> Any:
    """Another role or name. A new role cuts the member's access tokens at once.

    Nobody gives, takes or changes a role above their own, and the last owner stays one.
    """
    changed = TeamService.change(person.user, user_id, db, role=body.role, full_name=body.full_name)
    return ok(_out(changed))


@router.delete(
    "/users/{user_id}",
    response_model=Envelope[auth.DoneOut],
    **requires(Permission.TEAM_WRITE, person=True, audit_event="user_removed"),
)
def remove_user(user_id: UUID, person: Person, db: DB) -> Any:
    """Remove a member or revoke an invitation: access ends with the next request.

    API keys that the member made go on working and are listed as a removed person's.
    """
    if not InvitationService.revoke(person.user, user_id, db):
        TeamService.remove(person.user, user_id, db)
    return ok({"done": True})


@router.delete(
    "/me",
    response_model=Envelope[auth.DoneOut],
    **requires(Permission.PROFILE_WRITE, person=True, recent=True, audit_event="user_removed"),
)
def leave(person: Person, db: DB) -> Any:
    """Leave the team for good. The last owner cannot."""
    TeamService.leave(person.user, db)
    return ok({"done": True})


@router.patch(
    "/tenant",
    response_model=Envelope[team.TenantSettingsOut],
    **requires(Permission.ACCOUNT_WRITE, person=True, recent=True, audit_event="tenant_changed"),
)
def change_tenant(body: team.TenantPatch, person: Person, db: DB) -> Any:
    """Require a second factor of everybody, or no longer. Wants one of your own first.

    Members without one then reach only its set-up, their own account and the way out.
    """
    TeamService.require_two_factor(person.tenant, person.user, body.requires_two_factor, db)
    return ok(person.tenant)


def _out(row: User | Invitation) -> dict[str, Any]:
    if isinstance(row, User):
        mine = ("full_name", "is_verified", "two_factor_enabled", "last_login_at")
        extra: dict[str, Any] = {name: getattr(row, name) for name in mine}
        extra |= {"status": "active", "invited_by": None, "expires_at": None}
    else:
        over = row.expires_at <= clock.now()
        extra = {
            "full_name": None,
            "is_verified": False,
            "two_factor_enabled": False,
            "last_login_at": None,
            "status": "expired" if over else "invited",
            "invited_by": row.invited_by,
            "expires_at": row.expires_at,
        }
    shared = ("id", "email", "role", "created_at")
    return {**{name: getattr(row, name) for name in shared}, **extra}
