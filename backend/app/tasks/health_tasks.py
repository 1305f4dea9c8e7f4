"""What follows from recorded signals, by the calendar."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import events
from app.database import outbox
from app.database.models import Tenant
from app.services import complaints
from app.services.abuse_service import AbuseService
from app.services.health_service import HealthService
from app.services.listing_service import ListingService
from app.services.usage_service import UsageService
from app.services.warmup_service import WarmupService
from app.tasks.jobs import Again, task


@task("health.check_abuse")
def check_abuse(db: Session) -> None:
    """Warn or stop tenants whose bounces and complaints are too many."""
    AbuseService.check(db)


@task("health.ask_blocklists")
def ask_blocklists(db: Session) -> Again | None:
    """Ask about a block of domains and addresses at a time; confirmed listings stop tenants."""
    if ListingService.look(db):
        return Again(0, "more domains may not have been asked about")
    return None


@task("health.plan_scores")
def plan_scores(db: Session) -> None:
    """A job of its own for each tenant that has inboxes; those of the suspended would pile up."""
    having = select(Tenant.id).where(Tenant.inboxes_count > 0, ~Tenant.is_suspended)
    for tenant_id in db.scalars(having):
        outbox.record(db, events.TenantScoresDue(tenant_id=tenant_id))


@task("health.score_inboxes")
def score_inboxes(db: Session, tenant_id: UUID) -> None:
    """Store the present health of every inbox of a tenant."""
    HealthService.refresh(tenant_id, db)


@task("health.look_at_usage")
def look_at_usage(db: Session) -> None:
    """Tell tenants that use nine tenths of a limit of their plan."""
    UsageService.look(db)


@task("health.plan_warmup")
def plan_warmup(db: Session) -> None:
    """Once a day: a job of its own for each tenant, so that one tenant's trouble stays its own."""
    WarmupService.forget(db)
    complaints.forget(db)
    ListingService.forget(db)
    for tenant_id in db.scalars(select(Tenant.id).where(~Tenant.is_suspended)):
        outbox.record(db, events.TenantWarmupDue(tenant_id=tenant_id))


@task("health.warm_up")
def warm_up(db: Session, tenant_id: UUID) -> Again | None:
    """Today's limit for every inbox of a tenant, a block of them at a time."""
    if WarmupService.step(tenant_id, db):
        return Again(0, "more inboxes may wait for today's limit")
    return None
