"""What others say about a tenant's mail: complaints and blocklists."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from sqlalchemy import select

from app.api.cursors import Cursor, Limit, seal, unseal
from app.api.deps import DB, requires
from app.api.responses import Envelope, Page, ok, page
from app.api.schemas import health as s
from app.database.models import Complaint
from app.database.queries import pages, standings
from app.integrations import ports
from app.rules.permissions import Permission

router = APIRouter(prefix="/analytics", tags=["analytics"])

_PAST = 100
"""Ended listings in one answer."""


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
