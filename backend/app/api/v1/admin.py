"""For the people who run the platform; the command line makes their tokens and second factors."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request

from app import errors
from app.api.cursors import Cursor, Limit, seal, unseal
from app.api.deps import DB, CurrentOperator, address_of, operators, public
from app.api.responses import Envelope, Page, ok, page
from app.api.schemas import admin as s
from app.api.schemas.auth import DoneOut
from app.database import throttles
from app.database.models import (
    AuditLog,
    Decision,
    DecisionAction,
    Job,
    JobState,
    OperatorAct,
    Tenant,
)
from app.database.queries import pages, platform
from app.services.operator_service import OperatorService
from app.utils import security

router = APIRouter(prefix="/admin", tags=["admin"])


@router.post(
    "/session",
    response_model=Envelope[s.OperatorSessionOut],
    **public(audit_event="operator_session_opened"),
)
def open_session(body: s.SessionIn, request: Request) -> Any:
    """Sign in with an operator's token and a one-time code, for an hour."""
    # The account is whom the token belongs to; nobody else can use its tries up.
    knocking = {
        "account": security.token_hash(body.token).hex(),
        "address": address_of(request),
    }
    throttles.spend("operator_login", **knocking)
    token = OperatorService.open_session(body.token, body.totp_code)
    throttles.refund("operator_login", **knocking)
    expires_in = int(security.OPERATOR_LIFETIME.total_seconds())
    return ok({"access_token": token, "expires_in": expires_in})


@router.delete(
    "/session",
    response_model=Envelope[DoneOut],
    **operators(audit_event="operator_sessions_ended"),
)
def end_sessions(operator: CurrentOperator, db: DB) -> Any:
    """Sign out everywhere: all of this operator's access tokens stop with the next request."""
    OperatorService.end_sessions(operator, db)
    return ok({"done": True})


@router.get("/tenants", response_model=Page[s.TenantAdminOut], **operators())
def list_tenants(
    db: DB,
    limit: Limit = 50,
    cursor: Cursor = None,
    suspended: bool | None = None,
    q: Annotated[str | None, Query(max_length=200)] = None,
) -> Any:
    """The newest first."""
    rows, last = pages.page(
        db,
        platform.tenants(suspended=suspended, text=q),
        Tenant.id,
        after=unseal("tenants", cursor),
        limit=limit,
    )
    return page(rows, seal("tenants", last))


@router.get("/tenants/{tenant_id}", response_model=Envelope[s.TenantDetailOut], **operators())
def show_tenant(tenant_id: UUID, db: DB) -> Any:
    """One tenant: its people, how much it has, the latest decisions and audit rows."""
    tenant = db.get(Tenant, tenant_id)
    if tenant is None:
        raise errors.NotFound(resource="tenant")
    decided, _ = pages.page(
        db, platform.decisions(tenant_id=tenant_id), Decision.id, after=None, limit=platform.LATEST
    )
    trail, _ = pages.page(
        db, platform.trail(tenant_id), AuditLog.id, after=None, limit=platform.LATEST
    )
    return ok(
        {
            "tenant": tenant,
            "users": platform.people(db, tenant_id),
            "counts": platform.counts(db, tenant_id),
            "decisions": decided,
            "audit": trail,
        }
    )


@router.post(
    "/tenants/{tenant_id}/suspend",
    response_model=Envelope[s.TenantAdminOut],
    **operators(audit_event="tenant_suspended", recent=True),
)
def suspend(tenant_id: UUID, body: s.SuspendIn, db: DB) -> Any:
    """The kill switch. Refused by the API at once, by the relay within seconds.

    For a tenant that is suspended already it changes nothing, unless that was for open invoices.
    """
    return ok(
        OperatorService.suspend(tenant_id, body.reason, db, note=body.note, evidence=body.evidence)
    )


@router.post(
    "/tenants/{tenant_id}/reinstate",
    response_model=Envelope[s.TenantAdminOut],
    **operators(audit_event="tenant_reinstated", recent=True),
)
def reinstate(tenant_id: UUID, db: DB, body: s.ReinstateIn | None = None) -> Any:
    """Undo the kill switch."""
    note = None if body is None else body.note
    return ok(OperatorService.reinstate(tenant_id, db, note=note))


@router.post(
    "/tenants/{tenant_id}/bounce-queue",
    response_model=Envelope[s.TenantAdminOut],
    **operators(audit_event="tenant_queue_bounced", recent=True),
)
def bounce_queue(tenant_id: UUID, db: DB) -> Any:
    """Fail all queued mail of a suspended tenant on every node. Nothing brings it back."""
    return ok(OperatorService.bounce_queue(tenant_id, db))


@router.get("/decisions", response_model=Page[s.DecisionOut], **operators())
def list_decisions(
    db: DB,
    limit: Limit = 50,
    cursor: Cursor = None,
    tenant_id: UUID | None = None,
    action: Annotated[DecisionAction | None, Query()] = None,
) -> Any:
    """Why tenants were cut off or let back in, by whom and by which rule; the newest first."""
    rows, last = pages.page(
        db,
        platform.decisions(tenant_id=tenant_id, action=action),
        Decision.id,
        after=unseal("decisions", cursor),
        limit=limit,
    )
    return page(rows, seal("decisions", last))


@router.get("/audit", response_model=Page[s.ActOut], **operators())
def list_acts(
    db: DB,
    limit: Limit = 50,
    cursor: Cursor = None,
    operator_id: UUID | None = None,
    action: Annotated[str | None, Query(max_length=60)] = None,
) -> Any:
    """What operators did, the newest first; what concerns a tenant is in its own trail, too."""
    rows, last = pages.page(
        db,
        platform.acts(operator_id=operator_id, action=action),
        OperatorAct.id,
        after=unseal("acts", cursor),
        limit=limit,
    )
    return page(rows, seal("acts", last))


@router.get("/jobs", response_model=Page[s.JobOut], **operators())
def list_jobs(
    db: DB,
    limit: Limit = 50,
    cursor: Cursor = None,
    state: Annotated[JobState | None, Query()] = None,
) -> Any:
    """Background jobs, the newest first; `state=dead` are those that were given up."""
    rows, last = pages.page(
        db, platform.jobs(state=state), Job.id, after=unseal("jobs", cursor), limit=limit
    )
    return page(rows, seal("jobs", last))


@router.post(
    "/jobs/{job_id}/replay",
    response_model=Envelope[s.ReplayOut],
    **operators(audit_event="job_replayed", recent=True),
)
def replay_job(job_id: UUID, db: DB) -> Any:
    """Give a dead job a fresh set of tries."""
    replayed = OperatorService.replay(job_id, db)
    if not replayed:
        raise errors.NotFound(resource="dead job")
    return ok({"replayed": replayed})
