"""Signing in and out."""

from __future__ import annotations

from functools import lru_cache
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import clock, errors
from app.database import audit, throttles
from app.database.models import User
from app.database.session import ALL_TENANTS, transaction
from app.services import token_families
from app.services.token_families import Device, Tokens
from app.services.two_factor_service import TwoFactorService
from app.utils import security


class SessionService:
    @staticmethod
    def login(
        *, email: str, password: str, device: Device, totp_code: str | None = None
    ) -> tuple[User, Tokens]:
        """Sign in. Owns its transactions, because hashing must not hold a connection.

        `totp_code` is that of the second factor, or a recovery code. An unknown address takes as
        long as a wrong password. Raises InvalidCredentials; only for the right password
        TotpRequired without a code, and RateLimited after too many wrong ones.
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
            locked = token_families.lock(user.id, db)
            if locked is None or locked.password_hash != user.password_hash:
                # Changed while we were looking at it.
                raise errors.InvalidCredentials
            token_families.recognise(locked)
            _second_factor(locked, totp_code, db)
            locked.password_hash = renewed or locked.password_hash
            locked.last_login_at = clock.now()
            tokens = token_families.begin(locked, device, db)
            audit.write(db, locked.tenant_id, "user_logged_in", "user", locked.id)
            return locked, tokens

    @staticmethod
    def refresh(refresh_token: str, device: Device) -> tuple[User, Tokens]:
        """A new pair for a refresh token, which is spent by this.

        A token that was spent before is in two hands: its whole family is revoked, and that must be
        kept although the request fails, so this owns its transaction. Raises TokenExpired or
        Unauthenticated.
        """
        with transaction(tenant=ALL_TENANTS) as db:
            verdict = token_families.rotate(refresh_token, device, db)
        if isinstance(verdict, errors.Unauthenticated):
            raise verdict
        return verdict

    @staticmethod
    def reauthenticate(
        user: User, family_id: UUID, *, password: str, totp_code: str | None, db: Session
    ) -> tuple[str, int]:
        """Prove again who sits there, for what wants credentials shown lately.

        A new access token of the same session, and the seconds that it is good for. Raises
        InvalidCredentials, TotpRequired, RateLimited.
        """
        throttles.spend("reauthenticate", account=str(user.id))
        if not security.verify_password(user.password_hash, password):
            raise errors.InvalidCredentials("The password is wrong.")
        # Only failures count; the second factor counts its own.
        throttles.refund("reauthenticate", account=str(user.id))
        _second_factor(user, totp_code, db)
        audit.write(db, user.tenant_id, "user_reauthenticated", "user", user.id)
        return token_families.confirm(user, family_id, db)

    @staticmethod
    def logout(family_id: UUID, user_id: UUID, tenant_id: UUID, db: Session) -> bool:
        """End one session, its access tokens too; False when it was over already."""
        ended = token_families.revoke(family_id, user_id, db)
        if ended:
            audit.write(
                db,
                tenant_id,
                "user_logged_out",
                "user",
                user_id,
                {"session": [str(family_id), None]},
            )
        return ended

    @staticmethod
    def logout_by_token(refresh_token: str, db: Session) -> bool:
        """The same for whoever holds a refresh token; expects a session that sees all tenants."""
        row = token_families.find(refresh_token, db)
        if row is None:
            return False
        token_families.recognise(db.get_one(User, row.user_id))
        return SessionService.logout(row.family_id, row.user_id, row.tenant_id, db)


def _second_factor(user: User, code: str | None, db: Session) -> None:
    """Raises TotpRequired or InvalidCredentials when the person has one and does not show it."""
    if not user.two_factor_enabled:
        return
    if code is None:
        raise errors.TotpRequired
    TwoFactorService.check(user, code, db)


@lru_cache
def _nobodys_hash() -> str:
    """What the password of an unknown address is compared with."""
    return security.hash_password(security.new_token())
