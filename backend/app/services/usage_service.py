"""Who comes near a limit of their plan, told before something is refused."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import clock
from app.database.models import NoticeKind, Tenant, TenantDay
from app.rules import notifications, plans
from app.services import notices
from app.services.subscription_service import SubscriptionService


class UsageService:
    @staticmethod
    def look(db: Session) -> int:
        """Tell every tenant that uses 90 % of a limit, once for each limit and month, or day.

        Returns how many were told. Expects a session that sees all tenants. The suspended are not
        told: they cannot use what is left.
        """
        today = clock.now().date()
        rows = db.execute(
            select(Tenant, TenantDay.accepted)
            .outerjoin(TenantDay, (TenantDay.tenant_id == Tenant.id) & (TenantDay.day == today))
            .where(~Tenant.is_suspended)
            .where((Tenant.inboxes_count > 0) | (Tenant.domains_count > 0))
            .execution_options(yield_per=500)
        )
        told = 0
        for tenant, sent in rows:
            for what, used, limit, fact in _near(tenant, sent or 0, today):
                told += notices.owe(
                    db, tenant.id, NoticeKind.LIMIT_NEAR, fact, what=what, used=used, limit=limit
                )
        return told


def _near(tenant: Tenant, sent: int, today: date) -> Iterator[tuple[str, int, int, str]]:
    """What is nearly used up: its name, how much, of how much, and what it is told once for."""
    allowed = SubscriptionService.limits_of(tenant)
    month = today.strftime("%Y-%m")
    for what, used, limit in (
        ("inboxes", tenant.inboxes_count, allowed.inboxes),
        ("domains", tenant.domains_count, allowed.domains),
    ):
        if limit >= notifications.SMALLEST_COUNT and notifications.is_near(used, limit):
            yield what, used, limit, f"{what} {limit} {month}"
    daily = plans.plan(tenant.subscription_tier).daily_sends
    if notifications.is_near(sent, daily):
        yield "messages today", sent, daily, f"sends {daily} {today}"
