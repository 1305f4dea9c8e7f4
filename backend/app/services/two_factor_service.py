"""Second factors of people: one-time codes from an app, and recovery codes on paper."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.orm import Session

from app import clock, errors, events
from app.database import audit, outbox, throttles
from app.database.models import RecoveryCode, User
from app.integrations import ports
from app.rules import two_factor
from app.services import token_families
from app.utils import email_service, security

DOOR, PASSWORD_DOOR = "totp", "reauthenticate"


@dataclass(frozen=True)
class SetUp:
    secret: str
    """Base32, for those who cannot scan."""
    otpauth_uri: str
    qr_svg: str


@dataclass(frozen=True)
class Changed:
    """A second factor came or went: the caller stays signed in, by this token, and nobody else."""

    access_token: str
    expires_in: int
    """Seconds."""
    recovery_codes: tuple[str, ...] = ()
    """Shown this once."""


class TwoFactorService:
    @staticmethod
    def check(user: User, code: str, db: Session) -> None:
        """Spend a one-time code or a recovery code of `user`, at sign-in or as a confirmation.

        Raises InvalidCredentials for a wrong or spent one, RateLimited after too many. Holds a lock
        on the user until the transaction ends, so that of two at once only one is right.
        """
        throttles.spend(DOOR, account=str(user.id))
        if not TwoFactorService.accepts(user.id, code, db):
            raise errors.InvalidCredentials("The code is wrong, or was used before.")
        throttles.refund(DOOR, account=str(user.id))

    @staticmethod
    def accepts(user_id: UUID, code: str, db: Session) -> bool:
        """Whether the code was good; it is spent then. Counts no attempts: see `check`."""
        user = _locked(user_id, db)
        if not user.two_factor_enabled or user.totp_secret is None:
            return False
        step = two_factor.accepted_step(_secret(user), code, clock.now(), after=user.totp_step)
        if step is not None:
            user.totp_step = step
            return True
        return _burn(user, code, db)

    @staticmethod
    def set_up(user: User, db: Session) -> SetUp:
        """A new secret for the user's app; in force once `enable` saw a code made of it.

        Raises Conflict while a second factor is on.
        """
        user = _locked(user.id, db)
        _must_be(user, False)
        secret = security.new_totp_secret()
        user.totp_secret = security.encrypt(secret.encode(), _context(user))
        user.totp_step = None
        audit.write(db, user.tenant_id, "two_factor_set_up", "user", user.id)
        uri = two_factor.otpauth_uri(secret, account=user.email)
        return SetUp(secret, uri, two_factor.qr_svg(uri))

    @staticmethod
    def enable(user: User, code: str, claims: security.AccessClaims, db: Session) -> Changed:
        """Put the new secret in force. Raises Conflict, Invalid for a wrong code, RateLimited."""
        throttles.spend(DOOR, account=str(user.id))
        user = _locked(user.id, db)
        _must_be(user, False)
        if user.totp_secret is None:
            raise errors.Conflict("Set up a second factor first: POST /auth/2fa/setup.")
        step = two_factor.accepted_step(_secret(user), code, clock.now(), after=user.totp_step)
        if step is None:
            wrong = "The code is wrong. Is the clock of your device right?"
            raise errors.Invalid(wrong, fields=[{"field": "code", "message": wrong}])
        throttles.refund(DOOR, account=str(user.id))
        user.two_factor_enabled, user.totp_step = True, step
        codes = _new_recovery_codes(user, db)
        audit.write(
            db,
            user.tenant_id,
            "two_factor_enabled",
            "user",
            user.id,
            {"two_factor_enabled": [False, True]},
        )
        outbox.record(db, events.TwoFactorEnabled(tenant_id=user.tenant_id, user_id=user.id))
        return _sign_out_others(user, claims, db, codes)

    @staticmethod
    def disable(
        user: User,
        claims: security.AccessClaims,
        db: Session,
        *,
        password: str | None = None,
        code: str | None = None,
    ) -> Changed:
        """Do without a second factor, on proof by password or by a code.

        Raises Conflict when there is none, InvalidCredentials, RateLimited.
        """
        _must_be(user, True)
        if code is not None:
            TwoFactorService.check(user, code, db)
        else:
            _check_password(user, password or "")
        user = _locked(user.id, db)
        _must_be(user, True)
        user.two_factor_enabled, user.totp_secret, user.totp_step = False, None, None
        _forget_recovery_codes(user, db)
        audit.write(
            db,
            user.tenant_id,
            "two_factor_disabled",
            "user",
            user.id,
            {"two_factor_enabled": [True, False]},
        )
        outbox.record(db, events.TwoFactorDisabled(tenant_id=user.tenant_id, user_id=user.id))
        return _sign_out_others(user, claims, db)

    @staticmethod
    def renew_recovery_codes(user: User, db: Session) -> tuple[str, ...]:
        """Ten new codes in place of all earlier ones. Raises Conflict without a second factor."""
        user = _locked(user.id, db)
        _must_be(user, True)
        codes = _new_recovery_codes(user, db)
        audit.write(db, user.tenant_id, "recovery_codes_renewed", "user", user.id)
        outbox.record(db, events.RecoveryCodesRenewed(tenant_id=user.tenant_id, user_id=user.id))
        return codes

    @staticmethod
    def recovery_codes_left(user_id: UUID, db: Session) -> int:
        count = select(func.count()).select_from(RecoveryCode)
        return db.scalar(count.where(*_unspent(user_id))) or 0

    @staticmethod
    def tell(
        user_id: UUID, what: str, db: Session, *, providers: ports.Providers | None = None
    ) -> None:
        """Mail the user what happened to their second factor; a job. `what`: see email_service."""
        providers = providers or ports.current()
        user = db.get(User, user_id)
        if user is None or not user.is_active:
            return
        mail = email_service.second_factor(
            name=user.full_name or user.email,
            what=what,
            left=TwoFactorService.recovery_codes_left(user_id, db),
        )
        providers.mailer.send(
            to=user.email,
            subject=mail.subject,
            text=mail.text,
            html=mail.html,
            key=f"two-factor-{security.new_token()}",
        )


def _locked(user_id: UUID, db: Session) -> User:
    """As it is now, and nobody else's until the transaction ends. Raises Unauthenticated."""
    user = token_families.lock(user_id, db)
    if user is None:
        raise errors.Unauthenticated
    return user


