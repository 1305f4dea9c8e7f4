"""Everything a company owns, to take away."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from app.api.deps import DB, EvenSuspendedTenant, requires
from app.api.downloads import file
from app.rules.permissions import Permission
from app.services.data_export_service import DataExportService

router = APIRouter(prefix="/auth", tags=["auth"])


@router.get(
    "/data-export",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/json": {"schema": {"type": "object"}}}}},
    **requires(
        Permission.DATA_EXPORT, audit_event="data_exported", suspended_too=True, recent=True
    ),
)
def data_export(tenant: EvenSuspendedTenant, db: DB) -> StreamingResponse:
    """All rows of your company as one JSON document; secrets are left out, also in encrypted form.

    It can be had while suspended, and wants a recent sign-in.
    """
    pieces = DataExportService.document(tenant, db)
    return file(pieces, f"inboxgrove-{tenant.id}.json", "application/json")
