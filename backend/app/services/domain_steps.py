"""The steps of setting a name up: locking the name, moving it on, and leaving a trace of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import clock, errors
from app.database import audit
from app.database.models import Domain, DomainStatus, DomainStep, StepName

PENDING, RUNNING, DONE, FAILED = "pending", "running", "done", "failed"


@dataclass(frozen=True)
class NotYet:
    """A step that is not finished and nothing is wrong: look again after `seconds`."""

    seconds: float
    why: str


def lock(domain_id: UUID, db: Session) -> Domain:
    """The name, locked against every other step. Raises NotFound.

    The weaker of the two row locks: rows that only refer to the name may be written meanwhile.
    """
    domain = db.scalars(
        select(Domain)
        .where(Domain.id == domain_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if domain is None:
        raise errors.NotFound(resource="domain")
    return domain


BOUGHT = tuple(name for name in StepName if name is not StepName.OWNERSHIP)


def plan(domain: Domain, db: Session, names: Sequence[StepName] = BOUGHT) -> None:
    """The rows of the steps, waiting for their turn; a purchase's unless others are given."""
    for name in names:
        db.add(DomainStep(tenant_id=domain.tenant_id, domain_id=domain.id, name=name))
    db.flush()  # The first step is looked up again below its name.


def step(domain: Domain, name: StepName, db: Session) -> DomainStep:
    return db.scalars(
        select(DomainStep).where(DomainStep.domain_id == domain.id, DomainStep.name == name)
    ).one()


def is_done(domain: Domain, name: StepName, db: Session) -> bool:
    return step(domain, name, db).state == DONE


def begin(domain: Domain, name: StepName, db: Session) -> DomainStep:
    """Say that the step is being worked on; a step that was begun only counts another attempt."""
    row = step(domain, name, db)
    if row.state != FAILED:
        # What was shown as failed stays so until it has succeeded.
        row.state = RUNNING
    row.started_at = row.started_at or clock.now()
    row.attempts += 1
    return row


def finish(
    domain: Domain, name: StepName, db: Session, *, then: StepName | None = None, detail: str = ""
) -> None:
    """The step is done; `then` is the one whose turn it is."""
    now = clock.now()
    row = step(domain, name, db)
    row.state, row.finished_at, row.detail = DONE, now, detail[:500] or None
    row.started_at = row.started_at or now
    domain.failure = None
    if then is not None:
        following = step(domain, then, db)
        following.state, following.started_at = RUNNING, now


def wait(row: DomainStep, seconds: float, why: str) -> NotYet:
    """Write down what is waited for, and when it is looked at again."""
    row.detail = why[:500]
    return NotYet(seconds, why)


def give_up(domain: Domain, row: DomainStep, why: str) -> None:
    """Show the step as failed; whether the name has failed with it is the caller's decision."""
    row.state, row.detail, row.finished_at = FAILED, why[:500], clock.now()
    domain.failure = why[:500]


def move(
    domain: Domain,
    action: str,
    db: Session,
    *,
    status: DomainStatus | None = None,
    **changes: list[object],
) -> None:
    """Put one transition into the audit trail, and the name into its new status."""
    if status is not None and status != domain.status:
        changes["status"] = [str(domain.status), str(status)]
        domain.status = status
    # A step may change nothing but its own row; the name shows when it was last worked on.
    domain.updated_at = clock.now()
    audit.write(db, domain.tenant_id, action, "domain", domain.id, dict(changes))
