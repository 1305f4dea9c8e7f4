"""Is it alive, is it ready, how is it doing."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from redis.exceptions import RedisError
from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from app.database import migrations
from app.database.patience import ImpatientConnection
from app.database.queries import metrics
from app.database.role import AS_RUNTIME
from app.database.session import ALL_TENANTS, engine, transaction
from app.errors import Unavailable
from app.utils import monitoring

router = APIRouter(include_in_schema=False)


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process answers; of what it depends on it says nothing: a restart mends no database."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz(request: Request) -> JSONResponse:
    """200 when requests can be served: database at our schema or a later one, and Redis."""
    checks = {"database": _database(request.app.state.schema), "redis": _redis(request)}
    ready = all(state == "ok" for state in checks.values())
    return JSONResponse(
        {"status": "ok" if ready else "unavailable", "checks": checks}, 200 if ready else 503
    )


@router.get("/metrics")
def read_metrics(request: Request) -> Response:
    """Prometheus' text format."""
    try:
        with transaction(tenant=ALL_TENANTS) as db:
            metrics.refresh(db, request.app.state.periods)
    except (Unavailable, SQLAlchemyError) as error:
        # The counters of this process are worth having just then.
        monitoring.log.warning("gauges not refreshed", error=str(error))
    return Response(monitoring.exposition(), headers={"Content-Type": monitoring.METRICS_TYPE})


class _Hurried(ImpatientConnection):
    """A probe is asked every few seconds: an answer later than that is none."""

    answer_seconds = 2.0


# Not the pool of the requests: a full pool is busy, not broken, and its connections may be stale.
_probing = create_engine(
    engine.url,
    poolclass=NullPool,
    creator=lambda: _Hurried.connect(
        engine.url.set(drivername="postgresql").render_as_string(hide_password=False),
        connect_timeout=2,
        options=AS_RUNTIME,
    ),
)


def _database(newest: str | None) -> str:
    try:
        current = migrations.current(_probing)
    except SQLAlchemyError:
        return "unreachable"
    # During an upgrade, and after going back from one, the schema is that of the later release.
    if current == newest or migrations.is_later(current):
        return "ok"
    return f"at schema {current}, not {newest}"


def _redis(request: Request) -> str:
    try:
        request.app.state.redis.ping()
    except RedisError:
        return "unreachable"
    return "ok"
