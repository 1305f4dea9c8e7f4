"""Delivery records from the relay's nodes: hot, so async and plain SQL."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from app.api.deps import require_node
from app.config import get_settings
from app.database.patience import ANSWER_SECONDS
from app.database.queries import ingest
from app.database.role import AS_RUNTIME
from app.errors import Invalid, TooLarge, Unavailable
from app.rules import records
from app.utils import monitoring

MAX_BYTES = 32 * 1024 * 1024
MAX_RECORDS = 10_000


@asynccontextmanager
async def _pool(app: FastAPI) -> AsyncIterator[None]:
    pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
        get_settings().psycopg_url,
        min_size=0,
        max_size=4,
        timeout=3,
        open=False,
        kwargs={"connect_timeout": 2, "options": f"{AS_RUNTIME} -c statement_timeout=15000"},
    )
    await pool.open(wait=False)
    app.state.ingest_pool = pool
    yield
    await pool.close(timeout=2)


router = APIRouter(lifespan=_pool)


@router.post("/webhooks/kumomta", include_in_schema=False)
async def receive_records(request: Request) -> JSONResponse:
    """Store a batch of log records, each once. 200 only when all of it is durable.

    Body: {"records": [{"event_id", "node", "record": {…}}]}. A node keeps and repeats what was
    answered with 429 or 5xx.
    """
    require_node(request)
    batch = _parse(await _body(request))
    rows = [row for item in batch if (row := _row(item)) is not None]
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            stored = await ingest.store(request.app.state.ingest_pool, rows)
    except (psycopg.OperationalError, PoolTimeout, TimeoutError) as error:
        raise Unavailable from error
    monitoring.INGESTED.labels(result="stored").inc(stored)
    monitoring.INGESTED.labels(result="repeated").inc(len(rows) - stored)
    monitoring.INGESTED.labels(result="ignored").inc(len(batch) - len(rows))
    return JSONResponse({"status": "success", "data": {"accepted": len(batch), "stored": stored}})


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise TooLarge(limit_bytes=MAX_BYTES)
    return bytes(body)


def _parse(body: bytes) -> list[dict[str, Any]]:
    try:
        batch = json.loads(body)["records"]
    except (ValueError, KeyError, TypeError) as error:
        raise Invalid('Send {"records": [{"event_id", "node", "record"}]}.') from error
    if not isinstance(batch, list) or len(batch) > MAX_RECORDS:
        raise Invalid(f"records must be a list of at most {MAX_RECORDS}.")
    return batch


def _row(item: Any) -> records.EventRow | None:
    try:
        return records.read(item["record"], str(item.get("node") or ""))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Invalid(f"Not a log record: {error}") from error
