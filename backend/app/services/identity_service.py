"""Accounts of people: signing up, in and out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from uuid import UUID, uuid4

from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app import clock, errors, events
from app.database import audit, outbox
from app.database.models import MailToken, RefreshToken, Role, Tenant, User, new_id
from app.database.session import ALL_TENANTS, scope, transaction
from app.integrations import ports
from app.rules import passwords
from app.services.subscription_service import SubscriptionService
from app.utils import email_service, security

VERIFY_EMAIL = "verify_email"
VERIFY_HOURS = 24
IDLE = timedelta(days=14)
"""A refresh token that is not used this long is worth nothing."""


@dataclass(frozen=True)
class Device:
    """Where somebody signs in from, for their list of sessions."""

    ip: str | None = None
    user_agent: str | None = None


@dataclass(frozen=True)
class Tokens:
    access_token: str
    refresh_token: str
    expires_in: int
    """Seconds until the access token expires."""


@dataclass(frozen=True)
class Registered:
    tenant: Tenant
    user: User
    tokens: Tokens
    setup_intent: ports.Intent


class IdentityService:
    @staticmethod
    def register(
        *,
        company_name: str,
        email: str,
        password: str,
        full_name: str | None,
        device: Device,
        db: Session,
        payments: ports.PaymentGateway | None = None,
    ) -> Registered:
        """Open a tenant with its owner, on trial, and a SetupIntent that collects the card.

        Raises Invalid for a poor password, EmailAlreadyRegistered, and what Stripe raises; nothing
        is kept then.
        """
        email = email.strip().lower()
        fault = passwords.fault(password, personal=(email, company_name, full_name or ""))
        if fault is not None:
            raise errors.Invalid(fault, fields=[{"field": "password", "message": fault}])
        # Before the first statement, so that no connection waits for the hash.
        password_hash = security.hash_password(password)
        tenant = Tenant(id=new_id(), company_name=company_name, company_email=email)
        scope(db, tenant.id)
        SubscriptionService.create_trial(tenant, db)
        user = User(
            id=new_id(),
            tenant_id=tenant.id,
            email=email,
            full_name=full_name,
            password_hash=password_hash,
            role=Role.OWNER,
            is_admin=True,
            session_version=1,
            last_login_at=clock.now(),
        )
        try:
            with db.begin_nested():
                db.add(user)
        except IntegrityError:
            raise errors.EmailAlreadyRegistered from None
        audit.acting_as(_as(user))
        audit.write(db, tenant.id, "tenant_registered", "tenant", tenant.id)
        outbox.record(db, events.TenantRegistered(tenant_id=tenant.id, user_id=user.id))
        tokens = _open_session(user, device, db)
        intent = SubscriptionService.open_account(tenant, db, email=email, payments=payments)
        return Registered(tenant, user, tokens, intent)

    @staticmethod
    def login(*, email: str, password: str, device: Device) -> tuple[User, Tokens]:
        """Sign in. Owns its transactions, because hashing must not hold a connection.

        An unknown address takes as long as a wrong password. Raises InvalidCredentials.
        """
        with transaction(tenant=ALL_TENANTS) as db:
            user = db.scalars(
                select(User).where(User.email == email.strip().lower(), User.is_active)
            ).one_or_none()
        right = security.verify_password(
            _nobodys_hash() if user is None else user.password_hash, password
        )
        if user is None or not right:
            raise errors.InvalidCredentials
        renewed = None
        if security.needs_rehash(user.password_hash):
            renewed = security.hash_password(password)
        with transaction(tenant=user.tenant_id) as db:
            locked = db.scalars(
                select(User).where(User.id == user.id, User.is_active).with_for_update()
            ).one_or_none()
            if locked is None or locked.password_hash != user.password_hash:
                # Changed while we were looking at it.
                raise errors.InvalidCredentials
            locked.password_hash = renewed or locked.password_hash
            locked.last_login_at = clock.now()
            audit.acting_as(_as(locked))
            audit.write(db, locked.tenant_id, "user_logged_in", "user", locked.id)
            return locked, _open_session(locked, device, db)

    @staticmethod
    def refresh(refresh_token: str, device: Device) -> tuple[User, Tokens]:
        """A new pair for a refresh token, which is spent by this.

        A token that was spent before is in two hands: its whole family is revoked, and that must be
        kept although the request fails, so this owns its transaction. Raises TokenExpired or
        Unauthenticated.
        """
        with transaction(tenant=ALL_TENANTS) as db:
            verdict = _rotate(refresh_token, device, db)
        if isinstance(verdict, errors.Unauthenticated):
            raise verdict
        return verdict

    @staticmethod
    def logout(family_id: UUID, user_id: UUID, db: Session) -> bool:
        """End one session, its access tokens too; False when it was over already."""
        ended = _revoke(family_id, db, user_id=user_id)
        if ended is not None:
            audit.write(db, ended, "user_logged_out", "user", user_id)
        return ended is not None

    @staticmethod
    def logout_by_token(refresh_token: str, db: Session) -> bool:
        """The same for whoever holds a refresh token; expects a session that sees all tenants."""
        row = _find(refresh_token, db)
        return row is not None and IdentityService.logout(row.family_id, row.user_id, db)

    @staticmethod
    def request_verification(email: str, db: Session) -> None:
        """Have the mail sent again, if there is such an account and it needs one.

        Says nothing about it to the caller. Expects a session that sees all tenants.
        """
        user = db.scalars(
            select(User).where(
                User.email == email.strip().lower(), User.is_active, ~User.is_verified
            )
        ).one_or_none()
        if user is not None:
            outbox.record(
                db, events.VerificationRequested(tenant_id=user.tenant_id, user_id=user.id)
            )

    @staticmethod
    def send_verification(
        user_id: UUID, db: Session, *, providers: ports.Providers | None = None
    ) -> None:
        """Mail the user a one-time link; a job. Earlier links stay good until they expire."""
        providers = providers or ports.current()
        user = db.get(User, user_id)
        if user is None or user.is_verified:
            return
        token = security.new_token()
        row = MailToken(
            id=new_id(),
            tenant_id=user.tenant_id,
            user_id=user.id,
            purpose=VERIFY_EMAIL,
            token_hash=security.token_hash(token),
            expires_at=clock.now() + timedelta(hours=VERIFY_HOURS),
        )
        db.add(row)
        mail = email_service.verification(
            name=user.full_name or user.email,
            # From the settings, never from a request's Host.
            link=f"{providers.platform.public_url}/verify-email?token={token}",
            hours=VERIFY_HOURS,
        )
        providers.mailer.send(
            to=user.email,
            subject=mail.subject,
            text=mail.text,
            html=mail.html,
            key=f"verify-{row.id}",
        )

    @staticmethod
    def verify_email(token: str, db: Session) -> User:
        """Spend a link's token. Expects a session that sees all tenants; raises Invalid."""
        row = db.scalars(
            select(MailToken)
            .where(
                MailToken.token_hash == security.token_hash(token),
                MailToken.purpose == VERIFY_EMAIL,
            )
            .with_for_update()
        ).one_or_none()
        if row is None or row.used_at is not None or row.expires_at <= clock.now():
            raise errors.Invalid("This link is not good any more. Ask for a new one.")
        row.used_at = clock.now()
        user = db.get_one(User, row.user_id)
        user.is_verified = True
        audit.acting_as(_as(user))
        audit.write(
            db, user.tenant_id, "email_verified", "user", user.id, {"is_verified": [False, True]}
        )
        return user


