"""What others say about a tenant's mail."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from sqlalchemy import select

from app.api.cursors import Cursor, Limit, seal, unseal
from app.api.deps import DB, requires
from app.api.responses import Page, page
from app.api.schemas import health as s
from app.database.models import Complaint
from app.database.queries import pages
from app.rules.permissions import Permission

router = APIRouter(prefix="/analytics", tags=["analytics"])


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
