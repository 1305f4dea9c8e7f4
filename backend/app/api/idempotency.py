"""Idempotency-Key: a repeated request gets the first one's answer, byte for byte.

Kept for 24 hours by tenant. Only successes are kept: an error means that the transaction was rolled
back, so the key is free again and a repeat is a new try.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Annotated, Any
from uuid import UUID

import structlog
from fastapi import Header, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import APIRoute
from sqlalchemy.orm import Session

from app import errors
from app.database import idempotency
from app.database.idempotency import Answered, Mine
from app.rules import api_keys
from app.utils import security

REPLAYED = "Idempotency-Replayed"
log = structlog.get_logger()

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="Any text of your own. Repeating the request with it does nothing twice.",
    ),
]


class Claim:
    """What became of this request's key; without a key, nothing."""

    def __init__(self, found: Mine | Answered | errors.Conflict | None) -> None:
        self._found = found

    @property
    def mine(self) -> Mine | None:
        return self._found if isinstance(self._found, Mine) else None

    def settle(self) -> None:
        """Raises the conflict, or the answer that is there already."""
        if isinstance(self._found, errors.Conflict):
            raise self._found
        if isinstance(self._found, Answered):
            raise Replay(self._found)


class Replay(Exception):
    """Carries a kept answer past the endpoint; IdempotentRoute catches it."""

    def __init__(self, answered: Answered) -> None:
        self.answered = answered
        super().__init__("answered before")


async def claim_key(request: Request, key: Key = None) -> AsyncIterator[Claim]:
    """Claim the key before the work. When the work fails the key is given back."""
    claim = Claim(await _claim(request, key))
    request.state.claim = claim
    try:
        yield claim
    except BaseException:
        # The request's own transaction is over by now, rolled back.
        if claim.mine is not None:
            await run_in_threadpool(_release, claim.mine)
        raise


async def _claim(request: Request, key: str | None) -> Mine | Answered | errors.Conflict | None:
    tenant_id = None if key is None else await _tenant_of(request)
    if key is None or tenant_id is None:
        return None
    parts = (request.method.encode(), request.url.path.encode(), await request.body())
    request_hash = hashlib.sha256(b"\n".join(parts)).digest()
    try:
        return await run_in_threadpool(idempotency.claim, tenant_id, key, request_hash)
    except errors.Conflict as conflict:
        # Told only to a caller that proves to be the tenant.
        return conflict


async def _tenant_of(request: Request) -> UUID | None:
    """Whose key it would be; None for a caller whom nobody will recognise."""
    if request.state.claims is not None:
        claimed: UUID = request.state.claims.tenant_id
        return claimed
    bearer: str = request.state.bearer or ""
    if not api_keys.is_api_key(bearer):
        return None
    return await run_in_threadpool(idempotency.tenant_of_api_key, security.token_hash(bearer))


def _release(mine: Mine) -> None:
    try:
        idempotency.release(mine)
    except errors.Unavailable:
        log.warning("an idempotency key stays claimed until it is taken over", key=mine.key)


class IdempotentRoute(APIRoute):
    """Keeps the answer of a claimed request in the transaction of its effect."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def once(request: Request) -> Response:
            try:
                response = await handle(request)
            except Replay as replay:
                return Response(
                    replay.answered.body,
                    replay.answered.status_code,
                    {REPLAYED: "true"},
                    media_type=replay.answered.media_type,
                )
            claim: Claim | None = getattr(request.state, "claim", None)
            if claim is not None and claim.mine is not None:
                reply = Answered(
                    response.status_code, response.headers.get("content-type"), bytes(response.body)
                )
                db: Session = request.state.db
                await run_in_threadpool(idempotency.answer, db, claim.mine, reply)
            return response

        return once
