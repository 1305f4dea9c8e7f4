"""Decisions and appeals, for those concerned and for operators."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from app.database.models import Appeal, Decision


def decisions() -> Select[Decision]:
    """All that the session sees."""
    return select(Decision)


def appeals_of(db: Session, decision_ids: Sequence[UUID]) -> dict[UUID, Appeal]:
    """By decision."""
    rows = db.scalars(select(Appeal).where(Appeal.decision_id.in_(decision_ids)))
    return {row.decision_id: row for row in rows}


def appeals(*, state: str | None = None, tenant_id: UUID | None = None) -> Select[Appeal]:
    statement = select(Appeal)
    if state is not None:
        statement = statement.where(Appeal.state == state)
    return statement if tenant_id is None else statement.where(Appeal.tenant_id == tenant_id)


def of_appeals(db: Session, appeals: Sequence[Appeal]) -> dict[UUID, Decision]:
    """The decision that each is against, by the decision's id."""
    ids = [appeal.decision_id for appeal in appeals]
    return {row.id: row for row in db.scalars(select(Decision).where(Decision.id.in_(ids)))}
