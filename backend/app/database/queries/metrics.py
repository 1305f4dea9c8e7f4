"""The gauges that are read from the database when somebody looks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from itertools import product

from prometheus_client import Gauge
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app import clock
from app.database.models import (
    Backup,
    Domain,
    DomainPurchase,
    DomainStatus,
    Inbox,
    InboxStatus,
    Job,
    JobState,
    OutboxEvent,
    Plan,
    ProviderEvent,
    PurchaseState,
    Restoration,
    SubscriptionStatus,
    SuspensionReason,
    Tenant,
    TenantDay,
)
from app.database.queries import invariants, jobs, schedules
from app.utils import monitoring

_FATES = ("accepted", "delivered", "deferred", "bounced", "rejected", "complained")


def refresh(db: Session, periods: Mapping[str, timedelta]) -> None:
    """Set the gauges; expects a session that sees all tenants. `periods` of scheduled work."""
    _money(db)
    _jobs(db)
    _business(db)
    _safety(db)
    for scheduled in schedules.report(db, periods):
        monitoring.SCHEDULE_LAG.labels(schedule=scheduled.name).set(scheduled.lag_seconds)
    for name, ids in invariants.run(db).items():
        monitoring.VIOLATIONS.labels(name=name).set(len(ids))


def _money(db: Session) -> None:
    monitoring.WEBHOOKS_UNHANDLED.set(
        db.scalar(select(func.count()).where(ProviderEvent.handled_at.is_(None))) or 0
    )
    by_state = select(DomainPurchase.state, func.count()).group_by(DomainPurchase.state)
    _show(db, monitoring.ORDERS, by_state, [(state,) for state in PurchaseState], ("state",))


def _jobs(db: Session) -> None:
    now = clock.now()
    oldest = db.scalar(
        select(func.min(OutboxEvent.created_at)).where(OutboxEvent.routed_at.is_(None))
    )
    monitoring.OUTBOX_OLDEST.set(0 if oldest is None else max(0.0, (now - oldest).total_seconds()))
    by_state = select(Job.state, func.count()).group_by(Job.state)
    _show(db, monitoring.JOBS, by_state, [(state,) for state in JobState], ("state",))
    monitoring.JOBS_LATE.set(jobs.late_seconds(db))
    monitoring.KILLS_OPEN.set(jobs.oldest_kill_seconds(db))
    for task, finished in db.execute(
        select(Job.task, func.max(Job.finished_at))
        .where(Job.state == JobState.DONE)
        .group_by(Job.task)
    ):
        if finished is not None:
            monitoring.JOB_LAST_SUCCESS.labels(job=task).set(finished.timestamp())


def _safety(db: Session) -> None:
    now = clock.now()
    made = db.scalar(select(func.max(Backup.created_at)))
    made = made or db.scalar(select(func.min(Restoration.created_at)))
    monitoring.BACKUP_AGE.set(0 if made is None else max(0.0, (now - made).total_seconds()))
    newest = select(Restoration).order_by(Restoration.id.desc()).limit(1)
    life = db.scalars(newest).one_or_none()
    held = life is not None and life.released_at is None
    monitoring.RESTORED_HELD.set((now - life.created_at).total_seconds() if life and held else 0)


def _business(db: Session) -> None:
    plans = select(Tenant.subscription_tier, Tenant.subscription_status, func.count())
    _show(
        db,
        monitoring.SUBSCRIPTIONS,
        plans.group_by(Tenant.subscription_tier, Tenant.subscription_status),
        list(product(Plan, SubscriptionStatus)),
        ("plan", "status"),
    )
    stopped = select(Tenant.suspension_reason, func.count()).where(Tenant.is_suspended)
    _show(
        db,
        monitoring.SUSPENDED,
        stopped.group_by(Tenant.suspension_reason),
        [(reason,) for reason in SuspensionReason],
        ("reason",),
    )
    domains = select(Domain.status, func.count()).group_by(Domain.status)
    _show(db, monitoring.DOMAINS, domains, [(one,) for one in DomainStatus], ("status",))
    inboxes = select(Inbox.status, func.count()).group_by(Inbox.status)
    _show(db, monitoring.INBOXES, inboxes, [(one,) for one in InboxStatus], ("status",))
    today = db.execute(
        select(*(func.coalesce(func.sum(getattr(TenantDay, fate)), 0) for fate in _FATES)).where(
            TenantDay.day == clock.now().date()
        )
    ).one()
    for fate, count in zip(_FATES, today, strict=True):
        monitoring.MAIL_TODAY.labels(fate=fate).set(int(count))


def _show(
    db: Session,
    gauge: Gauge,
    counting: object,
    known: list[tuple[str, ...]],
    labels: tuple[str, ...],
) -> None:
    """Set one series for each of `known`: what has become none is 0, not what it was before."""
    counts = dict.fromkeys((tuple(map(str, values)) for values in known), 0)
    for *values, count in db.execute(counting):  # type: ignore[call-overload]
        key = tuple(map(str, values))
        if key in counts:
            counts[key] = count
    for key, count in counts.items():
        gauge.labels(**dict(zip(labels, key, strict=True))).set(count)
