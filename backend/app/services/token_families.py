"""Sessions of people: families of refresh tokens, each token good for one use.

Whoever changes a family holds its user's row first, then the tokens. So a rotation that is under
way cannot slip a new token past a password change.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.orm import Session

from app import clock, errors
from app.database import audit
from app.database.models import RefreshToken, User
from app.utils import security

IDLE = timedelta(days=7)
"""A refresh token that is not used this long is worth nothing (OWASP ASVS 5.0, 7.3.1). However
often it is rotated, the family ends after `security.refresh_lifetime()` (7.3.2)."""


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


def lock(user_id: UUID, db: Session) -> User | None:
    """The person as they are now, held until the end of the transaction; None for nobody active."""
    return db.scalars(
        select(User)
        .where(User.id == user_id, User.is_active)
        # NO KEY: rows that refer to the user may still be written meanwhile.
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).one_or_none()


def recognise(user: User) -> None:
    """Put what this request does from here on down to this person."""
    audit.acting_as(replace(audit.actor(), kind="user", id=user.id))


def begin(user: User, device: Device, db: Session) -> Tokens:
    """A new session of somebody who has just shown their credentials. `user` is held."""
    now = clock.now()
    return _issue(user, uuid4(), now, now + security.refresh_lifetime(), device, db)


def rotate(
    refresh_token: str, device: Device, db: Session
) -> tuple[User, Tokens] | errors.Unauthenticated:
    """The next pair of a family, or why there is none.

    The refusal is a value, because the revocation that may come with it must be committed. Expects
    a session that sees all tenants.
    """
    seen = find(refresh_token, db)
    user = None if seen is None else lock(seen.user_id, db)
    row = find(refresh_token, db, hold=True)
    if user is None or row is None or row.revoked_at is not None:
        return errors.Unauthenticated()
    if row.used_at is not None:
        # It is in two hands, and nobody knows which are the thief's.
        revoke(row.family_id, user.id, db)
        audit.write(db, user.tenant_id, "refresh_token_reused", "user", user.id)
        return errors.Unauthenticated()
    now = clock.now()
    if row.expires_at <= now:
        return errors.TokenExpired()
    row.used_at = now
    began = db.scalar(
        select(func.min(RefreshToken.created_at)).where(RefreshToken.family_id == row.family_id)
    )
    ends_at = (began or row.created_at) + security.refresh_lifetime()
    return user, _issue(user, row.family_id, row.authenticated_at, ends_at, device, db)


def confirm(user: User, family_id: UUID, db: Session) -> tuple[str, int]:
    """Note that the person showed credentials again in this session.

    The new access token, and the seconds that it is good for.
    """
    now = clock.now()
    lock(user.id, db)
    db.execute(
        update(RefreshToken)
        .where(RefreshToken.family_id == family_id, RefreshToken.user_id == user.id)
        .values(authenticated_at=now)
        .execution_options(synchronize_session=False)
    )
    return _access_token(user, family_id, now), _seconds()


def revoke(family_id: UUID, user_id: UUID, db: Session) -> bool:
    """End one session, its access tokens too; False when there was none to end."""
    lock(user_id, db)
    return bool(_revoke(db, RefreshToken.family_id == family_id, RefreshToken.user_id == user_id))


def cut(user: User, db: Session) -> int:
    """End all sessions of a person with the next request; how many. `user` is held."""
    user.session_version += 1
    return len(_revoke(db, RefreshToken.user_id == user.id))


def keep_only(
    user: User, family_id: UUID, authenticated_at: datetime, db: Session
) -> tuple[str, int]:
    """End all sessions of a person but one. `user` is held.

    The new access token of that one, because the one in use is over too, and the seconds that it is
    good for.
    """
    user.session_version += 1
    _revoke(db, RefreshToken.user_id == user.id, RefreshToken.family_id != family_id)
    return _access_token(user, family_id, authenticated_at), _seconds()


def forget(db: Session) -> None:
    """Delete tokens that not even their reuse can tell us anything of any more."""
    ended = clock.now() - security.refresh_lifetime()
    db.execute(
        delete(RefreshToken).where(RefreshToken.expires_at < ended),
        execution_options={"synchronize_session": False},
    )


def find(refresh_token: str, db: Session, *, hold: bool = False) -> RefreshToken | None:
    """The row of a token that we gave out, dead or alive; expects to see all tenants."""
    statement = select(RefreshToken).where(
        RefreshToken.token_hash == security.token_hash(refresh_token)
    )
    if hold:
        statement = statement.with_for_update().execution_options(populate_existing=True)
    return db.scalars(statement).one_or_none()


def _issue(
    user: User,
    family_id: UUID,
    authenticated_at: datetime,
    ends_at: datetime,
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
            authenticated_at=authenticated_at,
            expires_at=min(ends_at, clock.now() + IDLE),
            user_agent=(device.user_agent or "")[:300] or None,
            ip=device.ip,
        )
    )
    return Tokens(_access_token(user, family_id, authenticated_at), token, _seconds())


def _access_token(user: User, family_id: UUID, authenticated_at: datetime) -> str:
    return security.access_token(
        user_id=user.id,
        tenant_id=user.tenant_id,
        session_version=user.session_version,
        family_id=family_id,
        authenticated_at=authenticated_at,
    )


def _seconds() -> int:
    return int(security.access_lifetime().total_seconds())


def _revoke(db: Session, *whose: ColumnElement[bool]) -> set[UUID]:
    """Revoke the tokens of all families that `whose` describes; the ids of those families."""
    revoked = db.scalars(
        update(RefreshToken)
        .where(*whose, RefreshToken.revoked_at.is_(None))
        .values(revoked_at=clock.now())
        .returning(RefreshToken.family_id)
        .execution_options(synchronize_session=False)
    )
    return set(revoked)
