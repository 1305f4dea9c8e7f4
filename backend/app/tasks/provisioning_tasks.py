"""Jobs that make inboxes known to the relay and keep them in step with their plan."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app import clock
from app.database import audit
from app.database.models import (
    Inbox,
    InboxStatus,
    Provision,
    Tenant,
)
from app.integrations import ports
from app.rules import plans, warmup
from app.services.directory_service import DirectoryService
from app.tasks.jobs import Again, task

RESTORED_SECONDS = 1.0
"""Between two looks whether the relay takes mail again."""


@task("provisioning.publish_inboxes")
def publish_inboxes(db: Session, tenant_id: UUID, provision_id: UUID) -> Again | None:
    """Put a provision's inboxes into the directory; they are active once the relay says so."""
    provision = db.get(Provision, provision_id, with_for_update=True)
    if provision is None or provision.published_at is not None:
        return None
    inboxes = db.scalars(
        select(Inbox)
        .where(Inbox.provision_id == provision_id, Inbox.status == InboxStatus.PENDING)
        .order_by(Inbox.id)
        .with_for_update()
    ).all()
    mail = ports.current().mail
    mail.publish_inboxes([DirectoryService.entry(inbox, status="active") for inbox in inboxes])
    mail.reload()
    if not mail.is_whole():
        # Until the reconciler has put everything back the nodes defer all mail. Nobody is told
        # that an inbox is active before its first message would be taken.
        return Again(RESTORED_SECONDS, "The relay's directory is being restored.")
    now = clock.now()
    ids = [inbox.id for inbox in inboxes]
    db.execute(
        update(Inbox)
        .where(Inbox.provision_id == provision_id, Inbox.status == InboxStatus.PENDING)
        .values(status=InboxStatus.ACTIVE, updated_at=now)
        .execution_options(synchronize_session=False)
    )
    audit.write_many(
        db, tenant_id, "inbox_activated", "inbox", ids, {"status": ["pending", "active"]}
    )
    provision.published_at = now
    return None


@task("provisioning.publish_inbox")
def publish_inbox(db: Session, tenant_id: UUID, inbox_id: UUID) -> None:  # noqa: ARG001
    """Tell the relay about one inbox that was paused, resumed, deleted or given a new password.

    Its queued mail on every node waits, goes on, or fails, as the inbox does.
    """
    inbox = db.get(Inbox, inbox_id, with_for_update=True)
    if inbox is None:
        return
    mail = ports.current().mail
    DirectoryService.publish([inbox], mail)
    if inbox.status == InboxStatus.PAUSED:
        mail.hold_inbox(str(inbox.id))
    elif inbox.status == InboxStatus.ACTIVE:
        mail.release_inbox(str(inbox.id))
    elif inbox.status == InboxStatus.DELETED:
        mail.bounce_inbox(str(inbox.id))


@task("provisioning.apply_plan_limits")
def apply_plan_limits(db: Session, tenant_id: UUID) -> None:
    """After a change of plan: the inboxes' limits follow, never above the ramp's day."""
    tenant = db.get(Tenant, tenant_id, with_for_update=True)
    if tenant is None:
        return
    cap = plans.plan(tenant.subscription_tier).inbox_daily_cap
    inboxes = db.scalars(select(Inbox).where(Inbox.status != InboxStatus.DELETED)).all()
    before = [_limits(inbox) for inbox in inboxes]
    for inbox in inboxes:
        # A greater plan gives no leap: the ramp goes on from where it is, day by day.
        inbox.daily_limit = min(inbox.daily_limit, cap)
        inbox.warmup_stage = warmup.stage(inbox.daily_limit, cap)
        inbox.monthly_limit = warmup.monthly_limit(cap)
    _tell(db, "inbox_limits_changed", tenant_id, inboxes, before)
    DirectoryService.publish(inboxes, ports.current().mail, sending=DirectoryService.open(tenant))


_Limits = tuple[int, int, int]
_TOLD: tuple[str, ...] = ("warmup_stage", "daily_limit", "monthly_limit")


def _limits(inbox: Inbox) -> _Limits:
    return inbox.warmup_stage, inbox.daily_limit, inbox.monthly_limit


def _tell(
    db: Session, action: str, tenant_id: UUID, inboxes: Sequence[Inbox], before: list[_Limits]
) -> None:
    """Put the change down for each inbox that has one; those with the same one are one deed."""
    alike: dict[tuple[_Limits, _Limits], list[UUID]] = {}
    for inbox, old in zip(inboxes, before, strict=True):
        if _limits(inbox) != old:
            alike.setdefault((old, _limits(inbox)), []).append(inbox.id)
    for (old, new), ids in alike.items():
        changes = {
            name: [was, now] for name, was, now in zip(_TOLD, old, new, strict=True) if was != now
        }
        audit.write_many(db, tenant_id, action, "inbox", ids, changes)
