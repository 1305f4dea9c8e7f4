"""What an endpoint needs before it may begin: a transaction, and to know who asks.

The middleware has read the token; here it is believed or refused. `requires`, `public`, `operators`
and `nodes` give a route's keyword arguments: the check and its description in OpenAPI are one.
"""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator
from typing import Annotated, Any, Protocol
from uuid import UUID

from fastapi import Depends, Request, Security
from fastapi.concurrency import contextmanager_in_threadpool, run_in_threadpool
from fastapi.security import HTTPBearer
from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from app import clock, errors
from app.api import principals
from app.api.idempotency import Claim, claim_key
from app.api.lanes import provider_lane
from app.api.principals import RECENT, Needs, Principal, SignedIn, about
from app.database import audit
from app.database.models import APIKey, Operator, RefreshToken, Tenant, User
from app.database.session import ALL_TENANTS, scope, transaction
from app.rules import api_keys, plans
from app.rules.permissions import Permission
from app.rules.throttles import block_of
from app.services import kill_switch, restored_mode
from app.utils import monitoring, security

NOBODY = "nobody"
"""Scope of a session before it is known who asks: no tenant's rows are visible."""

bearer_scheme = HTTPBearer(auto_error=False, description="An access token or an API key.")
_ANONYMOUS_FACTOR = 5
"""One address may be an office: it gets five times what a tenant gets."""


async def get_db(request: Request) -> AsyncIterator[Session]:
    """The request's transaction. It is committed before the answer leaves.

    Dependencies that only look at what is known already are coroutines: each one that is not takes
    a thread, and a request that changes threads six times is mostly that.
    """
    async with (
        request.app.state.lanes.working.enter(),
        contextmanager_in_threadpool(transaction(tenant=NOBODY)) as db,
    ):
        request.state.db = db
        yield db


# With the default scope the answer would be sent before the commit, and a failed commit with it.
DB = Annotated[Session, Depends(get_db, scope="function")]


async def get_principal(
    request: Request, db: DB, _: Annotated[Any, Security(bearer_scheme)] = None
) -> Principal:
    """Who asks, suspended or not; counts the request against the tenant's limit."""
    principal = await run_in_threadpool(_authenticate, request, db)
    # Here and not in the thread, which has a context of its own.
    if principal.key is not None:
        acts(request, "api_key", principal.key.id)
    elif principal.user is not None:
        acts(request, "user", principal.user.id)
    monitoring.add_circumstances(tenant_id=str(principal.tenant.id))
    return principal


def _authenticate(request: Request, db: Session) -> Principal:
    claims: security.AccessClaims | None = request.state.claims
    bearer: str = request.state.bearer or ""
    if claims is not None:
        principal = _person(claims, db)
    elif api_keys.is_api_key(bearer):
        principal = _program(request, bearer, db)
    else:
        raise request.state.auth_error
    spend(request, f"tenant:{principal.tenant.id}", allowance(request, principal.tenant))
    return principal


def _person(claims: security.AccessClaims, db: Session) -> Principal:
    scope(db, claims.tenant_id)
    # The family must live, so that signing out is felt by the next request.
    family_lives = exists().where(
        RefreshToken.family_id == claims.family_id,
        RefreshToken.user_id == claims.user_id,
        RefreshToken.revoked_at.is_(None),
        RefreshToken.expires_at > clock.now(),
    )
    row = db.execute(
        select(User, Tenant)
        .join(Tenant, Tenant.id == User.tenant_id)
        .where(User.id == claims.user_id, User.is_active, family_lives)
    ).one_or_none()
    if row is None:
        raise errors.Unauthenticated
    return principals.of_person(row.User, row.Tenant, claims)


