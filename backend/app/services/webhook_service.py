"""A tenant's webhook endpoints: made, changed, given another secret, asked again."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app import clock, errors
from app.database import audit
from app.database.models import (
    DeliveryState,
    EndpointStatus,
    WebhookDelivery,
    WebhookEndpoint,
    new_id,
)
from app.integrations import ports
from app.rules import webhooks
from app.rules.webhooks import EventType
from app.services import webhook_delivery
from app.utils import security

Changes = dict[str, list[Any]]


class WebhookService:
    @staticmethod
    def create(
        tenant_id: UUID,
        db: Session,
        *,
        url: str,
        event_types: Sequence[EventType],
        description: str,
    ) -> tuple[WebhookEndpoint, str]:
        """A new endpoint and its secret, shown this once.

        Raises Invalid for an address that cannot be one, Conflict beyond MAX_ENDPOINTS.
        """
        _check(url)
        # Two at once must not both be the last that fits.
        db.execute(select(func.pg_advisory_xact_lock(tenant_id.int & 0x7FFF_FFFF_FFFF_FFFF)))
        own = WebhookEndpoint.tenant_id == tenant_id
        count = db.scalar(select(func.count(WebhookEndpoint.id)).where(own)) or 0
        if count >= webhooks.MAX_ENDPOINTS:
            raise errors.Conflict(
                f"There are {count} endpoints already. Remove one first.",
                limit=webhooks.MAX_ENDPOINTS,
            )
        endpoint_id, text = new_id(), _new_secret()
        endpoint = WebhookEndpoint(
            id=endpoint_id,
            tenant_id=tenant_id,
            url=url,
            description=description,
            event_types=sorted(set(event_types)),
            secret=_seal(text, endpoint_id),
        )
        db.add(endpoint)
        db.flush()  # The audit row names its id.
        changes: Changes = {"url": [None, url], "event_types": [None, endpoint.event_types]}
        _audit(db, "webhook_endpoint_created", endpoint, changes)
        return endpoint, text

    @staticmethod
    def change(
        endpoint_id: UUID,
        db: Session,
        *,
        url: str | None = None,
        event_types: Sequence[EventType] | None = None,
        description: str | None = None,
        status: EndpointStatus | None = None,
    ) -> WebhookEndpoint:
        """What is not None is changed; `active` also wakes a disabled one, and tells what waits.

        Raises NotFound, and Invalid for an address that cannot be an endpoint.
        """
        endpoint = _get(endpoint_id, db)
        if url is not None:
            _check(url)
        wanted: dict[str, Any] = {
            "url": url,
            "event_types": None if event_types is None else sorted(set(event_types)),
            "description": description,
            "status": status,
        }
        was_disabled, changes = endpoint.status == EndpointStatus.DISABLED, {}
        for name, value in wanted.items():
            before = getattr(endpoint, name)
            if value is not None and value != before:
                setattr(endpoint, name, value)
                changes[name] = [before, value]
        if "status" in changes and endpoint.status == EndpointStatus.ACTIVE:
            endpoint.disabled_reason = endpoint.failing_since = None
            if was_disabled:
                endpoint.tells_since = clock.now()
            webhook_delivery.wake(endpoint, db)
        if changes:
            _audit(db, "webhook_endpoint_changed", endpoint, changes)
        return endpoint

    @staticmethod
    def remove(endpoint_id: UUID, db: Session) -> None:
        """With its log. Raises NotFound."""
        endpoint = _get(endpoint_id, db)
        _audit(db, "webhook_endpoint_removed", endpoint, {"url": [endpoint.url, None]})
        db.delete(endpoint)

    @staticmethod
    def rotate_secret(endpoint_id: UUID, db: Session) -> tuple[WebhookEndpoint, str]:
        """Another secret, shown this once; the one before signs as well for OLD_SECRET_SIGNS."""
        endpoint = _get(endpoint_id, db)
        text = _new_secret()
        endpoint.previous_secret, endpoint.secret = endpoint.secret, _seal(text, endpoint.id)
        endpoint.previous_until = clock.now() + webhooks.OLD_SECRET_SIGNS
        changes = {"previous_until": [None, endpoint.previous_until]}
        _audit(db, "webhook_secret_rotated", endpoint, changes)
        return endpoint, text

    @staticmethod
    def test(endpoint_id: UUID, db: Session) -> WebhookDelivery:
        """Tell the endpoint something of no meaning. Raises NotFound; Conflict unless active."""
        endpoint = _get(endpoint_id, db)
        if endpoint.status != EndpointStatus.ACTIVE:
            raise errors.Conflict(f"The endpoint is {endpoint.status}; make it active first.")
        delivery = webhook_delivery.queue(
            endpoint, EventType.TEST, {"endpoint_id": str(endpoint.id)}, clock.now(), db
        )
        _audit(db, "webhook_tested", endpoint, {"sequence": [None, delivery.sequence]})
        return delivery

    @staticmethod
    def replay(endpoint_id: UUID, sequences: Collection[int], db: Session) -> int:
        """Tell these numbers again; without any, all that were given up. How many wait now.

        Messages keep their id and number. Raises NotFound for an endpoint or message that is not
        there, Conflict unless the endpoint is active.
        """
        endpoint = _get(endpoint_id, db)
        if endpoint.status != EndpointStatus.ACTIVE:
            raise errors.Conflict(f"The endpoint is {endpoint.status}; make it active first.")
        chosen = select(WebhookDelivery).where(WebhookDelivery.endpoint_id == endpoint.id)
        if sequences:
            chosen = chosen.where(WebhookDelivery.sequence.in_(sequences))
        else:
            chosen = chosen.where(WebhookDelivery.state == DeliveryState.GIVEN_UP)
        found = db.scalars(chosen.order_by(WebhookDelivery.sequence).with_for_update()).all()
        if len(found) < len(set(sequences)):
            raise errors.NotFound(resource="delivery")
        for delivery in found:
            delivery.state, delivery.attempts = DeliveryState.WAITING, 0
            delivery.next_try_at = clock.now()
        webhook_delivery.wake(endpoint, db)
        _audit(db, "webhook_replayed", endpoint, {"deliveries": [None, len(found)]})
        return len(found)


def _check(url: str) -> None:
    why = webhooks.refusal(url, ports.current().platform.webhook_networks)
    if why is not None:
        raise errors.Invalid(why, fields=[{"field": "url", "message": why}])


def _get(endpoint_id: UUID, db: Session) -> WebhookEndpoint:
    """Locked: its sequence and its job are changed under this lock only."""
    endpoint = db.get(WebhookEndpoint, endpoint_id, with_for_update=True)
    if endpoint is None:
        raise errors.NotFound(resource="webhook endpoint")
    return endpoint


def _new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def _seal(text: str, endpoint_id: UUID) -> bytes:
    return security.encrypt(text.encode(), webhook_delivery.secret_context(endpoint_id))


def _audit(db: Session, action: str, endpoint: WebhookEndpoint, changes: Changes) -> None:
    audit.write(db, endpoint.tenant_id, action, "webhook_endpoint", endpoint.id, changes)
