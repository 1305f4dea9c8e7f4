"""Invitations: a mailed link makes somebody a member."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app import clock, errors, events
from app.database import audit, outbox, throttles
from app.database.models import Invitation, Role, Tenant, User, new_id
from app.database.session import ALL_TENANTS, transaction
from app.integrations import ports
from app.services import token_families
from app.services.password_service import refuse_poor
from app.services.team_service import MIGHTY, must_reach
from app.services.token_families import Device, Tokens
from app.utils import email_service, security

DAYS = 7
KEPT = timedelta(days=90)
"""An invitation that was accepted, revoked or missed stays this long, for questions about it."""


class InvitationService:
    @staticmethod
    def issue(inviter: User, email: str, role: Role, db: Session) -> Invitation:
        """Have a link mailed that makes the holder of `email` a member; an earlier one is void.

        Nothing is asked outside the tenant, so that the answer tells nothing about accounts
        elsewhere. Raises Forbidden for a role above the inviter's own, Conflict for a member or
        from somebody whose own address is not confirmed, RateLimited.
        """
        must_reach(inviter, role)
        if not inviter.is_verified:
            # Else a stranger could have us write to anybody, in words that the stranger chose.
            raise errors.Conflict("Confirm your own e-mail address before you invite others.")
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
            must_reach(inviter, invitation.role)
        invitation.role, invitation.invited_by = role, inviter.id
        invitation.expires_at = clock.now() + timedelta(days=DAYS)
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
    def send(invitation_id: UUID, db: Session, *, providers: ports.Providers | None = None) -> None:
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
            days=DAYS,
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
        with _joining(token, full_name, password) as (user, db):
            user.last_login_at = clock.now()
            return user, token_families.begin(user, device, db)

    @staticmethod
    def join(token: str, *, full_name: str, password: str) -> None:
        """As `accept`, without signing in: the page of the link does not keep tokens."""
        with _joining(token, full_name, password):
            pass

    @staticmethod
    def forget(db: Session) -> None:
        """Delete what has been over for `KEPT`: it holds addresses. Sees all tenants."""
        ended = func.coalesce(Invitation.accepted_at, Invitation.revoked_at, Invitation.expires_at)
        db.execute(
            delete(Invitation).where(ended < clock.now() - KEPT),
            execution_options={"synchronize_session": False},
        )

    @staticmethod
    def revoke(actor: User, invitation_id: UUID, db: Session) -> bool:
        """Make a link worthless; False when there is no such open invitation.

        Raises Forbidden for one to a role above the actor's.
        """
        invitation = db.scalars(
            select(Invitation).where(Invitation.id == invitation_id, *_open()).with_for_update()
        ).one_or_none()
        if invitation is None:
            return False
        must_reach(actor, invitation.role)
        invitation.revoked_at = clock.now()
        audit.write(db, actor.tenant_id, "invitation_revoked", "invitation", invitation.id)
        return True


def _open() -> tuple[ColumnElement[bool], ...]:
    return Invitation.accepted_at.is_(None), Invitation.revoked_at.is_(None)


def _find(token: str, db: Session) -> Invitation:
    invitation = db.scalars(
        select(Invitation)
        .where(Invitation.token_hash == security.token_hash(token), *_open())
        .with_for_update()
    ).one_or_none()
    if invitation is None or invitation.expires_at <= clock.now():
        raise errors.Invalid("This invitation is not good any more. Ask for a new one.")
    return invitation


@contextmanager
def _joining(token: str, full_name: str, password: str) -> Iterator[tuple[User, Session]]:
    """A member made of an invitation, in the transaction that spends it."""
    with transaction(tenant=ALL_TENANTS) as db:
        found = _find(token, db)
        company = db.get_one(Tenant, found.tenant_id).company_name
    refuse_poor(password, "password", found.email, company, full_name)
    password_hash = security.hash_password(password)
    with transaction(tenant=found.tenant_id) as db:
        invitation = _find(token, db)
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
            is_admin=invitation.role in MIGHTY,
            is_verified=True,
            session_version=1,
        )
        try:
            with db.begin_nested():
                db.add(user)
        except IntegrityError:
            raise errors.EmailAlreadyRegistered from None
        invitation.accepted_at = clock.now()
        token_families.recognise(user)
        changes = {"role": [None, user.role]}
        audit.write(db, tenant.id, "invitation_accepted", "user", user.id, changes)
        yield user, db