def _program(request: Request, key: str, db: Session) -> Principal:
    principals.require_kind(key, live=request.app.state.live_keys)
    # Which tenant it is, only the key can tell.
    scope(db, ALL_TENANTS)
    row = db.execute(
        select(APIKey, Tenant)
        .join(Tenant, Tenant.id == APIKey.tenant_id)
        .where(APIKey.token_hash == security.token_hash(key), APIKey.revoked_at.is_(None))
    ).one_or_none()
    if row is None:
        scope(db, NOBODY)
        raise errors.Unauthenticated
    scope(db, row.Tenant.id)
    found: APIKey = row.APIKey
    principal = principals.of_program(found, row.Tenant, clock.now())
    if principals.use_is_news(found, clock.now()):
        found.last_used_at = clock.now()
    return principal


Who = Annotated[Principal, Depends(get_principal)]


async def get_person(principal: Who) -> SignedIn:
    """A person; programs have no password, sessions or second factor of their own."""
    return principals.person_of(principal)


Person = Annotated[SignedIn, Depends(get_person)]


async def get_tenant_even_suspended(principal: Who) -> Tenant:
    """For the few operations by which a suspended tenant reads why, and pays."""
    return principal.tenant


async def get_current_tenant(principal: Who) -> Tenant:
    """The tenant that asks: authenticated, within its rate limit, not suspended."""
    kill_switch.require_off(principal.tenant)
    return principal.tenant


CurrentTenant = Annotated[Tenant, Depends(get_current_tenant)]
EvenSuspendedTenant = Annotated[Tenant, Depends(get_tenant_even_suspended)]


def acts(request: Request, kind: str, id_: UUID | None) -> None:
    """Put the deeds of this request down to somebody."""
    audit.acting_as(
        audit.Actor(kind=kind, id=id_, ip=address_of(request), request_id=request.state.request_id)
    )


# Rate limits ------------------------------------------------------------------------------------


class Limiter(Protocol):
    def spend(self, who: str, limits: list[tuple[int, int]]) -> Any: ...
    async def ask(self, who: str, limits: list[tuple[int, int]]) -> Any: ...


def limiter_of(request: Request) -> Limiter:
    limiter: Limiter = request.app.state.limiter
    return limiter


def address_of(request: Request) -> str:
    """The caller's address, as the server knows it; proxies are its affair."""
    return request.client.host if request.client is not None else "unknown"


async def anybody(request: Request) -> None:
    """For callers we do not know."""
    await run_in_threadpool(limit_by_address, request)
    acts(request, "user", None)


def limit_by_address(request: Request) -> None:
    per_minute, per_hour = request.app.state.rates
    spend(
        request,
        f"address:{block_of(address_of(request))}",
        [(per_minute * _ANONYMOUS_FACTOR, 60), (per_hour * _ANONYMOUS_FACTOR, 3600)],
    )


