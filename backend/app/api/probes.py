"""Is it alive, is it ready, how is it doing."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from app.database import migrations
from app.database.queries import metrics
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
    """200 when requests can be served: database at the newest schema, and Redis."""
    checks = {"database": _database(request.app.state.schema), "redis": _redis(request)}
    ready = all(state == "ok" for state in checks.values())
    return JSONResponse(
        {"status": "ok" if ready else "unavailable", "checks": checks}, 200 if ready else 503
    )


@router.get("/metrics")
def read_metrics() -> Response:
    """Prometheus' text format."""
    try:
        with transaction(tenant=ALL_TENANTS) as db:
            metrics.refresh(db)
    except (Unavailable, SQLAlchemyError) as error:
        # The counters of this process are worth having just then.
        monitoring.log.warning("gauges not refreshed", error=str(error))
    return Response(monitoring.exposition(), headers={"Content-Type": monitoring.METRICS_TYPE})


def _database(newest: str | None) -> str:
    try:
        current = migrations.current(engine)
    except SQLAlchemyError:
        return "unreachable"
    return "ok" if current == newest else f"at schema {current}, not {newest}"


def _redis(request: Request) -> str:
    try:
        request.app.state.redis.ping()
    except RedisError:
        return "unreachable"
    return "ok"
