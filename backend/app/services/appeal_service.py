"""Objections to decisions: a tenant appeals, a person of the platform upholds or reverses."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app import clock, errors
from app.database import audit, operator_trail
from app.database.models import (
    Appeal,
    AppealState,
    Decision,
    DecisionAction,
    Inbox,
    InboxStatus,
    NoticeKind,
    Tenant,
    new_id,
)
from app.services import kill_switch, notices
from app.services.inbox_service import InboxService


class AppealService:
    @staticmethod
    def file(
        tenant: Tenant, decision_id: UUID, message: str, db: Session, *, by: UUID | None = None
    ) -> Appeal:
        """Object to a decision, once; the operators are called.

        Raises NotFound, and Conflict for a second appeal or for a decision in the tenant's favour.
        """
        decision = db.get(Decision, decision_id)
        if decision is None or decision.tenant_id != tenant.id:
            raise errors.NotFound(resource="decision")
        if decision.action == DecisionAction.REINSTATE:
            raise errors.Conflict("There is nothing to appeal against: you were let in again.")
        id_ = db.scalar(
            insert(Appeal)
            .values(
                id=new_id(),
                created_at=clock.now(),
                tenant_id=tenant.id,
                decision_id=decision_id,
                message=message,
                filed_by=by,
                state=AppealState.OPEN,
            )
            .on_conflict_do_nothing()
            .returning(Appeal.id)
        )
        if id_ is None:
            raise errors.Conflict("This decision was appealed against before.")
        audit.write(
            db, tenant.id, "appeal_filed", "appeal", id_, {"decision_id": [None, str(decision_id)]}
        )
        notices.alert(
            db,
            "appeal_filed",
            str(id_),
            f"{tenant.company_name} appeals against a decision ({decision.action} for"
            f" {decision.reason}): {message}",
            tenant_id=tenant.id,
        )
        return db.get_one(Appeal, id_)

    @staticmethod
    def uphold(appeal_id: UUID, db: Session, *, answer: str | None = None) -> Appeal:
        """The decision stands. Raises NotFound, and Conflict for one that was answered before."""
        return _answer(_open(appeal_id, db), AppealState.UPHELD, answer, db)

    @staticmethod
    def reverse(appeal_id: UUID, db: Session, *, answer: str | None = None) -> Appeal:
        """Undo the decision, as far as it still has effect. Raises NotFound and Conflict.

        A tenant is let in again, and its queues flushed, unless it is suspended by a later
        decision; an inbox is resumed. What led to the decision does not count again.
        """
        appeal = _open(appeal_id, db)
        decision = db.get_one(Decision, appeal.decision_id)
        tenant = db.get_one(Tenant, appeal.tenant_id)
        evidence = {"appeal_id": str(appeal.id), "decision_id": str(decision.id)}
        if decision.action == DecisionAction.SUSPEND and _is_latest(decision, db):
            kill_switch.turn_off(
                tenant, db, note=answer, evidence=evidence, only_for=decision.reason
            )
        elif decision.inbox_id is not None and decision.action == DecisionAction.PAUSE:
            _resume(tenant, decision, answer, evidence, db)
        return _answer(appeal, AppealState.REVERSED, answer, db)


def _open(appeal_id: UUID, db: Session) -> Appeal:
    found = db.get(Appeal, appeal_id)
    if found is None:
        raise errors.NotFound(resource="appeal")
    # The tenant first, as whoever turns the kill switch does.
    db.get_one(Tenant, found.tenant_id, with_for_update={"key_share": True})
    appeal = db.get_one(Appeal, appeal_id, with_for_update=True, populate_existing=True)
    if appeal.state != AppealState.OPEN:
        raise errors.Conflict("This appeal was answered before.", state=str(appeal.state))
    return appeal


def _answer(appeal: Appeal, state: AppealState, answer: str | None, db: Session) -> Appeal:
    who = audit.actor()
    appeal.state, appeal.answer, appeal.answered_at = state, answer, clock.now()
    appeal.answered_by = who.id if who.kind == "operator" else None
    action = "appeal_upheld" if state == AppealState.UPHELD else "appeal_reversed"
    changes = {"state": [AppealState.OPEN.value, state.value]}
    audit.write(db, appeal.tenant_id, action, "appeal", appeal.id, changes)
    operator_trail.write(db, action, "appeal", appeal.id, changes)
    notices.owe(
        db,
        appeal.tenant_id,
        NoticeKind.APPEAL_ANSWERED,
        str(appeal.id),
        state=state.value,
        answer=answer,
    )
    return appeal


def _is_latest(decision: Decision, db: Session) -> bool:
    """Whether no later decision suspended the tenant."""
    later = select(Decision.id).where(
        Decision.tenant_id == decision.tenant_id,
        Decision.action == DecisionAction.SUSPEND,
        Decision.id > decision.id,
    )
    return db.scalar(later.limit(1)) is None


def _resume(
    tenant: Tenant,
    decision: Decision,
    answer: str | None,
    evidence: dict[str, str],
    db: Session,
) -> None:
    inbox = None if decision.inbox_id is None else db.get(Inbox, decision.inbox_id)
    if inbox is None or inbox.status != InboxStatus.PAUSED:
        return
    InboxService.set_status(inbox.id, InboxStatus.ACTIVE, db)
    kill_switch.decide(
        tenant,
        DecisionAction.REINSTATE,
        decision.reason,
        db,
        answer,
        evidence,
        inbox_id=inbox.id,
    )
