"""Where a tenant's programs are told of what happens, and what was told."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter

from app import errors
from app.api.cursors import Cursor, Limit, seal, unseal
from app.api.deps import DB, CurrentTenant, requires
from app.api.idempotency import IdempotentRoute
from app.api.responses import Envelope, Page, ok, page
from app.api.schemas import webhook_endpoints as s
from app.api.schemas.auth import DoneOut
from app.database.models import EndpointStatus, WebhookDelivery, WebhookEndpoint
from app.database.queries import webhooks as queries
from app.rules.permissions import Permission
from app.services.webhook_service import WebhookService

router = APIRouter(
    prefix="/infrastructure/webhook-endpoints",
    tags=["infrastructure"],
    route_class=IdempotentRoute,
)


@router.get("", response_model=Page[s.EndpointOut], **requires(Permission.WEBHOOKS_READ))
def list_webhook_endpoints(db: DB, limit: Limit = 50, cursor: Cursor = None) -> Any:
    """The newest first."""
    rows, last = queries.endpoints(db, after=unseal("webhook-endpoints", cursor), limit=limit)
    return page(rows, seal("webhook-endpoints", last))


@router.post(
    "",
    status_code=201,
    response_model=Envelope[s.NewSecretOut],
    **requires(Permission.WEBHOOKS_WRITE, audit_event="webhook_endpoint_created", idempotent=True),
)
def create_webhook_endpoint(body: s.EndpointIn, tenant: CurrentTenant, db: DB) -> Any:
    """Be told by signed HTTPS requests; the answer shows the signing secret, this once."""
    endpoint, secret = WebhookService.create(
        tenant.id,
        db,
        url=body.url,
        event_types=body.event_types,
        description=body.description,
    )
    return ok(_with_secret(endpoint, secret))


@router.get(
    "/{endpoint_id}",
    response_model=Envelope[s.EndpointOut],
    **requires(Permission.WEBHOOKS_READ),
)
def get_webhook_endpoint(endpoint_id: UUID, db: DB) -> Any:
    """Where it goes, what it is told of, and how it fares."""
    return ok(_endpoint(endpoint_id, db))


@router.patch(
    "/{endpoint_id}",
    response_model=Envelope[s.EndpointOut],
    **requires(Permission.WEBHOOKS_WRITE, audit_event="webhook_endpoint_changed"),
)
def change_webhook_endpoint(endpoint_id: UUID, body: s.EndpointPatch, db: DB) -> Any:
    """Another address or choice of events; pause it, or wake it and have told what waits."""
    return ok(
        WebhookService.change(
            endpoint_id,
            db,
            url=body.url,
            event_types=body.event_types,
            description=body.description,
            status=None if body.status is None else EndpointStatus(body.status),
        )
    )


@router.delete(
    "/{endpoint_id}",
    response_model=Envelope[DoneOut],
    **requires(Permission.WEBHOOKS_WRITE, audit_event="webhook_endpoint_removed"),
)
def remove_webhook_endpoint(endpoint_id: UUID, db: DB) -> Any:
    """Tell nothing there any more, and forget what was told."""
    WebhookService.remove(endpoint_id, db)
    return ok({"done": True})


@router.post(
    "/{endpoint_id}/rotate-secret",
    response_model=Envelope[s.NewSecretOut],
    **requires(Permission.WEBHOOKS_WRITE, audit_event="webhook_secret_rotated", idempotent=True),
)
def rotate_webhook_secret(endpoint_id: UUID, db: DB) -> Any:
    """Another secret, shown this once; for a day messages are signed with both."""
    return ok(_with_secret(*WebhookService.rotate_secret(endpoint_id, db)))


@router.post(
    "/{endpoint_id}/test",
    status_code=202,
    response_model=Envelope[s.QueuedOut],
    **requires(Permission.WEBHOOKS_WRITE, audit_event="webhook_tested", idempotent=True),
)
def test_webhook_endpoint(endpoint_id: UUID, db: DB) -> Any:
    """Send a `webhook.test`, behind what waits; its fate shows among the deliveries."""
    WebhookService.test(endpoint_id, db)
    return ok({"queued": 1})


@router.get(
    "/{endpoint_id}/deliveries",
    response_model=Page[s.DeliveryOut],
    **requires(Permission.WEBHOOKS_READ),
)
def list_webhook_deliveries(
    endpoint_id: UUID,
    db: DB,
    limit: Limit = 50,
    cursor: Cursor = None,
    state: Literal["waiting", "delivered", "given_up"] | None = None,
) -> Any:
    """What was and is to be told, the newest first, with every try and its answer; for 30 days."""
    _endpoint(endpoint_id, db)
    place = f"webhook-deliveries:{endpoint_id}"
    found, last = queries.deliveries(
        db, endpoint_id, state=state, after=unseal(place, cursor), limit=limit
    )
    return page([_delivery(one) for one in found], seal(place, last))


@router.post(
    "/{endpoint_id}/replay",
    status_code=202,
    response_model=Envelope[s.QueuedOut],
    **requires(Permission.WEBHOOKS_WRITE, audit_event="webhook_replayed", idempotent=True),
)
def replay_webhook_deliveries(endpoint_id: UUID, body: s.ReplayIn, db: DB) -> Any:
    """Tell again, under the same ids and numbers; without numbers, all that was given up."""
    return ok({"queued": WebhookService.replay(endpoint_id, body.sequences, db)})


def _endpoint(endpoint_id: UUID, db: DB) -> WebhookEndpoint:
    endpoint = db.get(WebhookEndpoint, endpoint_id)
    if endpoint is None:
        raise errors.NotFound(resource="webhook endpoint")
    return endpoint


def _with_secret(endpoint: WebhookEndpoint, secret: str) -> dict[str, Any]:
    shown = s.EndpointOut.model_validate(endpoint).model_dump()
    return {**shown, "secret": secret}


def _delivery(found: queries.Told) -> dict[str, Any]:
    delivery: WebhookDelivery = found.delivery
    same = ("id", "sequence", "event_type", "occurred_at", "data", "state", "delivered_at")
    return {
        **{name: getattr(delivery, name) for name in same},
        "next_try_at": delivery.next_try_at if delivery.state == "waiting" else None,
        "tries": [
            {
                "at": attempt.created_at,
                "status_code": attempt.status_code,
                "answer": attempt.answer,
                "duration_ms": attempt.duration_ms,
            }
            for attempt in found.attempts
        ],
    }
