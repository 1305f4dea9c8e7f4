"""Claims on idempotency keys: the first request with a key works, its repeats get its answer.

A claim is committed before the work begins, the answer together with the work's effect. An error
takes the effect back, and with it the claim: a repeat is then a new try.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import CursorResult, delete, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app import clock, errors
from app.database.models import APIKey, IdempotencyRecord, new_id
from app.database.session import ALL_TENANTS, transaction
from app.utils import security

KEPT = timedelta(hours=24)
ABANDONED = timedelta(seconds=60)
"""A claim without an answer after this long was left by a process that died."""


@dataclass(frozen=True)
class Mine:
    """The claim is ours; `id` changes hands when another takes it over."""

    id: UUID
    tenant_id: UUID
    key: str


@dataclass(frozen=True)
class Answered:
    status_code: int
    media_type: str | None
    body: bytes


def tenant_of_api_key(token_hash: bytes) -> UUID | None:
    """Whose key this is, when it is in force."""
    with transaction(tenant=ALL_TENANTS) as db:
        return db.scalar(
            select(APIKey.tenant_id).where(
                APIKey.token_hash == token_hash,
                APIKey.revoked_at.is_(None),
                or_(APIKey.expires_at.is_(None), APIKey.expires_at > clock.now()),
            )
        )


def claim(tenant_id: UUID, key: str, request_hash: bytes) -> Mine | Answered:
    """Claim `key` in a transaction of its own, or find the answer that it has.

    Raises IdempotencyKeyReused when the key stands for another request, and RequestInProgress while
    that request is being worked on.
    """
    with transaction(tenant=tenant_id) as db:
        now = clock.now()
        mine = Mine(new_id(), tenant_id, key)
        fresh = {
            "id": mine.id,
            "created_at": now,
            "request_hash": request_hash,
            "status_code": None,
            "media_type": None,
            "body": None,
            "expires_at": now + KEPT,
        }
        inserted = db.scalar(
            insert(IdempotencyRecord)
            .values(tenant_id=tenant_id, key=key, **fresh)
            .on_conflict_do_nothing()
            .returning(IdempotencyRecord.id)
        )
        if inserted is not None:
            return mine
        row = db.scalars(
            select(IdempotencyRecord).where(IdempotencyRecord.key == key).with_for_update()
        ).one_or_none()
        if row is None:
            # Released between our two statements.
            raise errors.RequestInProgress(retry_after=1)
        if row.expires_at > now:
            if bytes(row.request_hash) != request_hash:
                raise errors.IdempotencyKeyReused
            if row.status_code is not None:
                return _answer(row)
            if row.created_at > now - ABANDONED:
                raise errors.RequestInProgress(retry_after=1)
        # A new id, so that the former owner, should it live after all, cannot finish.
        db.execute(
            update(IdempotencyRecord).where(IdempotencyRecord.id == row.id).values(**fresh),
            execution_options={"synchronize_session": False},
        )
        return mine


def answer(db: Session, mine: Mine, reply: Answered) -> None:
    """Keep the answer, in the transaction of the effect.

    Raises RequestInProgress when the claim was taken over meanwhile: the effect must not stand.
    """
    result = db.execute(
        update(IdempotencyRecord)
        .where(IdempotencyRecord.id == mine.id, IdempotencyRecord.status_code.is_(None))
        .values(
            status_code=reply.status_code,
            media_type=reply.media_type,
            body=security.encrypt(reply.body, _context(mine.id)),
        ),
        execution_options={"synchronize_session": False},
    )
    assert isinstance(result, CursorResult)  # noqa: S101  # An UPDATE gives one.
    if result.rowcount != 1:
        raise errors.RequestInProgress(retry_after=1)


def release(mine: Mine) -> None:
    """Give the key back, because nothing was done. An answered or lost claim stays."""
    with transaction(tenant=mine.tenant_id) as db:
        db.execute(
            delete(IdempotencyRecord).where(
                IdempotencyRecord.id == mine.id, IdempotencyRecord.status_code.is_(None)
            ),
            execution_options={"synchronize_session": False},
        )


def _answer(row: IdempotencyRecord) -> Answered:
    if row.status_code is None or row.body is None:
        raise ValueError("This record has no answer.")
    return Answered(row.status_code, row.media_type, security.decrypt(row.body, _context(row.id)))


def _context(id_: UUID) -> str:
    return f"idempotency_records.body:{id_}"
