"""Figures to look at."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from app import clock, errors
from app.api.deps import DB, CurrentTenant, requires
from app.api.downloads import csv_file
from app.api.responses import Envelope, ok
from app.api.schemas import analytics as s
from app.api.schemas.base import Day
from app.api.v1.plans import limits_out
from app.database.models import Inbox
from app.database.queries import analytics as queries
from app.rules import exports, plans
from app.rules.permissions import Permission
from app.rules.records import KINDS
from app.services.health_service import HealthService
from app.services.subscription_service import SubscriptionService

router = APIRouter(prefix="/analytics", tags=["analytics"])

_LONGEST = 366
"""Days in one report at most."""

_READ = requires(Permission.ANALYTICS_READ)
_CSV: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/csv": {"schema": {"type": "string"}}}}
}
_RATES = ("delivery_rate", "bounce_rate", "complaint_rate")
Format = Annotated[Literal["json", "csv"], Query()]
From = Annotated[Day | None, Query(alias="from", description="First day (UTC).")]
To = Annotated[Day | None, Query(description="Last day (UTC), included.")]


@router.get("/overview", response_model=Envelope[s.OverviewOut], **_READ)
def overview(tenant: CurrentTenant, db: DB) -> Any:
    """The state of things on one screen."""
    today = clock.now().date()
    domains, inboxes = queries.by_status(db)
    day, week, month = queries.recent(
        db, today, today, today - timedelta(days=6), today - timedelta(days=29)
    )
    return ok(
        {
            "domains": domains,
            "inboxes": inboxes,
            "health_score": HealthService.of_tenant(tenant, db).score,
            "today": day,
            "last_7_days": week,
            "last_30_days": month,
        }
    )


@router.get("/usage", response_model=Envelope[s.UsageReportOut], **_READ)
def usage(tenant: CurrentTenant, db: DB) -> Any:
    """How much of the plan is used."""
    today = clock.now().date()
    plan = plans.plan(tenant.subscription_tier)
    day, month = queries.recent(db, today, today, today.replace(day=1))
    return ok(
        {
            "inboxes": tenant.inboxes_count,
            "domains": tenant.domains_count,
            "sends_today": day.accepted,
            "sends_this_month": month.accepted,
            "limits": limits_out(plan, SubscriptionService.limits_of(tenant)),
        }
    )


@router.get(
    "/deliverability", response_model=Envelope[s.DeliverabilityOut], responses=_CSV, **_READ
)
def deliverability(
    db: DB,
    from_day: From = None,
    to: To = None,
    group_by: Annotated[Literal["day", "domain", "inbox", "provider"], Query()] = "day",
    format: Format = "json",  # noqa: A002  # The API's name.
) -> Any:
    """What became of the mail, by day, domain, inbox or receivers; 30 days by default.

    Days are those on which things happened, not those on which the mail was accepted. The answer
    holds the 500 busiest groups; the file of `format=csv` holds all of them.
    """
    since, until = _period(from_day, to)
    if format == "csv":
        groups = queries.grouped(db, since, until, group_by, at_most=None)
        return _file(group_by, groups, f"deliverability-{group_by}-{since}-{until}.csv")
    return ok(
        {
            "from_day": since,
            "to_day": until,
            "group_by": group_by,
            "totals": queries.totals(db, since, until),
            "groups": queries.grouped(db, since, until, group_by),
        }
    )


@router.get(
    "/inboxes/{inbox_id}", response_model=Envelope[s.InboxReportOut], responses=_CSV, **_READ
)
def inbox_report(
    inbox_id: UUID,
    db: DB,
    from_day: From = None,
    to: To = None,
    format: Format = "json",  # noqa: A002  # The API's name.
) -> Any:
    """One inbox, day by day; as a file with `format=csv`."""
    inbox = db.get(Inbox, inbox_id)
    if inbox is None:
        raise errors.NotFound(resource="inbox")
    since, until = _period(from_day, to)
    days = queries.of_inbox(db, since, until, inbox_id)
    if format == "csv":
        return _file("day", days, f"{inbox.full_email}-{since}-{until}.csv")
    totals = queries.totals(db, since, until, inbox_id=inbox_id)
    return ok({"inbox": inbox, "totals": totals, "days": days})


def _file(by: str, groups: list[queries.Group], name: str) -> StreamingResponse:
    columns = (*KINDS, *_RATES)
    rows = ([group.key, *(getattr(group, each) for each in columns)] for group in groups)
    return csv_file(exports.table((by, *columns), rows), name)


def _period(since: date | None, until: date | None) -> tuple[date, date]:
    until = until or clock.now().date()
    since = since or until - timedelta(days=29)
    if not timedelta(0) <= until - since < timedelta(days=_LONGEST):
        raise errors.Invalid(f"A period begins before it ends and has at most {_LONGEST} days.")
    return since, until
