"""The switch that turns a tenant off everywhere, and the decisions behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app import clock, errors, events
from app.database import audit, outbox
from app.database.models import (
    Decision,
    DecisionAction,
    Dispute,
    NoticeKind,
    SuspensionReason,
    Tenant,
    new_id,
)
from app.rules import suspensions
from app.services import notices

WARN_AGAIN = timedelta(days=7)
"""How long one warning stands for what goes on meanwhile."""


@dataclass(frozen=True)
class Suspension:
    """What a tenant reads about being suspended."""

    reason: SuspensionReason
    since: datetime | None
    what_to_do: str
    note: str | None


def turn_on(
    tenant: Tenant,
    reason: SuspensionReason | str,
    db: Session,
    *,
    note: str | None = None,
    evidence: Mapping[str, Any] | None = None,
) -> Tenant:
    """Refuse the tenant everywhere. Repeating it changes nothing.

    The API refuses as soon as this is committed; the relay is told by the event. A suspension for
    open invoices gives way to one for another reason, because paying must not lift the other.
    `note` is for the tenant to read, `evidence` (figures and ids, as JSON) for an appeal. Raises
    Invalid for an unknown reason.
    """
    try:
        reason = SuspensionReason(reason)
    except ValueError:
        known = ", ".join(SuspensionReason)
        raise errors.Invalid(f"reason must be one of {known}.", reason=str(reason)) from None
    locked = _lock(tenant, db)
    before = locked.suspension_reason
    if locked.is_suspended and not suspensions.replaces(reason, before):
        return locked
    changes: dict[str, Any] = {"suspension_reason": [before and str(before), str(reason)]}
    if not locked.is_suspended:
        changes["is_suspended"] = [False, True]
        locked.is_suspended, locked.suspended_at = True, clock.now()
        outbox.record(db, events.TenantSuspended(tenant_id=locked.id))
    locked.suspension_reason = reason
    audit.write(db, locked.id, "tenant_suspended", "tenant", locked.id, changes)
    decide(locked, DecisionAction.SUSPEND, reason, db, note, evidence)
    since = locked.suspended_at
    if audit.actor().kind == "system" and reason in suspensions.ABOUT_MAIL:
        # Nobody decided this: a person sees soon whether the rule was right.
        notices.alert(
            db,
            "tenant_stopped",
            f"{locked.id} {since:%Y-%m-%d %H:%M}",
            f"{locked.company_name} was stopped for {reason}: {note}",
            tenant_id=locked.id,
        )
    notices.owe(
        db,
        locked.id,
        NoticeKind.SUSPENDED,
        f"{reason}:{since and since.isoformat()}",
        reason=str(reason),
        note=note,
    )
    return locked


def turn_off(
    tenant: Tenant,
    db: Session,
    *,
    note: str | None = None,
    evidence: Mapping[str, Any] | None = None,
    only_for: SuspensionReason | None = None,
    forgive: bool = True,
) -> Tenant:
    """Let the tenant back in; repeating it changes nothing.

    `only_for` leaves a suspension alone that stands for another reason. With `forgive` the
    disputes that stand are forgiven, else the next event about money would freeze it again.
    """
    locked = _lock(tenant, db)
    reason = locked.suspension_reason
    if not locked.is_suspended or reason is None or only_for not in {None, reason}:
        return locked
    if forgive and reason == SuspensionReason.PAYMENT_DISPUTED:
        db.execute(
            update(Dispute)
            .where(Dispute.tenant_id == locked.id, Dispute.forgiven_at.is_(None))
            .values(forgiven_at=clock.now())
        )
    since = locked.suspended_at
    locked.is_suspended, locked.suspension_reason, locked.suspended_at = False, None, None
    changes = {"is_suspended": [True, False], "suspension_reason": [str(reason), None]}
    audit.write(db, locked.id, "tenant_reinstated", "tenant", locked.id, changes)
    decide(locked, DecisionAction.REINSTATE, reason, db, note, evidence)
    outbox.record(db, events.TenantReinstated(tenant_id=locked.id))
    fact = f"{reason}:{since and since.isoformat()}"
    notices.owe(db, locked.id, NoticeKind.REINSTATED, fact, note=note)
    return locked


def warn(
    tenant: Tenant,
    reason: SuspensionReason,
    db: Session,
    *,
    note: str,
    evidence: Mapping[str, Any],
) -> bool:
    """Put down that the tenant comes near a stop for `reason`; whether that is news.

    The arguments are those of `turn_on`.
    """
    _lock(tenant, db)
    standing = db.scalar(
        select(Decision.id)
        .where(
            Decision.tenant_id == tenant.id,
            Decision.action == DecisionAction.WARN,
            Decision.reason == reason,
            Decision.inbox_id.is_(None),
            Decision.created_at > clock.now() - WARN_AGAIN,
        )
        .limit(1)
    )
    if standing is not None:
        return False
    audit.write(
        db, tenant.id, "tenant_warned", "tenant", tenant.id, {"reason": [None, str(reason)]}
    )
    decide(tenant, DecisionAction.WARN, reason, db, note, evidence)
    return True


def decide(
    tenant: Tenant,
    action: DecisionAction,
    reason: SuspensionReason,
    db: Session,
    note: str | None,
    evidence: Mapping[str, Any] | None,
    *,
    inbox_id: UUID | None = None,
) -> None:
    """Put a decision down for good: what was decided, by whom, by which rules and on what.

    Of a warning, and of an inbox that was paused, the tenant is written; `turn_on` writes itself.
    """
    who, id_ = audit.actor(), new_id()
    if action in {DecisionAction.WARN, DecisionAction.PAUSE} and note is not None:
        paused = int(action == DecisionAction.PAUSE)
        notices.owe(db, tenant.id, NoticeKind.WARNED, str(id_), note=note, paused=paused)
    db.add(
        Decision(
            id=id_,
            tenant_id=tenant.id,
            inbox_id=inbox_id,
            action=action,
            reason=reason,
            evidence=dict(evidence or {}),
            rule_version=suspensions.VERSION,
            note=note,
            actor_type=who.kind,
            actor_id=who.id,
        )
    )


def require_off(tenant: Tenant) -> None:
    """Raises TenantSuspended, which says why and since when."""
    if tenant.is_suspended:
        since = tenant.suspended_at
        raise errors.TenantSuspended(
            reason=str(tenant.suspension_reason),
            since=None if since is None else since.astimezone(UTC).isoformat(),
        )


def told(tenant: Tenant, note: str | None) -> Suspension | None:
    """What a suspended tenant is told; None for one that is not suspended.

    `note` is what the last decision to suspend says.
    """
    if not tenant.is_suspended or tenant.suspension_reason is None:
        return None
    reason = tenant.suspension_reason
    return Suspension(reason, tenant.suspended_at, suspensions.WHAT_TO_DO[reason], note)


def _lock(tenant: Tenant, db: Session) -> Tenant:
    return db.scalars(
        select(Tenant)
        .where(Tenant.id == tenant.id)
        # The weak lock: others may refer to the tenant meanwhile, as a row of theirs does.
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).one()
