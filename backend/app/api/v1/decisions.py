"""Why a tenant was warned, stopped or let back in, and its say in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from sqlalchemy.orm import Session

from app.api.cursors import Cursor, Limit, seal, unseal
from app.api.deps import DB, EvenSuspendedTenant, Who, operators, requires
from app.api.responses import Envelope, Page, ok, page
from app.api.schemas import decisions as s
from app.database.models import Appeal, AppealState, Decision
from app.database.queries import decisions as queries
from app.database.queries import pages
from app.rules.permissions import Permission
from app.services.appeal_service import AppealService

router = APIRouter(prefix="/decisions", tags=["decisions"])
admin_router = APIRouter(prefix="/admin/appeals", tags=["admin"])


@router.get(
    "",
    response_model=Page[s.OwnDecisionOut],
    **requires(Permission.ACCOUNT_READ, suspended_too=True),
)
def list_decisions(db: DB, limit: Limit = 50, cursor: Cursor = None) -> Any:
    """Decisions about this tenant and its inboxes, with their evidence; the newest first."""
    rows, last = pages.page(
        db,
        queries.decisions(),
        Decision.id,
        after=unseal("own-decisions", cursor),
        limit=limit,
    )
    appeals = queries.appeals_of(db, [row.id for row in rows])
    return page([_own(row, appeals.get(row.id)) for row in rows], seal("own-decisions", last))


@router.post(
    "/{decision_id}/appeal",
    status_code=201,
    response_model=Envelope[s.AppealOut],
    **requires(Permission.ACCOUNT_WRITE, audit_event="appeal_filed", suspended_too=True),
)
def appeal(
    decision_id: UUID, body: s.AppealIn, tenant: EvenSuspendedTenant, who: Who, db: DB
) -> Any:
    """Object to a decision, once; a person of the platform answers."""
    by = None if who.user is None else who.user.id
    return ok(AppealService.file(tenant, decision_id, body.message, db, by=by))


@admin_router.get("", response_model=Page[s.AppealAdminOut], **operators())
def list_appeals(
    db: DB,
    limit: Limit = 50,
    cursor: Cursor = None,
    state: Annotated[AppealState | None, Query()] = None,
    tenant_id: UUID | None = None,
) -> Any:
    """Appeals with the decisions they are against, the newest first."""
    rows, last = pages.page(
        db,
        queries.appeals(state=state, tenant_id=tenant_id),
        Appeal.id,
        after=unseal("appeals", cursor),
        limit=limit,
    )
    return page(_with_decisions(db, rows), seal("appeals", last))


@admin_router.post(
    "/{appeal_id}/uphold",
    response_model=Envelope[s.AppealAdminOut],
    **operators(audit_event="appeal_upheld", recent=True),
)
def uphold(appeal_id: UUID, db: DB, body: s.AnswerIn | None = None) -> Any:
    """The decision stands."""
    note = None if body is None else body.note
    return ok(_with_decisions(db, [AppealService.uphold(appeal_id, db, answer=note)])[0])


@admin_router.post(
    "/{appeal_id}/reverse",
    response_model=Envelope[s.AppealAdminOut],
    **operators(audit_event="appeal_reversed", recent=True),
)
def reverse(appeal_id: UUID, db: DB, body: s.AnswerIn | None = None) -> Any:
    """Undo the decision: the tenant is let in again, or the inbox resumed."""
    note = None if body is None else body.note
    return ok(_with_decisions(db, [AppealService.reverse(appeal_id, db, answer=note)])[0])


def _own(decision: Decision, appeal: Appeal | None) -> dict[str, Any]:
    by_rule = decision.actor_type == "system"
    return {
        "id": decision.id,
        "action": decision.action,
        "reason": decision.reason,
        "rule_version": decision.rule_version,
        "note": decision.note,
        # What an operator notes is for operators.
        "evidence": decision.evidence if by_rule else None,
        "inbox_id": decision.inbox_id,
        "by_rule": by_rule,
        "created_at": decision.created_at,
        "appeal": appeal,
    }


def _with_decisions(db: Session, rows: Sequence[Appeal]) -> list[dict[str, Any]]:
    decisions = queries.of_appeals(db, rows)
    names = ("id", "tenant_id", "decision_id", "message", "filed_by", "state", "answer")
    more = ("created_at", "answered_by", "answered_at")
    return [
        {name: getattr(row, name) for name in (*names, *more)}
        | {"decision": decisions[row.decision_id]}
        for row in rows
    ]
