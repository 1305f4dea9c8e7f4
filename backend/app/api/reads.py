"""Reads on the event loop, for what people and machines ask again and again.

Callers, limits and refusals are those of api/deps.py. What differs is the way: one transaction in
plain SQL that can only read, and no thread, which is most of what a small answer costs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import Depends, Request, Security
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from sqlalchemy import update

from app import clock, errors
from app.api import principals
from app.api.deps import allowance, bearer_scheme, limiter_of, stand
from app.api.principals import Needs, Principal
from app.api.responses import page
from app.database.models import APIKey, Tenant
from app.database.queries import callers
from app.database.reading import Reading, reading
from app.database.session import ALL_TENANTS, transaction
from app.rules import api_keys
from app.rules.permissions import Permission
from app.utils import monitoring, security


@dataclass(frozen=True)
class Reader:
    """Who asks, and a transaction that sees their tenant's rows."""

    principal: Principal
    reading: Reading

    @property
    def tenant(self) -> Tenant:
        """As it is now: detached, to be read."""
        return self.principal.tenant


async def get_reader(
    request: Request, _: Annotated[Any, Security(bearer_scheme)] = None
) -> AsyncIterator[Reader]:
    """Who asks, suspended or not; counts the request against the tenant's limit."""
    claims: security.AccessClaims | None = request.state.claims
    key: str = request.state.bearer or ""
    if claims is not None:
        seen: UUID | str = claims.tenant_id
    elif api_keys.is_api_key(key):
        principals.require_kind(key, live=request.app.state.live_keys)
        # Which tenant it is, only the key can tell.
        seen = ALL_TENANTS
    else:
        raise request.state.auth_error
    async with reading(request.app.state.reads, seen) as asked:
        principal = await (_person(claims, asked) if claims else _program(key, asked))
        who, limits = f"tenant:{principal.tenant.id}", allowance(request, principal.tenant)
        stand(request, await limiter_of(request).ask(who, limits))
        monitoring.add_circumstances(tenant_id=str(principal.tenant.id))
        yield Reader(principal, asked)


async def _person(claims: security.AccessClaims, asked: Reading) -> Principal:
    found = await callers.person(asked, claims, clock.now())
    if found is None:
        raise errors.Unauthenticated
    return principals.of_person(*found, claims)


async def _program(key: str, asked: Reading) -> Principal:
    found = await callers.program(asked, security.token_hash(key))
    if found is None:
        raise errors.Unauthenticated
    principal = principals.of_program(*found, clock.now())
    await asked.see(principal.tenant.id)
    if principals.use_is_news(found[0], clock.now()):
        await run_in_threadpool(_note_use, found[0])
    return principal


def _note_use(key: APIKey) -> None:
    with transaction(tenant=key.tenant_id) as db:
        db.execute(update(APIKey).where(APIKey.id == key.id).values(last_used_at=clock.now()))


Reads = Annotated[Reader, Depends(get_reader, scope="function")]


def reads(
    permission: Permission, *, suspended_too: bool = False, before_two_factor: bool = False
) -> dict[str, Any]:
    """Keyword arguments of a route that takes `Reads`; as `deps.requires`."""
    needs = Needs(permission, suspended_too=suspended_too, before_two_factor=before_two_factor)

    async def check(reader: Reads) -> None:
        needs.check(reader.principal)

    return {"dependencies": [Depends(check)], "openapi_extra": needs.described()}


def listed(rows: Sequence[Any], next_cursor: str | None) -> Response:
    """One page of a list whose query gave it the shape of its schema."""
    body = orjson.dumps(page(rows, next_cursor), option=orjson.OPT_UTC_Z)
    return Response(body, media_type="application/json")
