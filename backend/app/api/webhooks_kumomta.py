"""Delivery records from the relay's nodes: hot, so async and plain SQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import psycopg
from fastapi import APIRouter, FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from psycopg_pool import PoolTimeout

from app.api.deps import require_node
from app.config import get_settings
from app.database.patience import ANSWER_SECONDS
from app.database.queries import ingest
from app.database.session import ALL_TENANTS, transaction
from app.errors import Invalid, TooLarge, Unavailable
from app.integrations import ports
from app.rules import records
from app.services.abuse_service import AbuseService
from app.utils import monitoring

MAX_BYTES = 32 * 1024 * 1024
MAX_RECORDS = 10_000


@asynccontextmanager
async def _pool(app: FastAPI) -> AsyncIterator[None]:
    # Every process of the API has as many; more would only wait for the same rows.
    pool = ingest.open_pool(get_settings().psycopg_url, size=4)
    await pool.open(wait=False)
    app.state.ingest_pool = pool
    yield
    await pool.close(timeout=2)


router = APIRouter(lifespan=_pool)


@router.post("/webhooks/kumomta", include_in_schema=False)
async def receive_records(request: Request) -> JSONResponse:
    """Store a batch of log records, each once. 200 only when all of it is durable.

    Body: {"records": [{"event_id", "node", "record": {…}}]}. A node keeps and repeats what was
    answered with 429 or 5xx. `repeated` were there before, or are about a tenant that is not;
    `out_of_range` are older than the events that are kept, or more than a day ahead; `ignored` are
    about no tenant.
    """
    require_node(request)
    batch = _parse(await _body(request))
    rows = [row for item in batch if (row := _row(item)) is not None]
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            keep = ports.current().platform.keep_events
            outcome = await ingest.store(request.app.state.ingest_pool, rows, keep)
    except (psycopg.OperationalError, PoolTimeout, TimeoutError) as error:
        raise Unavailable from error
    # Also of repeated records: what failed here the first time is done now.
    reports = [row for row in rows if AbuseService.concerns(row)]
    if reports:
        await run_in_threadpool(_act, reports)
    counted = {
        "stored": outcome.stored,
        "repeated": len(rows) - outcome.stored - outcome.out_of_range,
        "out_of_range": outcome.out_of_range,
        "ignored": len(batch) - len(rows),
    }
    for result, count in counted.items():
        monitoring.INGESTED.labels(result=result).inc(count)
    data = {"accepted": len(batch), **counted}
    return JSONResponse({"status": "success", "data": data})


def _act(reports: list[records.EventRow]) -> None:
    with transaction(tenant=ALL_TENANTS) as db:
        AbuseService.take_in(reports, db)


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise TooLarge(limit_bytes=MAX_BYTES)
    return bytes(body)


def _parse(body: bytes) -> list[dict[str, Any]]:
    try:
        batch = orjson.loads(body)["records"]
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
