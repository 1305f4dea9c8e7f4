"""For relay nodes: what their directory in Redis does not hold. Never on the public listener."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated, Any, TypeVar
from uuid import UUID

import psycopg
from fastapi import APIRouter, Path, Request
from fastapi.responses import Response
from psycopg_pool import PoolTimeout

from app.api.deps import nodes
from app.api.responses import Envelope, ok
from app.api.schemas import webhooks as s
from app.database.queries import mail_plane
from app.errors import NotFound, Unavailable
from app.services import directory_snapshot
from app.services.directory_service import DirectoryService
from app.services.dkim_keys import key_context
from app.utils import security

router = APIRouter(prefix="/internal/mta/v1", tags=["internal"])
Name = Annotated[str, Path(max_length=320)]
T = TypeVar("T")


@router.get("/inboxes/{username}", response_model=Envelope[s.DirectoryEntryOut], **nodes())
async def inbox(username: Name, request: Request) -> Any:
    """One entry of the directory, as Redis would have it."""
    found = await _ask(mail_plane.inbox(request.app.state.ingest_pool, username.lower()))
    if found is None:
        raise NotFound(resource="inbox")
    row, tenant = found
    status = None if DirectoryService.open(tenant) else "paused"
    entry = DirectoryService.entry(row, status=status)
    return ok(entry.fields())


@router.get("/domains/{domain}/dkim", response_model=Envelope[s.DKIMOut], **nodes())
async def dkim(domain: Name, request: Request) -> Any:
    """The key that mail of this domain is signed with."""
    key = await _ask(mail_plane.signing_key(request.app.state.ingest_pool, domain.lower()))
    if key is None:
        raise NotFound(resource="signing key")
    pem = security.decrypt(key.sealed, key_context(key.id)).decode()
    return ok({"domain": key.domain, "selector": key.selector, "private_key": pem})


@router.get(
    "/snapshot",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}, 304: {"description": "Nothing changed."}},
    **nodes(),
)
async def whole(request: Request) -> Response:
    """Everything that a node needs to let inboxes in while nobody else answers."""
    etag, text = await _ask(directory_snapshot.text(request.app.state.ingest_pool))
    quoted = f'"{etag}"'
    if request.headers.get("if-none-match") == quoted:
        return Response(status_code=304, headers={"ETag": quoted})
    return Response(text, media_type="text/plain; charset=utf-8", headers={"ETag": quoted})


@router.get("/owners/{inbox_id}", response_model=Envelope[s.OwnerOut], **nodes())
async def owner(inbox_id: UUID, request: Request) -> Any:
    """Whose mail a report is about; deleted inboxes are known too."""
    tenant_id = await _ask(mail_plane.owner(request.app.state.ingest_pool, inbox_id))
    if tenant_id is None:
        raise NotFound(resource="inbox")
    return ok({"inbox": str(inbox_id), "tenant": str(tenant_id)})


@router.get("/kills", response_model=Envelope[s.KillsOut], **nodes())
async def kills(request: Request) -> Any:
    """Who must not send: suspended tenants and paused inboxes."""
    tenants, inboxes = await _ask(mail_plane.kills(request.app.state.ingest_pool))
    return ok({"tenants": tenants, "inboxes": inboxes})


async def _ask(question: Awaitable[T]) -> T:
    try:
        return await question
    except (psycopg.OperationalError, PoolTimeout) as error:
        raise Unavailable from error