def _must_be(user: User, enabled: bool) -> None:
    if user.two_factor_enabled != enabled:
        state = "on" if user.two_factor_enabled else "off"
        raise errors.Conflict(f"Your second factor is {state}.")


def _context(user: User) -> str:
    return f"users.totp_secret:{user.id}"


def _secret(user: User) -> str:
    return security.decrypt(user.totp_secret or b"", _context(user)).decode()


def _check_password(user: User, password: str) -> None:
    throttles.spend(PASSWORD_DOOR, account=str(user.id))
    if not security.verify_password(user.password_hash, password):
        raise errors.InvalidCredentials("The password is wrong.")
    throttles.refund(PASSWORD_DOOR, account=str(user.id))


def _unspent(user_id: UUID) -> tuple[ColumnElement[bool], ...]:
    return RecoveryCode.user_id == user_id, RecoveryCode.used_at.is_(None)


def _burn(user: User, code: str, db: Session) -> bool:
    burnt = db.scalar(
        update(RecoveryCode)
        .where(*_unspent(user.id), RecoveryCode.code_hash == security.recovery_code_hash(code))
        .values(used_at=clock.now())
        .returning(RecoveryCode.id),
        execution_options={"synchronize_session": False},
    )
    if burnt is None:
        return False
    audit.write(db, user.tenant_id, "recovery_code_used", "user", user.id)
    outbox.record(db, events.RecoveryCodeUsed(tenant_id=user.tenant_id, user_id=user.id))
    return True


def _new_recovery_codes(user: User, db: Session) -> tuple[str, ...]:
    _forget_recovery_codes(user, db)
    codes = tuple(security.recovery_codes())
    db.add_all(
        RecoveryCode(
            tenant_id=user.tenant_id,
            user_id=user.id,
            code_hash=security.recovery_code_hash(code),
        )
        for code in codes
    )
    return codes


def _forget_recovery_codes(user: User, db: Session) -> None:
    db.execute(
        delete(RecoveryCode).where(RecoveryCode.user_id == user.id),
        execution_options={"synchronize_session": False},
    )


def _sign_out_others(
    user: User, claims: security.AccessClaims, db: Session, codes: tuple[str, ...] = ()
) -> Changed:
    """End every other session: it was begun under other rules (OWASP ASVS 5.0, 7.4.3)."""
    token, seconds = token_families.keep_only(user, claims.family_id, claims.authenticated_at, db)
    return Changed(token, seconds, codes)
