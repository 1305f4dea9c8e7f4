"""What people see of their own account."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from app import clock
from app.database.models import (
    DomainStep,
    Invoice,
    PaymentMethod,
    RefreshToken,
    Suppression,
    TenantOwned,
    Transaction,
)

Owned = TypeVar("Owned", bound=TenantOwned)


@dataclass(frozen=True)
class LiveSession:
    id: UUID
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    ip: str | None
    user_agent: str | None


def sessions(db: Session, user_id: UUID) -> list[LiveSession]:
    """The user's refresh-token families that can still be refreshed, newest first."""
    began = (
        select(RefreshToken.family_id, func.min(RefreshToken.created_at).label("began"))
        .where(RefreshToken.user_id == user_id)
        .group_by(RefreshToken.family_id)
        .subquery()
    )
    rows = db.execute(
        select(RefreshToken, began.c.began)
        .join(began, began.c.family_id == RefreshToken.family_id)
        .where(
            RefreshToken.user_id == user_id,
            RefreshToken.used_at.is_(None),
            RefreshToken.revoked_at.is_(None),
            RefreshToken.expires_at > clock.now(),
        )
        .order_by(RefreshToken.id.desc())
    )
    return [
        LiveSession(
            token.family_id, start, token.created_at, token.expires_at, token.ip, token.user_agent
        )
        for token, start in rows
    ]


def cards(db: Session) -> list[PaymentMethod]:
    return list(
        db.scalars(
            select(PaymentMethod)
            .where(PaymentMethod.is_active)
            .order_by(PaymentMethod.is_default.desc(), PaymentMethod.id)
        )
    )


def invoices() -> Select[Invoice]:
    return select(Invoice)


def ledger(*, kind: str | None, status: str | None) -> Select[Transaction]:
    statement = select(Transaction)
    if kind is not None:
        statement = statement.where(Transaction.transaction_type == kind)
    if status is not None:
        statement = statement.where(Transaction.status == status)
    return statement


def steps(db: Session, domain_id: UUID) -> list[DomainStep]:
    """In the order in which they are taken."""
    return list(
        db.scalars(
            select(DomainStep).where(DomainStep.domain_id == domain_id).order_by(DomainStep.id)
        )
    )


def suppressions(*, text: str | None) -> Select[Suppression]:
    statement = select(Suppression)
    if text is not None:
        statement = statement.where(Suppression.target.contains(text.lower(), autoescape=True))
    return statement
