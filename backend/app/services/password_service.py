"""Passwords of people: forgotten, reset, changed."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import clock, errors, events
from app.database import audit, outbox, throttles
from app.database.models import Tenant, User, new_id
from app.database.session import ALL_TENANTS, transaction
from app.integrations import ports
from app.rules import passwords
from app.services import mail_tokens, token_families
from app.services.token_families import Device, Tokens
from app.utils import email_service, security

RESET = "reset_password"
RESET_MINUTES = 30


class PasswordService:
    @staticmethod
    def request_reset(email: str, db: Session) -> None:
        """Have a link mailed, if there is such an account; says nothing about it to the caller.

        Expects a session that sees all tenants.
        """
        user = db.scalars(
            select(User).where(User.email == email.strip().lower(), User.is_active)
        ).one_or_none()
        # For an unknown address a job that finds nobody, so that both take the same time.
        tenant_id, user_id = (new_id(), new_id()) if user is None else (user.tenant_id, user.id)
        outbox.record(db, events.PasswordResetRequested(tenant_id=tenant_id, user_id=user_id))

    @staticmethod
    def send_reset(user_id: UUID, db: Session, *, providers: ports.Providers | None = None) -> None:
        """Mail the user a one-time link; a job. Earlier links die."""
        providers = providers or ports.current()
        user = db.get(User, user_id)
        if user is None or not user.is_active:
            return
        mail_tokens.void(user.id, RESET, db)
        token, row_id = mail_tokens.issue(user, RESET, timedelta(minutes=RESET_MINUTES), db)
        mail = email_service.password_reset(
            name=user.full_name or user.email,
            # From the settings, never from a request's Host.
            link=f"{providers.platform.public_url}/reset-password?token={token}",
            minutes=RESET_MINUTES,
        )
        providers.mailer.send(
            to=user.email,
            subject=mail.subject,
            text=mail.text,
            html=mail.html,
            key=f"reset-{row_id}",
        )
        # Last, because other deeds of the tenant wait for this one from here on.
        audit.write(db, user.tenant_id, "password_reset_requested", "user", user.id)

    @staticmethod
    def reset(token: str, new_password: str) -> None:
        """Set a new password by a mailed token, and end all sessions.

        Nobody is signed in by this: a second factor is asked for as ever. Owns its transactions,
        because hashing must not hold a connection. Raises Invalid, for a poor password with the
        token unspent.
        """
        with transaction(tenant=ALL_TENANTS) as db:
            user_id = mail_tokens.read(token, RESET, db).user_id
            refuse_poor(new_password, "new_password", *_words_of(user_id, db))
        password_hash = security.hash_password(new_password)
        with transaction(tenant=ALL_TENANTS) as db:
            user = token_families.lock(user_id, db)
            mail_tokens.read(token, RESET, db, hold=True)
            if user is None:
                raise errors.Invalid("This link is not good any more. Ask for a new one.")
            token_families.recognise(user)
            _set(user, password_hash, "password_reset", db)

    @staticmethod
    def change(
        user: User, *, current_password: str, new_password: str, device: Device, db: Session
    ) -> tuple[User, Tokens]:
        """Set a new password by the old one, and end all sessions; a new one is begun.

        Raises InvalidCredentials, RateLimited, and Invalid for a poor password or the old one.
        """
        throttles.spend("change_password", account=str(user.id))
        before = user.password_hash
        if not security.verify_password(before, current_password):
            raise errors.InvalidCredentials("The current password is wrong.")
        throttles.refund("change_password", account=str(user.id))
        if new_password == current_password:
            raise _poor("new_password", "This is the password that you have now.")
        refuse_poor(new_password, "new_password", *_words_of(user.id, db))
        password_hash = security.hash_password(new_password)
        locked = token_families.lock(user.id, db)
        if locked is None or locked.password_hash != before:
            # Changed while we were looking at it.
            raise errors.InvalidCredentials("The current password is wrong.")
        _set(locked, password_hash, "password_changed", db)
        return locked, token_families.begin(locked, device, db)

    @staticmethod
    def send_notice(
        user_id: UUID, db: Session, *, providers: ports.Providers | None = None
    ) -> None:
        """Tell the user that the password is another one now; a job."""
        providers = providers or ports.current()
        user = db.get(User, user_id)
        if user is None or user.password_changed_at is None:
            return
        mail = email_service.password_changed(
            name=user.full_name or user.email,
            changed_at=user.password_changed_at,
            link=f"{providers.platform.public_url}/reset-password",
        )
        providers.mailer.send(
            to=user.email,
            subject=mail.subject,
            text=mail.text,
            html=mail.html,
            key=f"password-{user.id}-{user.password_changed_at.timestamp():.0f}",
        )


def refuse_poor(password: str, field: str, *personal: str) -> None:
    """Raises Invalid for a password that guessers would try; `personal` as rules/passwords.py."""
    fault = passwords.fault(password, personal=personal)
    if fault is not None:
        raise _poor(field, fault)


def _poor(field: str, fault: str) -> errors.Invalid:
    return errors.Invalid(fault, fields=[{"field": field, "message": fault}])


def _words_of(user_id: UUID, db: Session) -> tuple[str, str, str]:
    email, name, company = db.execute(
        select(User.email, User.full_name, Tenant.company_name)
        .join(Tenant, Tenant.id == User.tenant_id)
        .where(User.id == user_id)
    ).one()
    return email, name or "", company


def _set(user: User, password_hash: str, action: str, db: Session) -> None:
    """`user` is held."""
    before = user.password_changed_at
    user.password_hash, user.password_changed_at = password_hash, clock.now()
    mail_tokens.void(user.id, RESET, db)
    ended = token_families.cut(user, db)
    audit.write(
        db,
        user.tenant_id,
        action,
        "user",
        user.id,
        {
            "password_changed_at": [
                None if before is None else before.isoformat(),
                user.password_changed_at.isoformat(),
            ],
            "sessions": [ended, 0],
        },
    )
    outbox.record(db, events.PasswordChanged(tenant_id=user.tenant_id, user_id=user.id))
