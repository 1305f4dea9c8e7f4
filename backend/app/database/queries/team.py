"""What people see of their team and of its API keys."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database.models import APIKey, Invitation, User
from app.database.queries import pages


def people(
    db: Session, *, after: UUID | None, limit: int
) -> tuple[list[User | Invitation], UUID | None]:
    """A page of members and open invitations together, in the order of their making.

    As pages.page: the rows, and the key to continue after.
    """
    members, more_members = pages.page(
        db,
        select(User).where(User.is_active),
        User.id,
        after=after,
        limit=limit,
        newest_first=False,
    )
    invited, more_invited = pages.page(
        db,
        select(Invitation).where(Invitation.accepted_at.is_(None), Invitation.revoked_at.is_(None)),
        Invitation.id,
        after=after,
        limit=limit,
        newest_first=False,
    )
    # Each has as many as fit, so the first `limit` of both are among them.
    everybody: list[User | Invitation] = [*members, *invited]
    everybody.sort(key=lambda row: row.id)
    rows = everybody[:limit]
    more = len(everybody) > limit or more_members is not None or more_invited is not None
    return rows, rows[-1].id if more else None


@dataclass(frozen=True)
class Maker:
    """Who made a key."""

    id: UUID | None
    full_name: str | None
    email: str | None
    """None: removed from the team."""
    removed: bool


@dataclass(frozen=True)
class ListedKey:
    key: APIKey
    created_by: Maker


def keys(db: Session, *, after: UUID | None, limit: int) -> tuple[list[ListedKey], UUID | None]:
    """A page of the keys that are not revoked, the newest first."""
    rows, last = pages.page(
        db, select(APIKey).where(APIKey.revoked_at.is_(None)), APIKey.id, after=after, limit=limit
    )
    ids = {key.created_by for key in rows if key.created_by is not None}
    users = {user.id: user for user in db.scalars(select(User).where(User.id.in_(ids)))}
    return [ListedKey(key, _maker_of(key, users)) for key in rows], last


def maker(user: User) -> Maker:
    email = user.email if user.is_active else None
    return Maker(user.id, user.full_name, email, removed=not user.is_active)


def _maker_of(key: APIKey, users: dict[UUID, User]) -> Maker:
    user = None if key.created_by is None else users.get(key.created_by)
    return Maker(key.created_by, None, None, removed=True) if user is None else maker(user)