def allowance(request: Request, tenant: Tenant) -> list[tuple[int, int]]:
    """The settings say what the smallest plan may; dearer ones may proportionally more."""
    per_minute, per_hour = request.app.state.rates
    plan, least = plans.plan(tenant.subscription_tier), plans.STARTER
    return [
        (per_minute * plan.api_per_minute // least.api_per_minute, 60),
        (per_hour * plan.api_per_hour // least.api_per_hour, 3600),
    ]


def spend(request: Request, who: str, limits: list[tuple[int, int]]) -> None:
    """Count this request. Raises RateLimited."""
    stand(request, limiter_of(request).spend(who, limits))


def stand(request: Request, standing: Any) -> None:
    """Have the caller told how they stand. Raises RateLimited when there is no room left."""
    request.state.rate_limit = standing
    if not standing.allowed:
        raise errors.RateLimited(retry_after=standing.reset_seconds)


# Platform side ----------------------------------------------------------------------------------


async def get_operator(
    request: Request, db: DB, _: Annotated[Any, Security(bearer_scheme)] = None
) -> Operator:
    """A person who runs the platform, by the token of POST /admin/session; sees all tenants."""
    operator = await run_in_threadpool(_find_operator, request, db)
    acts(request, "operator", operator.id)
    return operator


CurrentOperator = Annotated[Operator, Depends(get_operator)]


def _find_operator(request: Request, db: Session) -> Operator:
    limit_by_address(request)
    if request.state.claims is not None:
        # A tenant's own token is known, and not enough.
        raise errors.Forbidden
    try:
        claims = security.read_operator_token(request.state.bearer or "")
    except errors.TokenExpired:
        raise
    except errors.Unauthenticated:
        raise errors.Unauthenticated("Open a session at POST /admin/session first.") from None
    operator = db.scalars(
        select(Operator).where(
            Operator.id == claims.operator_id,
            Operator.session_version == claims.session_version,
            Operator.revoked_at.is_(None),
        )
    ).one_or_none()
    if operator is None:
        raise errors.Unauthenticated("This session is over. Open a new one.")
    scope(db, ALL_TENANTS)
    request.state.authenticated_at = claims.authenticated_at
    return operator


async def _recent_operator(request: Request, _: CurrentOperator) -> None:
    if clock.now() - request.state.authenticated_at > RECENT:
        raise errors.ReauthenticationRequired(
            "This needs a second factor shown within 15 minutes: open a new session."
        )


def require_node(request: Request) -> None:
    """Raises Unauthenticated unless the bearer token is the one our relay nodes share."""
    token: str = request.state.bearer or ""
    if not hmac.compare_digest(token.encode(), request.app.state.mta_token.encode()):
        raise errors.Unauthenticated


# What a route says of itself --------------------------------------------------------------------


def requires(
    permission: Permission,
    *,
    audit_event: str | None = None,
    suspended_too: bool = False,
    idempotent: bool = False,
    waits: bool = False,
    person: bool = False,
    recent: bool = False,
    before_two_factor: bool = False,
) -> dict[str, Any]:
    """Keyword arguments of a route that needs `permission`, by role or by an API key's scope.

    `audit_event` is the action this leaves in the audit trail. `suspended_too` lets a suspended
    tenant in. With `idempotent` the route takes an Idempotency-Key; its router uses
    `IdempotentRoute`. With `waits` it waits for a provider, and only a few do so at once. `person`
    refuses API keys; `recent` wants credentials shown within `RECENT`; `before_two_factor` can be
    reached by somebody who must set up a second factor first.
    """
    needs = Needs(permission, suspended_too, person, recent, before_two_factor)

    async def check(principal: Who) -> None:
        needs.check(principal)

    checks = [Depends(check)]
    if idempotent:
        # First of all, so that no connection is held while the claim takes one.
        checks.insert(0, Depends(claim_key, scope="function"))
        checks.append(Depends(_answer_repeats))
    if waits:
        checks.insert(0, Depends(provider_lane, scope="function"))
        if permission not in _LOOKS:
            checks.append(Depends(_not_while_restored))
    return {"dependencies": checks, "openapi_extra": needs.described(audit_event)}


_LOOKS = frozenset({Permission.DOMAINS_READ, Permission.BILLING_READ})


def _not_while_restored(db: DB) -> None:
    """On a restored database nothing is changed at a provider before somebody has looked."""
    restored_mode.refuse(db)


async def _answer_repeats(claim: Annotated[Claim, Depends(claim_key, scope="function")]) -> None:
    """Only after the caller was recognised: an answer may hold secrets."""
    claim.settle()


def public(*, audit_event: str | None = None, waits: bool = False) -> dict[str, Any]:
    """Keyword arguments of a route for anybody."""
    lane = [Depends(provider_lane, scope="function")] if waits else []
    return {
        "dependencies": [*lane, Depends(anybody)],
        "openapi_extra": about("anonymous", None, audit_event),
    }


def operators(*, audit_event: str | None = None, recent: bool = False) -> dict[str, Any]:
    """Keyword arguments of a route for the platform's operators; `recent` as in `requires`."""
    return {
        "dependencies": [Depends(_recent_operator if recent else get_operator)],
        "openapi_extra": about("operator", "platform", audit_event),
    }


def nodes() -> dict[str, Any]:
    """Keyword arguments of a route for our relay nodes."""
    return {
        "dependencies": [Depends(require_node)],
        "openapi_extra": about("node", "mail-plane", None),
    }
