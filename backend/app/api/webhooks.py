"""Stripe's webhook: stored before it is believed, answered fast."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from fastapi.concurrency import run_in_threadpool

from app.api.deps import acts
from app.api.responses import Envelope, ok
from app.api.schemas.webhooks import ReceivedOut
from app.services.billing_service import BillingService

router = APIRouter(tags=["webhooks"])


@router.post(
    "/webhooks/stripe",
    response_model=Envelope[ReceivedOut],
    openapi_extra={"x-role": "stripe", "x-scope": "none", "x-audit-event": "none"},
)
async def stripe(
    request: Request,
    signature: Annotated[str, Header(alias="Stripe-Signature", max_length=1000)] = "",
) -> Any:
    """200 only when the event is durable; a job does the work."""
    payload = await request.body()
    acts(request, "system", None)
    row_id = await run_in_threadpool(BillingService.handle_webhook, payload, signature)
    return ok({"received": True, "repeated": row_id is None})
