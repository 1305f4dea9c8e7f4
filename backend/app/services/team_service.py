"""The people of a tenant: invited, given roles, removed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, delete, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app import clock, errors, events
from app.database import audit, outbox, throttles
from app.database.models import (
    Invitation,
    MailToken,
    RecoveryCode,
    Role,
    Tenant,
    User,
    new_id,
)
from app.database.session import ALL_TENANTS, transaction
from app.integrations import ports
from app.rules import permissions
from app.rules.permissions import Permission
from app.services import token_families
from app.services.password_service import refuse_poor
from app.services.token_families import Device, Tokens
from app.utils import email_service, security

INVITATION_DAYS = 7
_MIGHTY = frozenset({Role.OWNER, Role.ADMIN})


class TeamService:
    @staticmethod
    def invite(inviter: User, email: str, role: Role, db: Session) -> Invitation:
        """Have a link mailed that makes the holder of `email` a member; an earlier one is void.

        Nothing is asked outside the tenant, so that the answer tells nothing about accounts
        elsewhere. Raises Forbidden for a role above the inviter's own, Conflict for a member,
        RateLimited.
        """
        _must_reach(inviter, role)
        throttles.spend("invite", account=str(inviter.tenant_id))
        if db.scalar(select(User.id).where(User.email == email, User.is_active)) is not None:
            raise errors.Conflict("This person is a member already.")
        invitation = db.scalars(
            select(Invitation).where(Invitation.email == email, *_open()).with_for_update()
        ).one_or_none()
        before = None if invitation is None else invitation.role
        if invitation is None:
            invitation = Invitation(id=new_id(), tenant_id=inviter.tenant_id, email=email)
            db.add(invitation)
        else:
            _must_reach(inviter, invitation.role)
        invitation.role, invitation.invited_by = role, inviter.id
        invitation.expires_at = clock.now() + timedelta(days=INVITATION_DAYS)
        # Nobody has this token: the mail gets one of its own, and the link before is dead at once.
        invitation.token_hash = security.token_hash(security.new_token())
        db.flush()  # The moment of its making is part of the answer.
        audit.write(
            db,
            inviter.tenant_id,
            "user_invited",
            "invitation",
            invitation.id,
            {"role": [before, role]},
        )
        outbox.record(
            db,
            events.InvitationIssued(tenant_id=inviter.tenant_id, invitation_id=invitation.id),
        )
        return invitation

    @staticmethod
    def send_invitation(
        invitation_id: UUID, db: Session, *, providers: ports.Providers | None = None
    ) -> None:
        """Mail a new one-time link; a job. Only the newest link works."""
        providers = providers or ports.current()
        invitation = db.scalars(
            select(Invitation).where(Invitation.id == invitation_id, *_open()).with_for_update()
        ).one_or_none()
        if invitation is None:
            return
        token = security.new_token()
        invitation.token_hash = security.token_hash(token)
        tenant = db.get_one(Tenant, invitation.tenant_id)
        inviter = None if invitation.invited_by is None else db.get(User, invitation.invited_by)
        mail = email_service.invitation(
            inviter="A colleague" if inviter is None else inviter.full_name or inviter.email,
            company=tenant.company_name,
            # From the settings, never from a request's Host.
            link=f"{providers.platform.public_url}/accept-invite?token={token}",
            days=INVITATION_DAYS,
        )
        providers.mailer.send(
            to=invitation.email,
            subject=mail.subject,
            text=mail.text,
            html=mail.html,
            key=f"invite-{new_id()}",
        )

    @staticmethod
    def accept(token: str, *, full_name: str, password: str, device: Device) -> tuple[User, Tokens]:
        """Become a member by the link of the mail, which proves the address, and sign in.

        Owns its transactions, because hashing must not hold a connection. Raises Invalid for a
        link that is not good any more or a poor password, EmailAlreadyRegistered when the address
        has an account elsewhere, TenantSuspended.
        """
        with transaction(tenant=ALL_TENANTS) as db:
            found = _invitation_of(token, db)
            company = db.get_one(Tenant, found.tenant_id).company_name
        refuse_poor(password, "password", found.email, company, full_name)
        password_hash = security.hash_password(password)
        with transaction(tenant=found.tenant_id) as db:
            invitation = _invitation_of(token, db)
            tenant = db.get_one(Tenant, invitation.tenant_id)
            if tenant.is_suspended:
                raise errors.TenantSuspended(reason=str(tenant.suspension_reason))
            user = User(
                id=new_id(),
                tenant_id=tenant.id,
                email=invitation.email,
                full_name=full_name,
                password_hash=password_hash,
                role=invitation.role,
                is_admin=invitation.role in _MIGHTY,
                is_verified=True,
                session_version=1,
                last_login_at=clock.now(),
            )
            try:
                with db.begin_nested():
                    db.add(user)
            except IntegrityError:
                raise errors.EmailAlreadyRegistered from None
            invitation.accepted_at = clock.now()
            token_families.recognise(user)
            audit.write(
                db,
                tenant.id,
                "invitation_accepted",
                "user",
                user.id,
                {"role": [None, user.role]},
            )
            return user, token_families.begin(user, device, db)

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
        _must_reach(actor, target.role)
        changes: dict[str, list[Any]] = {}
        if role is not None and role != target.role:
            _must_reach(actor, role)
            _keep_an_owner(owners, target)
            changes["role"] = [target.role, role]
            target.role, target.is_admin = role, role in _MIGHTY
            target.session_version += 1
        if full_name is not None and full_name != target.full_name:
            # The trail outlives people, so it names nobody.
            changes["full_name"] = [target.full_name is not None, True]
            target.full_name = full_name
        if changes:
            audit.write(db, target.tenant_id, "user_changed", "user", target.id, changes)
        return target

    @staticmethod
    def remove(actor: User, id_: UUID, db: Session) -> None:
        """Take a member's access away at once, or an invitation's link.

        The API keys that a member made go on working. Raises NotFound, Forbidden for somebody
        above the actor, Conflict for the last owner.
        """
        invitation = db.scalars(
            select(Invitation).where(Invitation.id == id_, *_open()).with_for_update()
        ).one_or_none()
        if invitation is not None:
            _must_reach(actor, invitation.role)
            invitation.revoked_at = clock.now()
            audit.write(db, actor.tenant_id, "invitation_revoked", "invitation", invitation.id)
            return
        owners, actor, target = _hold(actor, id_, db)
        _must_reach(actor, target.role)
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


def _open() -> tuple[ColumnElement[bool], ...]:
    return Invitation.accepted_at.is_(None), Invitation.revoked_at.is_(None)


def _invitation_of(token: str, db: Session) -> Invitation:
    invitation = db.scalars(
        select(Invitation)
        .where(Invitation.token_hash == security.token_hash(token), *_open())
        .with_for_update()
    ).one_or_none()
    if invitation is None or invitation.expires_at <= clock.now():
        raise errors.Invalid("This invitation is not good any more. Ask for a new one.")
    return invitation


def _must_reach(actor: User, role: str) -> None:
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
