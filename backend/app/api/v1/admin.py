"""For the people who run the platform; their tokens are made by the command line."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from sqlalchemy.orm import Session

from app import errors
from app.api.cursors import Cursor, Limit, seal, unseal
from app.api.deps import DB, operators
from app.api.responses import Envelope, Page, ok, page
from app.api.schemas import admin as s
from app.database.models import Job, JobState, Tenant
from app.database.queries import jobs as job_queries
from app.database.queries import pages, platform
from app.integrations import ports
from app.services.subscription_service import SubscriptionService

router = APIRouter(prefix="/admin", tags=["admin"])


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


@router.post(
    "/tenants/{tenant_id}/suspend",
    response_model=Envelope[s.TenantAdminOut],
    **operators(audit_event="tenant_suspended"),
)
def suspend(tenant_id: UUID, body: s.SuspendIn, db: DB) -> Any:
    """The kill switch. Refused by the API at once, by the relay within seconds."""
    return ok(SubscriptionService.suspend_tenant(_tenant(tenant_id, db), body.reason, db))


@router.post(
    "/tenants/{tenant_id}/reinstate",
    response_model=Envelope[s.TenantAdminOut],
    **operators(audit_event="tenant_reinstated"),
)
def reinstate(tenant_id: UUID, db: DB) -> Any:
    """Undo the kill switch."""
    return ok(SubscriptionService.reinstate_tenant(_tenant(tenant_id, db), db))


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


@router.post("/jobs/{job_id}/replay", response_model=Envelope[s.ReplayOut], **operators())
def replay_job(job_id: UUID, db: DB) -> Any:
    """Give a dead job a fresh set of tries."""
    replayed = job_queries.replay(db, job_id)
    if not replayed:
        raise errors.NotFound(resource="dead job")
    return ok({"replayed": replayed})


@router.get("/mta-nodes", response_model=Envelope[list[s.NodeOut]], **operators())
def mta_nodes() -> Any:
    """Every relay node, and whether it takes orders now."""
    return ok(ports.current().mail.nodes())


def _tenant(tenant_id: UUID, db: Session) -> Tenant:
    tenant = db.get(Tenant, tenant_id)
    if tenant is None:
        raise errors.NotFound(resource="tenant")
    return tenant
