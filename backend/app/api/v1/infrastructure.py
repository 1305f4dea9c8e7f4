"""The Magic Button, inboxes, credential files, suppressions."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from sqlalchemy.orm import Session

from app import clock, errors
from app.api.cursors import Cursor, Limit, seal, unseal
from app.api.deps import DB, CurrentTenant, requires
from app.api.downloads import csv_file
from app.api.idempotency import IdempotentRoute
from app.api.reads import Reads, listed, reads
from app.api.responses import Envelope, Page, ok, page
from app.api.schemas import infrastructure as s
from app.api.schemas.auth import DoneOut
from app.database.models import (
    Inbox,
    InboxStatus,
    Suppression,
)
from app.database.queries import accounts, lists, pages
from app.rules.permissions import Permission
from app.services.inbox_service import InboxService
from app.services.provisioning_service import ProvisioningService
from app.services.suppression_service import SuppressionService

router = APIRouter(prefix="/infrastructure", tags=["infrastructure"], route_class=IdempotentRoute)

_CSV: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/csv": {"schema": {"type": "string"}}}}
}
Text = Annotated[str | None, Query(max_length=320, description="A part of the address.")]


@router.post(
    "/provision",
    status_code=201,
    response_model=Envelope[s.ProvisionOut],
    **requires(Permission.INBOXES_WRITE, audit_event="inbox_provisioned", idempotent=True),
)
def provision(body: s.ProvisionIn, tenant: CurrentTenant, db: DB) -> Any:
    """The Magic Button: so many inboxes, or none. The passwords are in `csv_data`, this once."""
    return ok(
        ProvisioningService.provision_inboxes(
            tenant.id,
            body.domains,
            body.inbox_count,
            body.naming_convention,
            names=body.names,
            db=db,
        )
    )


@router.get(
    "/provisions/{provision_id}/csv",
    response_class=StreamingResponse,
    responses=_CSV,
    **requires(Permission.CREDENTIALS_EXPORT, audit_event="credentials_exported", recent=True),
)
def provision_csv(provision_id: UUID, tenant: CurrentTenant, db: DB) -> StreamingResponse:
    """The generic credential file of one provision."""
    lines = ProvisioningService.csv_lines(tenant.id, db, provision_id=provision_id)
    return csv_file(lines, f"inboxes-{provision_id}.csv")


@router.post(
    "/exports",
    response_class=StreamingResponse,
    responses=_CSV,
    **requires(Permission.CREDENTIALS_EXPORT, audit_event="credentials_exported", recent=True),
)
def export(body: s.ExportIn, tenant: CurrentTenant, db: DB) -> StreamingResponse:
    """A credential file as the named tool imports it. Our inboxes only send: IMAP stays empty."""
    lines = ProvisioningService.csv_lines(
        tenant.id, db, fmt=body.format, domain_id=body.domain_id, inbox_ids=body.inbox_ids
    )
    return csv_file(lines, f"inboxes-{body.format}.csv")


@router.get("/inboxes", response_model=Page[s.InboxOut], **reads(Permission.INBOXES_READ))
async def list_inboxes(
    reader: Reads,
    limit: Limit = 50,
    cursor: Cursor = None,
    domain_id: UUID | None = None,
    status: Annotated[InboxStatus | None, Query()] = None,
    q: Text = None,
) -> Any:
    """In the order of their making."""
    rows, last = await lists.inboxes(
        reader.reading,
        reader.tenant.id,
        today=clock.now().date(),
        domain_id=domain_id,
        status=status,
        text=q,
        after=unseal("inboxes", cursor),
        limit=limit,
    )
    return listed(rows, seal("inboxes", last))


@router.get(
    "/inboxes/{inbox_id}",
    response_model=Envelope[s.InboxOut],
    **requires(Permission.INBOXES_READ),
)
def get_inbox(inbox_id: UUID, db: DB) -> Any:
    """One inbox."""
    return ok(_inbox(inbox_id, db))


@router.patch(
    "/inboxes/{inbox_id}",
    response_model=Envelope[s.InboxOut],
    **requires(Permission.INBOXES_WRITE, audit_event="inbox_paused"),
)
def patch_inbox(inbox_id: UUID, body: s.InboxPatch, db: DB) -> Any:
    """Pause or resume."""
    return ok(InboxService.set_status(inbox_id, InboxStatus(body.status), db))


@router.delete(
    "/inboxes/{inbox_id}",
    response_model=Envelope[s.InboxOut],
    **requires(Permission.INBOXES_WRITE, audit_event="inbox_deleted"),
)
def delete_inbox(inbox_id: UUID, db: DB) -> Any:
    """Delete for good; its room in the plan is free again, its address is not."""
    return ok(InboxService.delete(inbox_id, db))


@router.post(
    "/inboxes/{inbox_id}/rotate-password",
    response_model=Envelope[s.PasswordOut],
    **requires(
        Permission.CREDENTIALS_EXPORT,
        audit_event="inbox_password_rotated",
        idempotent=True,
        recent=True,
    ),
)
def rotate_password(inbox_id: UUID, db: DB) -> Any:
    """A new password, shown this once."""
    inbox, password = InboxService.rotate_password(inbox_id, db)
    return ok({"id": inbox.id, "username": inbox.username, "password": password})


@router.post(
    "/inboxes/{inbox_id}/move",
    status_code=201,
    response_model=Envelope[s.MovedOut],
    **requires(Permission.INBOXES_WRITE, audit_event="inbox_moved", idempotent=True),
)
def move_inbox(inbox_id: UUID, body: s.InboxMove, db: DB) -> Any:
    """The same name at another domain of yours: a new address and password; the old one ends."""
    inbox, password = InboxService.move(inbox_id, body.domain_id, db)
    return ok(
        {
            "id": inbox.id,
            "username": inbox.username,
            "password": password,
            "status": inbox.status,
            "domain_id": inbox.domain_id,
            "moved_from": inbox_id,
        }
    )


@router.get(
    "/suppressions",
    response_model=Page[s.SuppressionOut],
    **requires(Permission.SUPPRESSIONS_READ),
)
def list_suppressions(db: DB, limit: Limit = 50, cursor: Cursor = None, q: Text = None) -> Any:
    """The newest first."""
    rows, last = pages.page(
        db,
        accounts.suppressions(text=q),
        Suppression.id,
        after=unseal("suppressions", cursor),
        limit=limit,
    )
    return page(rows, seal("suppressions", last))


@router.post(
    "/suppressions",
    status_code=201,
    response_model=Envelope[s.AddedOut],
    **requires(Permission.SUPPRESSIONS_WRITE, audit_event="suppressions_added", idempotent=True),
)
def add_suppressions(body: s.SuppressionsIn, tenant: CurrentTenant, db: DB) -> Any:
    """Addresses, or domains as `@example.com`, that no inbox of this tenant may mail."""
    return ok({"added": SuppressionService.add(tenant, body.targets, body.reason, db)})


@router.delete(
    "/suppressions/{suppression_id}",
    response_model=Envelope[DoneOut],
    **requires(Permission.SUPPRESSIONS_WRITE, audit_event="suppression_removed"),
)
def remove_suppression(suppression_id: UUID, tenant: CurrentTenant, db: DB) -> Any:
    """Allow mail to this target again."""
    SuppressionService.remove(tenant, suppression_id, db)
    return ok({"done": True})


def _inbox(inbox_id: UUID, db: Session) -> Inbox:
    inbox = db.get(Inbox, inbox_id)
    if inbox is None or inbox.status == InboxStatus.DELETED:
        raise errors.NotFound(resource="inbox")
    return inbox
