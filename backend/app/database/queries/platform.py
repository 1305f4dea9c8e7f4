"""What operators look at; expects a session that sees all tenants."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from app.database.models import (
    AuditLog,
    Decision,
    Domain,
    Inbox,
    Job,
    Operator,
    OperatorAct,
    Tenant,
    User,
)

LATEST = 20
"""How many decisions and audit rows are shown along with a tenant."""


@dataclass(frozen=True)
class Counts:
    users: int
    domains: dict[str, int]
    """By status."""
    inboxes: dict[str, int]
    jobs: dict[str, int]
    """By state."""


def tenants(*, suspended: bool | None, text: str | None) -> Select[Tenant]:
    """`text` is a part of the company's name or address."""
    statement = select(Tenant)
    if suspended is not None:
        statement = statement.where(Tenant.is_suspended == suspended)
    if text is not None:
        statement = statement.where(
            or_(
                Tenant.company_name.icontains(text, autoescape=True),
                Tenant.company_email.icontains(text, autoescape=True),
            )
        )
    return statement


def people(db: Session, tenant_id: UUID) -> list[User]:
    """In the order in which they joined; a tenant has tens of them at most."""
    return list(db.scalars(select(User).where(User.tenant_id == tenant_id).order_by(User.id)))


def counts(db: Session, tenant_id: UUID) -> Counts:
    return Counts(
        users=db.scalar(select(func.count()).where(User.tenant_id == tenant_id)) or 0,
        domains=_by(db, select(Domain.status, func.count()).where(Domain.tenant_id == tenant_id)),
        inboxes=_by(db, select(Inbox.status, func.count()).where(Inbox.tenant_id == tenant_id)),
        jobs=_by(db, select(Job.state, func.count()).where(Job.tenant_id == tenant_id)),
    )


def _by(db: Session, statement: Select[str, int]) -> dict[str, int]:
    kind = statement.selected_columns[0]
    return {str(name): count for name, count in db.execute(statement.group_by(kind))}


def decisions(*, tenant_id: UUID | None = None, action: str | None = None) -> Select[Decision]:
    statement = select(Decision)
    if tenant_id is not None:
        statement = statement.where(Decision.tenant_id == tenant_id)
    return statement if action is None else statement.where(Decision.action == action)


def trail(tenant_id: UUID) -> Select[AuditLog]:
    """The tenant's own audit trail."""
    return select(AuditLog).where(AuditLog.tenant_id == tenant_id)


def acts(*, operator_id: UUID | None, action: str | None) -> Select[OperatorAct]:
    """What was done to the platform; without an `operator_id` also what was done from a shell."""
    statement = select(OperatorAct)
    if operator_id is not None:
        statement = statement.where(OperatorAct.operator_id == operator_id)
    return statement if action is None else statement.where(OperatorAct.action == action)


def operators(db: Session) -> list[Operator]:
    """All of them, the revoked too, in the order of making."""
    return list(db.scalars(select(Operator).order_by(Operator.id)))


def jobs(*, state: str | None) -> Select[Job]:
    statement = select(Job)
    return statement if state is None else statement.where(Job.state == state)
