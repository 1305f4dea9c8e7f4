"""One-time tokens that are sent by mail: hashed here, bound to one purpose, good for one use."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from app import clock, errors
from app.database.models import MailToken, User, new_id
from app.utils import security


def issue(user: User, purpose: str, lifetime: timedelta, db: Session) -> tuple[str, UUID]:
    """A new token for `user`, and the id of its row, which tells nothing about it."""
    token = security.new_token()
    row = MailToken(
        id=new_id(),
        tenant_id=user.tenant_id,
        user_id=user.id,
        purpose=purpose,
        token_hash=security.token_hash(token),
        expires_at=clock.now() + lifetime,
    )
    db.add(row)
    return token, row.id


def read(token: str, purpose: str, db: Session, *, hold: bool = False) -> MailToken:
    """The row of a token that can still be spent; with `hold`, nobody else can meanwhile.

    Expects a session that sees all tenants. Raises Invalid.
    """
    statement = select(MailToken).where(
        MailToken.token_hash == security.token_hash(token), MailToken.purpose == purpose
    )
    if hold:
        statement = statement.with_for_update().execution_options(populate_existing=True)
    row = db.scalars(statement).one_or_none()
    if row is None or row.used_at is not None or row.expires_at <= clock.now():
        raise errors.Invalid("This link is not good any more. Ask for a new one.")
    return row


def void(user_id: UUID, purpose: str, db: Session) -> None:
    """Make all links of this purpose that the user still has worthless."""
    db.execute(
        update(MailToken)
        .where(
            MailToken.user_id == user_id,
            MailToken.purpose == purpose,
            MailToken.used_at.is_(None),
        )
        .values(used_at=clock.now())
        .execution_options(synchronize_session=False)
    )


def forget(db: Session) -> None:
    """Delete tokens that are over."""
    db.execute(
        delete(MailToken).where(MailToken.expires_at < clock.now()),
        execution_options={"synchronize_session": False},
    )
