"""Names: find, buy, watch them become ready."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated, Any, Literal
from uuid import UUID

import anyio
from fastapi import APIRouter, Query, Response
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import select
from sqlalchemy.orm import Session
from sse_starlette import EventSourceResponse, ServerSentEvent

from app import errors
from app.api.cursors import Cursor, Limit, seal, unseal
from app.api.deps import DB, CurrentTenant, requires
from app.api.idempotency import IdempotentRoute
from app.api.reads import Reads, listed, reads
from app.api.responses import Envelope, Page, ok
from app.api.schemas import domains as s
from app.database.models import Domain, DomainPurchase, DomainStatus, PurchaseKind
from app.database.queries import accounts, lists
from app.database.session import transaction
from app.rules import dns_export
from app.rules.permissions import Permission
from app.services import domain_drift, domain_life, domain_setup, registrant_service
from app.services.domain_service import DomainService

router = APIRouter(prefix="/domains", tags=["domains"], route_class=IdempotentRoute)

_POLL_SECONDS = 1.0
_LONGEST_WATCH = 900.0
"""Seconds an event stream lives; a browser opens the next one by itself."""

_SETTLED = frozenset(
    {
        DomainStatus.ACTIVE,
        DomainStatus.FAILED,
        DomainStatus.EXPIRED,
        DomainStatus.SUSPENDED,
        DomainStatus.DELETED,
    }
)


@router.post(
    "/search",
    response_model=Envelope[list[s.SearchOut]],
    **requires(Permission.DOMAINS_READ, waits=True),
)
def search(body: s.SearchIn) -> Any:
    """Which names can be bought, and for how much."""
    return ok(DomainService.search_domain_availability(body.query, body.tlds))


@router.post(
    "/purchase",
    status_code=202,
    response_model=Envelope[s.PurchaseOut],
    **requires(
        Permission.DOMAINS_BUY,
        audit_event="domain_purchase_requested",
        idempotent=True,
        waits=True,
    ),
)
def purchase(body: s.PurchaseIn, tenant: CurrentTenant, db: DB) -> Any:
    """Buy the name whose payment was confirmed; the work goes on after this answer.

    Asking again for the same purchase answers with the same domain.
    """
    bought = DomainService.request_purchase(tenant, _purchase(body, db), db)
    return ok({"domain": bought})


@router.get("", response_model=Page[s.DomainOut], **reads(Permission.DOMAINS_READ))
async def list_domains(
    reader: Reads,
    limit: Limit = 50,
    cursor: Cursor = None,
    status: Annotated[DomainStatus | None, Query()] = None,
) -> Any:
    """The newest first."""
    rows, last = await lists.domains(
        reader.reading,
        reader.tenant.id,
        status=status,
        after=unseal("domains", cursor),
        limit=limit,
    )
    return listed(rows, seal("domains", last))


@router.get(
    "/registrant",
    response_model=Envelope[s.RegistrantOut],
    **requires(Permission.DOMAINS_BUY),
)
def get_registrant(tenant: CurrentTenant, db: DB) -> Any:
    """The contact your names are registered for; null when the platform stands in."""
    contact = registrant_service.contact_of(tenant.id, db)
    return ok({"registrant": None if contact is None else asdict(contact)})


@router.put(
    "/registrant",
    response_model=Envelope[s.RegistrantOut],
    **requires(Permission.DOMAINS_BUY, audit_event="registrant_changed"),
)
def put_registrant(body: s.Registrant, tenant: CurrentTenant, db: DB) -> Any:
    """Register names for this contact: those to be bought, and those there are."""
    contact = registrant_service.save(tenant, body.model_dump(), db)
    return ok({"registrant": asdict(contact)})


@router.get(
    "/{domain_id}",
    response_model=Envelope[s.DomainWithSteps],
    **requires(Permission.DOMAINS_READ),
)
def get_domain(domain_id: UUID, db: DB) -> Any:
    """One name, and how far its set-up is."""
    return ok(_with_steps(_domain(domain_id, db), db))


@router.get(
    "/{domain_id}/dns",
    response_model=Envelope[s.DNSOut],
    responses={
        200: {
            "content": {
                "text/dns": {"schema": {"type": "string"}},
                "text/plain": {"schema": {"type": "string"}},
            }
        }
    },
    **requires(Permission.DOMAINS_READ, waits=True),
)
def dns(
    domain_id: UUID,
    db: DB,
    format: Annotated[Literal["json", "bind", "terraform"], Query()] = "json",  # noqa: A002  # The API's name.
) -> Any:
    """Wanted against seen, record by record, asked now; or a zone file, or Terraform resources."""
    domain = _domain(domain_id, db)
    if format == "bind":
        return Response(
            DomainService.zone_file(domain),
            media_type="text/dns",
            headers={"Content-Disposition": f'attachment; filename="{domain.domain_name}.zone"'},
        )
    if format == "terraform":
        return Response(
            dns_export.terraform(domain.domain_name, domain_setup.planned(domain)),
            media_type="text/plain",
            headers={"Content-Disposition": f'attachment; filename="{domain.domain_name}.tf"'},
        )
    verdicts = DomainService.dns_report(domain)
    return ok(
        {
            "domain_name": domain.domain_name,
            "records": [{**vars(v.record), **vars(v), "seen": list(v.seen)} for v in verdicts],
            "all_ok": bool(verdicts) and all(v.ok for v in verdicts),
        }
    )


@router.patch(
    "/{domain_id}",
    response_model=Envelope[s.DomainOut],
    **requires(Permission.DOMAINS_WRITE, audit_event="domain_changed"),
)
def change(domain_id: UUID, body: s.DomainPatch, db: DB) -> Any:
    """Keep the name at the end of its term or let it go; choose its DMARC policy."""
    domain = _domain(domain_id, db)
    if body.auto_renew is not None:
        domain_life.set_auto_renew(domain, body.auto_renew, db)
    if body.dmarc_policy is not None:
        domain_drift.set_dmarc_policy(domain, body.dmarc_policy, db)
    return ok(domain)


@router.post(
    "/{domain_id}/verify",
    status_code=202,
    response_model=Envelope[s.DomainWithSteps],
    **requires(Permission.DOMAINS_WRITE, audit_event="domain_verification_requested"),
)
def verify(domain_id: UUID, db: DB) -> Any:
    """Look at the records again now, instead of waiting for the next round."""
    domain = _domain(domain_id, db)
    DomainService.look_again(domain, db)
    return ok(_with_steps(domain, db))


@router.get(
    "/{domain_id}/events",
    response_class=EventSourceResponse,
    responses={200: {"content": {"text/event-stream": {"schema": s.STREAM}}}},
    **requires(Permission.DOMAINS_READ),
)
def events(domain_id: UUID, tenant: CurrentTenant, db: DB) -> EventSourceResponse:
    """Server-sent events: `steps` whenever something changed, `done` when nothing more will."""
    _domain(domain_id, db)
    return EventSourceResponse(_watch(tenant.id, domain_id), ping=15)


async def _watch(tenant_id: UUID, domain_id: UUID) -> AsyncIterator[ServerSentEvent]:
    told = None
    with anyio.move_on_after(_LONGEST_WATCH):
        while True:
            state = await run_in_threadpool(_state, tenant_id, domain_id)
            text = state.model_dump_json()
            if text != told:
                told = text
                yield ServerSentEvent(text, event="steps")
            if state.status in _SETTLED:
                yield ServerSentEvent(text, event="done")
                return
            await anyio.sleep(_POLL_SECONDS)


def _state(tenant_id: UUID, domain_id: UUID) -> s.StepsEvent:
    # A short transaction each time: a stream must not hold a connection for minutes.
    with transaction(tenant=tenant_id) as db:
        domain = _domain(domain_id, db)
        return s.StepsEvent(
            status=domain.status,
            failure=domain.failure,
            steps=[s.StepOut.model_validate(step) for step in accounts.steps(db, domain_id)],
        )


def _domain(domain_id: UUID, db: Session) -> Domain:
    domain = db.get(Domain, domain_id)
    if domain is None:
        raise errors.NotFound(resource="domain")
    return domain


def _purchase(body: s.PurchaseIn, db: Session) -> DomainPurchase:
    wanted = select(DomainPurchase).where(DomainPurchase.kind == PurchaseKind.REGISTRATION)
    if body.purchase_id is not None:
        wanted = wanted.where(DomainPurchase.id == body.purchase_id)
    else:
        wanted = wanted.where(DomainPurchase.stripe_payment_intent_id == body.payment_intent_id)
    found = db.scalars(wanted).one_or_none()
    if found is None:
        raise errors.NotFound(resource="purchase")
    return found


def _with_steps(domain: Domain, db: Session) -> dict[str, Any]:
    fields = {name: getattr(domain, name) for name in s.DomainOut.model_fields}
    return {**fields, "steps": accounts.steps(db, domain.id)}
