"""The HTTP application: `uvicorn app.main:app`."""

from __future__ import annotations

import gc
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.middleware import Middleware

from app import wiring
from app.api import docs, internal, pages, probes, webhooks, webhooks_kumomta, well_known
from app.api.lanes import Lanes
from app.api.responses import ERRORS
from app.api.v1 import (
    admin,
    analytics,
    api_keys,
    audit_log,
    auth,
    billing,
    data_export,
    decisions,
    dkim,
    domain_connections,
    domain_leaving,
    domain_renewals,
    domains,
    health,
    infrastructure,
    nodes,
    notifications,
    passwords,
    team,
    two_factor,
    warmup,
    webhook_endpoints,
)
from app.config import Settings
from app.database import migrations, reading
from app.database.session import engine
from app.integrations import ports
from app.middleware import error_handler
from app.middleware.auth import AuthMiddleware
from app.middleware.doors import DoorsMiddleware
from app.middleware.error_handler import ErrorMiddleware
from app.middleware.headers import AllowListCORS, SecurityHeadersMiddleware
from app.middleware.intake import IntakeMiddleware
from app.middleware.rate_limit import RateLimiter, RateLimitMiddleware
from app.middleware.request_id import RequestIDMiddleware
from app.tasks import schedule

VERSION = "0.1.0"
_TURN_SECONDS = 0.0005
"""How long a thread may compute while others wait for the interpreter.

The event loop is one of them, and has a turn for each step of each request that it serves: with
Python's own five milliseconds a few busy threads hold up everybody.
"""

_READERS = 8
"""Connections of a process for reads on the event loop, beside session.POOL_SIZE."""

_EXPOSED = (
    "X-Request-ID",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "RateLimit-Policy",
    "RateLimit",
    "Retry-After",
    "Idempotency-Replayed",
)


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application for `settings`, by default those of the environment."""
    settings = wiring.boot(settings, process="api")
    app = FastAPI(
        title="InboxGrove",
        version=VERSION,
        description="E-mail sending infrastructure: domains, DNS, inboxes, billing.",
        middleware=_middleware(settings),
        lifespan=_until_the_end,
        docs_url=None,
        redoc_url=None,
        responses=ERRORS,
        generate_unique_id_function=lambda route: (
            f"{route.tags[0]}_{route.name}" if route.tags else route.name
        ),
    )
    _remember(app, settings)
    error_handler.install(app)
    app.include_router(_v1())
    app.include_router(webhooks.router)
    app.include_router(webhooks_kumomta.router)
    app.include_router(internal.router)
    app.include_router(pages.router)
    app.include_router(probes.router)
    app.include_router(well_known.router)
    app.include_router(docs.router)
    docs.mount(app)
    app.openapi = _described(app)  # type: ignore[method-assign]  # FastAPI's documented way.
    return app


@asynccontextmanager
async def _until_the_end(app: FastAPI) -> AsyncIterator[None]:
    """Serve, then give every connection back."""
    await app.state.reads.open(wait=False)
    # What was made until now stays: no collection of garbage need look through it again.
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(_TURN_SECONDS)
    yield
    await app.state.reads.close(timeout=2)
    ports.current().close()
    app.state.redis.close()
    app.state.limiter.close()
    await app.state.limiter.aclose()
    engine.dispose()


def _middleware(settings: Settings) -> list[Middleware]:
    """From the outside to the inside."""
    return [
        Middleware(RequestIDMiddleware),
        Middleware(SecurityHeadersMiddleware),
        Middleware(
            AllowListCORS,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "X-Request-ID"],
            expose_headers=_EXPOSED,
            max_age=600,
        ),
        Middleware(RateLimitMiddleware),
        Middleware(ErrorMiddleware),
        Middleware(DoorsMiddleware, internal_port=settings.internal_port),
        Middleware(
            IntakeMiddleware,
            allowed_hosts=settings.allowed_hosts,
            max_bytes=settings.max_body_bytes,
            larger={"/webhooks/kumomta": webhooks_kumomta.MAX_BYTES},
        ),
        Middleware(AuthMiddleware),
    ]


def _remember(app: FastAPI, settings: Settings) -> None:
    """Values that dependencies need, so that only this module reads settings."""
    app.state.lanes = Lanes()
    app.state.reads = reading.open_pool(settings.psycopg_url, size=_READERS)
    app.state.limiter = RateLimiter(settings.redis_url)
    app.state.rates = (
        settings.rate_limit_requests_per_minute,
        settings.rate_limit_requests_per_hour,
    )
    app.state.mta_token = settings.mta_token.get_secret_value()
    app.state.live_keys = settings.environment == "production"
    app.state.publishable_key = settings.stripe.publishable_key
    app.state.redis = wiring.build_redis(settings)
    app.state.schema = migrations.head()
    app.state.periods = schedule.PERIODS


def _v1() -> APIRouter:
    router = APIRouter(prefix="/api/v1")
    people = (passwords, two_factor, notifications, team, api_keys, data_export)
    names = (dkim, domain_connections, domain_leaving, domain_renewals, domains)
    mail = (warmup, analytics, health, webhook_endpoints)
    # Routes are tried one after the other, so what is asked most comes first.
    for area in (auth, infrastructure, *names, *mail, *people, billing):
        router.include_router(area.router)
    for area in (decisions, audit_log, admin, nodes):
        router.include_router(area.router)
    router.include_router(decisions.admin_router)
    return router


def _described(app: FastAPI) -> Any:
    """OpenAPI without FastAPI's own 422, which we answer as 400."""
    make = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = make()
            for path in schema["paths"].values():
                for operation in path.values():
                    operation["responses"].pop("422", None)
            for name in ("HTTPValidationError", "ValidationError"):
                schema["components"]["schemas"].pop(name, None)
        return app.openapi_schema or make()

    return openapi


app = create_app()
