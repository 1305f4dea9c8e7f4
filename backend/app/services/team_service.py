"""The people of a tenant: their roles, and their leaving."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from app import errors
from app.database import audit
from app.database.models import MailToken, RecoveryCode, Role, Tenant, User
from app.rules import permissions
from app.rules.permissions import Permission
from app.services import token_families

MIGHTY = frozenset({Role.OWNER, Role.ADMIN})
"""Roles that `is_admin` stands for."""


class TeamService:
    @staticmethod
    def change(
        actor: User,
        user_id: UUID,
        db: Session,
        *,
        role: Role | None = None,
        full_name: str | None = None,
    ) -> User:
        """Give a member another role or name; None leaves it. A new role cuts old access tokens.

        Raises NotFound, Forbidden when either role is above the actor's, Conflict for the last
        owner.
        """
        owners, actor, target = _hold(actor, user_id, db)
        must_reach(actor, target.role)
        changes: dict[str, list[Any]] = {}
        if role is not None and role != target.role:
            must_reach(actor, role)
            _keep_an_owner(owners, target)
            changes["role"] = [target.role, role]
            target.role, target.is_admin = role, role in MIGHTY
            target.session_version += 1
        if full_name is not None and full_name != target.full_name:
            # The trail outlives people, so it names nobody.
            changes["full_name"] = [target.full_name is not None, True]
            target.full_name = full_name
        if changes:
            audit.write(db, target.tenant_id, "user_changed", "user", target.id, changes)
        return target

    @staticmethod
    def remove(actor: User, user_id: UUID, db: Session) -> None:
        """Take a member's access away at once. The API keys that they made go on working.

        Raises NotFound, Forbidden for somebody above the actor, Conflict for the last owner.
        """
        owners, actor, target = _hold(actor, user_id, db)
        must_reach(actor, target.role)
        _keep_an_owner(owners, target)
        _remove(target, db)

    @staticmethod
    def leave(user: User, db: Session) -> None:
        """Take one's own access away. Raises Conflict for the last owner."""
        owners, _, user = _hold(user, user.id, db, permission=None)
        _keep_an_owner(owners, user)
        _remove(user, db)

    @staticmethod
    def require_two_factor(tenant: Tenant, user: User, wanted: bool, db: Session) -> None:
        """Whether everybody must have a second factor; who has none reaches only its set-up.

        Raises Conflict for somebody without one, who would shut the door on themselves.
        """
        if wanted and not user.two_factor_enabled:
            raise errors.Conflict("Switch on a second factor of your own first.")
        if tenant.requires_two_factor != wanted:
            changes = {"requires_two_factor": [tenant.requires_two_factor, wanted]}
            tenant.requires_two_factor = wanted
            audit.write(db, tenant.id, "tenant_changed", "tenant", tenant.id, changes)


def must_reach(actor: User, role: str) -> None:
    """Nobody gives, takes or changes a role above their own."""
    if permissions.rank(role) > permissions.rank(actor.role):
        raise errors.Forbidden(f"The role {role} is above yours, {actor.role}.")


def _hold(
    actor: User,
    user_id: UUID,
    db: Session,
    *,
    permission: Permission | None = Permission.TEAM_WRITE,
) -> tuple[list[User], User, User]:
    """The owners, the actor and the target as they are now; they stay so until the end.

    Locked in the order of their ids, so that two owners who demote each other wait for one another
    and the second sees what the first did. Raises NotFound, Forbidden when the actor lost
    `permission` meanwhile.
    """
    people = db.scalars(
        select(User)
        .where(User.is_active, or_(User.role == Role.OWNER, User.id.in_([actor.id, user_id])))
        .order_by(User.id)
        .with_for_update(),
        execution_options={"populate_existing": True},
    ).all()
    found = {user.id: user for user in people}
    if user_id not in found:
        raise errors.NotFound(resource="user")
    if actor.id not in found:
        raise errors.Unauthenticated
    actor = found[actor.id]
    if permission is not None and permission not in permissions.of_role(actor.role):
        raise errors.Forbidden
    owners = [user for user in people if user.role == Role.OWNER]
    return owners, actor, found[user_id]


def _keep_an_owner(owners: list[User], target: User) -> None:
    if owners == [target]:
        raise errors.Conflict("The last owner stays. Make somebody else owner first.")


def _remove(user: User, db: Session) -> None:
    """The row stays, without what it proves and reaches, so that the trail still has a name."""
    changes = {"is_active": [True, False], "role": [user.role, None]}
    audit.write(db, user.tenant_id, "user_removed", "user", user.id, changes)
    token_families.cut(user, db)
    user.is_active = False
    # Free for another account; `.invalid` is nobody's (RFC 2606).
    user.email = f"{user.id}@removed.invalid"
    user.password_hash = "removed"  # noqa: S105  # No hash: nothing matches it.
    user.two_factor_enabled, user.totp_secret, user.totp_step = False, None, None
    for secrets in (RecoveryCode, MailToken):
        db.execute(
            delete(secrets).where(secrets.user_id == user.id),
            execution_options={"synchronize_session": False},
        )