def _as(user: User) -> audit.Actor:
    """The request's actor, now that we know the person."""
    before = audit.actor()
    return audit.Actor("user", user.id, before.ip, before.request_id)


@lru_cache
def _nobodys_hash() -> str:
    return security.hash_password(security.new_token())


def _open_session(user: User, device: Device, db: Session) -> Tokens:
    now = clock.now()
    return _issue(user, uuid4(), now + security.refresh_lifetime(), now, device, db)


def _issue(
    user: User,
    family_id: UUID,
    ends_at: datetime,
    authenticated_at: datetime,
    device: Device,
    db: Session,
) -> Tokens:
    token = security.new_token()
    db.add(
        RefreshToken(
            tenant_id=user.tenant_id,
            user_id=user.id,
            family_id=family_id,
            token_hash=security.token_hash(token),
            expires_at=min(ends_at, clock.now() + IDLE),
            authenticated_at=authenticated_at,
            user_agent=(device.user_agent or "")[:300] or None,
            ip=device.ip,
        )
    )
    return Tokens(
        access_token=security.access_token(
            user_id=user.id,
            tenant_id=user.tenant_id,
            session_version=user.session_version,
            family_id=family_id,
            authenticated_at=authenticated_at,
        ),
        refresh_token=token,
        expires_in=int(security.access_lifetime().total_seconds()),
    )


def _find(refresh_token: str, db: Session) -> RefreshToken | None:
    return db.scalars(
        select(RefreshToken)
        .where(RefreshToken.token_hash == security.token_hash(refresh_token))
        .with_for_update()
    ).one_or_none()


def _rotate(
    refresh_token: str, device: Device, db: Session
) -> tuple[User, Tokens] | errors.Unauthenticated:
    row = _find(refresh_token, db)
    now = clock.now()
    if row is None or row.revoked_at is not None:
        return errors.Unauthenticated()
    user = db.get_one(User, row.user_id)
    if row.used_at is not None:
        _revoke(row.family_id, db, user_id=row.user_id)
        audit.write(db, row.tenant_id, "refresh_token_reused", "user", row.user_id)
        return errors.Unauthenticated()
    if row.expires_at <= now:
        return errors.TokenExpired()
    if not user.is_active:
        return errors.Unauthenticated()
    row.used_at = now
    began = db.scalar(
        select(func.min(RefreshToken.created_at)).where(RefreshToken.family_id == row.family_id)
    )
    ends_at = (began or row.created_at) + security.refresh_lifetime()
    return user, _issue(user, row.family_id, ends_at, row.authenticated_at, device, db)


def _revoke(family_id: UUID, db: Session, *, user_id: UUID) -> UUID | None:
    """Revoke a family's tokens; the tenant's id when there was one to revoke."""
    revoked = db.scalars(
        update(RefreshToken)
        .where(
            RefreshToken.family_id == family_id,
            RefreshToken.user_id == user_id,
            RefreshToken.revoked_at.is_(None),
        )
        .values(revoked_at=clock.now())
        .returning(RefreshToken.tenant_id)
        .execution_options(synchronize_session=False)
    ).all()
    return revoked[0] if revoked else None
