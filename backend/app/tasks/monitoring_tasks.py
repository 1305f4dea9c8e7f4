"""The kill switch at the relay, and keeping the house in order."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import structlog
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app import clock, errors
from app.database import heads_file, throttles
from app.database.models import (
    IdempotencyRecord,
    Inbox,
    InboxStatus,
    Job,
    JobState,
    OutboxEvent,
    ScheduledRun,
    Tenant,
)
from app.database.queries import audit
from app.database.queries import webhooks as webhook_queries
from app.integrations import ports
from app.rules import webhooks
from app.services import directory_repair, mail_tokens, token_families
from app.services.invitation_service import InvitationService
from app.tasks.jobs import task
from app.utils import monitoring

KEEP = timedelta(days=7)
log = structlog.get_logger()


@task("monitoring.silence_tenant")
def silence_tenant(db: Session, tenant_id: UUID) -> None:
    """Have the relay refuse a suspended tenant; one that was reinstated meanwhile is left alone.

    It counts as done when every node holds the queued mail and has refused a mail of the tenant; a
    node that does not makes the job run again.
    """
    tenant = db.get(Tenant, tenant_id, with_for_update=True)
    if tenant is None or not tenant.is_suspended or tenant.suspended_at is None:
        return
    mail = ports.current().mail
    mail.kill_tenant(str(tenant_id), reason=str(tenant.suspension_reason))
    canary = db.scalar(
        select(Inbox.username)
        .where(Inbox.tenant_id == tenant_id, Inbox.status == InboxStatus.ACTIVE)
        .limit(1)
    )
    verdicts = mail.verify_killed(str(tenant_id), canary=canary)
    if not all(verdict.stopped for verdict in verdicts):
        raise errors.ProviderUnavailable(provider="KumoMTA", reason=f"not stopped: {verdicts}")
    monitoring.KILL_LATENCY.observe((clock.now() - tenant.suspended_at).total_seconds())


@task("monitoring.revive_tenant")
def revive_tenant(db: Session, tenant_id: UUID) -> None:
    tenant = db.get(Tenant, tenant_id, with_for_update=True)
    if tenant is not None and not tenant.is_suspended:
        ports.current().mail.revive_tenant(str(tenant_id))


@task("monitoring.bounce_queue")
def bounce_queue(db: Session, tenant_id: UUID) -> None:
    """Fail the queued mail of a tenant, unless it was let in again meanwhile."""
    tenant = db.get(Tenant, tenant_id, with_for_update=True)
    if tenant is not None and tenant.is_suspended:
        ports.current().mail.bounce_tenant(str(tenant_id), reason=str(tenant.suspension_reason))


@task("monitoring.reconcile_mail_plane")
def reconcile_mail_plane(db: Session) -> None:
    _compare(db, thorough=False)


@task("monitoring.compare_directory")
def compare_directory(db: Session) -> None:
    """The same, with every domain and every suppression, and logins that belong to nobody."""
    _compare(db, thorough=True)


def _compare(db: Session, *, thorough: bool) -> None:
    repairs = directory_repair.reconcile(db, ports.current().mail, thorough=thorough)
    if repairs.any:
        log.warning("mail plane had drifted", repairs=repairs)


@task("monitoring.keep_audit_heads")
def keep_audit_heads(db: Session) -> None:
    """Write the end of each audit chain where the database cannot reach: the log, and a file.

    Of the rows inside a chain none can be changed unseen; its end shows only against these.
    """
    heads = audit.heads(db)
    for head in heads:
        log.info("audit head", tenant_id=str(head.tenant_id), seq=head.seq, head=head.hash.hex())
    path = ports.current().platform.audit_heads_file
    if path is not None:
        heads_file.append(path, [(h.tenant_id, h.seq, h.hash) for h in heads], clock.now())


@task("monitoring.housekeeping")
def housekeeping(db: Session) -> None:
    """Forget what has served its time: finished jobs, answered requests, past periods."""
    before = clock.now() - KEEP
    db.execute(delete(Job).where(Job.state == JobState.DONE, Job.finished_at < before))
    unfinished = Job.__table__.select().where(Job.outbox_id == OutboxEvent.id).exists()
    db.execute(
        delete(OutboxEvent).where(OutboxEvent.routed_at < before, ~unfinished),
        execution_options={"synchronize_session": False},
    )
    db.execute(delete(IdempotencyRecord).where(IdempotencyRecord.expires_at < clock.now()))
    db.execute(delete(ScheduledRun).where(ScheduledRun.period < before))
    throttles.forget(db)
    InvitationService.forget(db)
    mail_tokens.forget(db)
    token_families.forget(db)
    webhook_queries.forget(db, clock.now() - webhooks.KEEP)
