"""Jobs that make inboxes known to the relay and keep them in step with their plan."""

from __future__ import annotations

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
from app.tasks.jobs import task

BLOCK = 5_000


@task("provisioning.publish_inboxes")
def publish_inboxes(db: Session, tenant_id: UUID, provision_id: UUID) -> None:
    """Put a provision's inboxes into the directory; they are active once the relay says so."""
    provision = db.get(Provision, provision_id, with_for_update=True)
    if provision is None or provision.published_at is not None:
        return
    inboxes = db.scalars(
        select(Inbox)
        .where(Inbox.provision_id == provision_id, Inbox.status == InboxStatus.PENDING)
        .order_by(Inbox.id)
        .with_for_update()
    ).all()
    mail = ports.current().mail
    mail.publish_inboxes([DirectoryService.entry(inbox, status="active") for inbox in inboxes])
    mail.reload()
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


@task("provisioning.publish_inbox")
def publish_inbox(db: Session, tenant_id: UUID, inbox_id: UUID) -> None:  # noqa: ARG001
    """Tell the relay about one inbox that was paused, resumed, deleted or given a new password."""
    inbox = db.get(Inbox, inbox_id, with_for_update=True)
    if inbox is not None:
        DirectoryService.publish([inbox], ports.current().mail)


@task("provisioning.apply_plan_limits")
def apply_plan_limits(db: Session, tenant_id: UUID) -> None:
    """After a change of plan: the inboxes' limits follow, never above the warm-up's day."""
    tenant = db.get(Tenant, tenant_id, with_for_update=True)
    if tenant is None:
        return
    cap = plans.plan(tenant.subscription_tier).inbox_daily_cap
    inboxes = db.scalars(select(Inbox).where(Inbox.status != InboxStatus.DELETED)).all()
    for inbox in inboxes:
        inbox.daily_limit = warmup.daily_limit(inbox.warmup_stage, cap)
        inbox.monthly_limit = warmup.monthly_limit(cap)
    DirectoryService.publish(inboxes, ports.current().mail, sending=DirectoryService.open(tenant))


@task("provisioning.advance_warmup")
def advance_warmup(db: Session) -> None:
    """Once a day: one stage on for every active inbox that sent without trouble."""
    today = clock.now().date()
    for tenant in db.scalars(select(Tenant).where(~Tenant.is_suspended)).all():
        cap = plans.plan(tenant.subscription_tier).inbox_daily_cap
        inboxes = db.scalars(
            select(Inbox).where(
                Inbox.tenant_id == tenant.id,
                Inbox.status == InboxStatus.ACTIVE,
                Inbox.daily_limit < cap,
                Inbox.warmup_started_on < today,
                Inbox.sent_on == today - warmup.ONE_DAY,
            )
        ).all()
        for inbox in inboxes:
            inbox.warmup_stage += 1
            inbox.daily_limit = warmup.daily_limit(inbox.warmup_stage, cap)
        DirectoryService.publish(inboxes, ports.current().mail)
