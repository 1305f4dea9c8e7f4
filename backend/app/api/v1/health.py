"""How a tenant stands: its health, complaints, and what blocklists say."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter
from sqlalchemy import select

from app.api.cursors import Cursor, Limit, seal, unseal
from app.api.deps import DB, CurrentTenant, requires
from app.api.responses import Envelope, Page, ok, page
from app.api.schemas import health as s
from app.database.models import Complaint
from app.database.queries import pages, standings
from app.integrations import ports
from app.rules.permissions import Permission
from app.services.health_service import HealthService

router = APIRouter(prefix="/analytics", tags=["analytics"])

_PAST = 100
"""Ended listings in one answer."""


_READ = requires(Permission.ANALYTICS_READ)


@router.get("/health", response_model=Envelope[s.HealthOut], **_READ)
def tenant_health(tenant: CurrentTenant, db: DB) -> Any:
    """The health of all mail of this tenant, and what it follows from."""
    return ok(HealthService.of_tenant(tenant, db))


@router.get("/domains/{domain_id}/health", response_model=Envelope[s.HealthOut], **_READ)
def domain_health(domain_id: UUID, db: DB) -> Any:
    """The health of one domain, and what it follows from."""
    return ok(HealthService.of_domain(domain_id, db))


@router.get("/inboxes/{inbox_id}/health", response_model=Envelope[s.HealthOut], **_READ)
def inbox_health(inbox_id: UUID, db: DB) -> Any:
    """The health of one inbox, and what it follows from."""
    return ok(HealthService.of_inbox(inbox_id, db))


@router.get(
    "/complaints",
    response_model=Page[s.ComplaintOut],
    **requires(Permission.ANALYTICS_READ),
)
def list_complaints(db: DB, limit: Limit = 50, cursor: Cursor = None) -> Any:
    """Spam reports about this tenant's mail, the newest first; those that do not count say why."""
    rows, last = pages.page(
        db,
        select(Complaint),
        Complaint.id,
        after=unseal("complaints", cursor),
        limit=limit,
    )
    return page(rows, seal("complaints", last))


@router.get(
    "/blacklists",
    response_model=Envelope[s.BlacklistsOut],
    **requires(Permission.ANALYTICS_READ),
)
def blacklists(db: DB) -> Any:
    """What DNS blocklists say of this tenant's domains, and of the relay's addresses."""
    names = sorted({each.name for each in ports.current().platform.blocklists})
    return ok(
        {
            "lists": names,
            "domains": standings.of_all_domains(db, names),
            "addresses": [
                row for key, row in sorted(standings.of_addresses(db).items()) if key[1] in names
            ],
            "past": standings.past_listings(db, _PAST),
        }
    )
