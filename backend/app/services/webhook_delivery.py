"""Telling a tenant's servers what happened: each fact once to each endpoint, in order.

A message waits until those before it were taken or given up, so that what arrives is in the order
of the sequence; a server that is away finds everything when it is back, up to the ladder's end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session
from standardwebhooks import Webhook

from app import clock, events
from app.database import audit, outbox
from app.database.models import (
    DeliveryState,
    Domain,
    EndpointStatus,
    OutboxEvent,
    Provision,
    Tenant,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
)
from app.integrations import ports
from app.rules import webhooks
from app.rules.webhooks import EventType
from app.utils import email_service, monitoring, security


def secret_context(endpoint_id: UUID) -> str:
    return f"webhook_endpoints.secret:{endpoint_id}"


def publish(tenant_id: UUID, db: Session) -> None:
    """Queue what happened to a tenant and was not queued yet, in the order in which it happened."""
    endpoints = db.scalars(
        select(WebhookEndpoint)
        .where(
            WebhookEndpoint.tenant_id == tenant_id,
            WebhookEndpoint.status != EndpointStatus.DISABLED,
        )
        .order_by(WebhookEndpoint.id)
        .with_for_update()
    ).all()
    for endpoint in endpoints:
        told = select(WebhookDelivery.outbox_id).where(
            WebhookDelivery.endpoint_id == endpoint.id, WebhookDelivery.outbox_id.is_not(None)
        )
        fresh = select(OutboxEvent).where(
            OutboxEvent.tenant_id == tenant_id,
            OutboxEvent.event.in_(webhooks.OF_EVENT),
            OutboxEvent.created_at >= endpoint.tells_since,
            OutboxEvent.id.not_in(told),
        )
        for event in db.scalars(fresh.order_by(OutboxEvent.id)):
            kind = webhooks.OF_EVENT[event.event]
            if not endpoint.event_types or kind in endpoint.event_types:
                data = _data(event, db)
                queue(endpoint, kind, data, event.created_at, db, outbox_id=event.id)


def queue(
    endpoint: WebhookEndpoint,
    kind: EventType,
    data: Mapping[str, Any],
    at: datetime,
    db: Session,
    *,
    outbox_id: UUID | None = None,
) -> WebhookDelivery:
    """The next in the endpoint's sequence. Expects the endpoint's row locked."""
    endpoint.last_sequence += 1
    delivery = WebhookDelivery(
        tenant_id=endpoint.tenant_id,
        endpoint_id=endpoint.id,
        outbox_id=outbox_id,
        sequence=endpoint.last_sequence,
        event_type=kind,
        occurred_at=at,
        data=dict(data),
        next_try_at=clock.now(),
    )
    db.add(delivery)
    db.flush()  # Its id is the message's.
    wake(endpoint, db)
    return delivery


def wake(endpoint: WebhookEndpoint, db: Session) -> None:
    """See to it that a job is at work here. Expects the endpoint's row locked."""
    if not endpoint.is_busy and endpoint.status == EndpointStatus.ACTIVE:
        endpoint.is_busy = True
        outbox.record(db, events.WebhookDue(tenant_id=endpoint.tenant_id, endpoint_id=endpoint.id))


def deliver(
    endpoint_id: UUID, db: Session, *, hooks: ports.HookSender | None = None
) -> timedelta | None:
    """Try the first message that waits; how long until the next try, None when all is told.

    The endpoint's row is locked only after the call, so that a slow server holds up nobody who
    queues. A worker that dies between the answer and the commit tells the same again, with the
    same `webhook-id`.
    """
    hooks = hooks or ports.current().hooks
    # Two at once would tell out of order.
    if not db.scalar(
        select(func.pg_try_advisory_xact_lock(endpoint_id.int & 0x7FFF_FFFF_FFFF_FFFF))
    ):
        return timedelta(seconds=5)
    endpoint = db.get(WebhookEndpoint, endpoint_id)
    if endpoint is None:
        return None
    head = _first_waiting(endpoint, db)
    if head is not None and endpoint.status == EndpointStatus.ACTIVE:
        left = head.next_try_at - clock.now()
        if left > timedelta(0):
            return left
        body = _body(head)
        answer = hooks.post(endpoint.url, body, _headers(endpoint, head, body))
        db.refresh(endpoint, with_for_update=True)
        _note(endpoint, head, answer, db)
        db.flush()  # The next one is looked for.
    else:
        db.refresh(endpoint, with_for_update=True)
    following = _first_waiting(endpoint, db)
    if following is None or endpoint.status != EndpointStatus.ACTIVE:
        endpoint.is_busy = False
        return None
    return max(timedelta(0), following.next_try_at - clock.now())


def _first_waiting(endpoint: WebhookEndpoint, db: Session) -> WebhookDelivery | None:
    return db.scalars(
        select(WebhookDelivery)
        .where(
            WebhookDelivery.endpoint_id == endpoint.id,
            WebhookDelivery.state == DeliveryState.WAITING,
        )
        .order_by(WebhookDelivery.sequence)
        .limit(1)
    ).one_or_none()


def _body(delivery: WebhookDelivery) -> bytes:
    return json.dumps(
        {
            "id": str(delivery.id),
            "type": delivery.event_type,
            "timestamp": delivery.occurred_at.isoformat(),
            "sequence": delivery.sequence,
            "data": delivery.data,
        },
        separators=(",", ":"),
    ).encode()


def _headers(endpoint: WebhookEndpoint, delivery: WebhookDelivery, body: bytes) -> dict[str, str]:
    now, sealed = clock.now(), [endpoint.secret]
    if endpoint.previous_secret is not None and (endpoint.previous_until or now) > now:
        sealed.append(endpoint.previous_secret)
    context = secret_context(endpoint.id)
    signatures = (
        Webhook(security.decrypt(one, context).decode()).sign(str(delivery.id), now, body.decode())
        for one in sealed
    )
    return {
        "Content-Type": "application/json",
        "User-Agent": "InboxGrove-Webhooks/1",
        "webhook-id": str(delivery.id),
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def _note(
    endpoint: WebhookEndpoint, delivery: WebhookDelivery, answer: ports.HookAnswer, db: Session
) -> None:
    now = clock.now()
    db.add(
        WebhookAttempt(
            tenant_id=endpoint.tenant_id,
            delivery_id=delivery.id,
            status_code=answer.status_code,
            answer=answer.text or None,
            duration_ms=answer.milliseconds,
        )
    )
    delivery.attempts += 1
    good = webhooks.is_success(answer.status_code)
    monitoring.WEBHOOKS.labels(result="delivered" if good else "failed").inc()
    if good:
        delivery.state, delivery.delivered_at = DeliveryState.DELIVERED, now
        endpoint.failing_since = None
        return
    endpoint.failing_since = endpoint.failing_since or now
    if answer.status_code == webhooks.GONE:
        _disable(endpoint, "It answered 410 Gone.", db)
    elif now - endpoint.failing_since >= webhooks.MAX_FAILING:
        _disable(endpoint, f"It took nothing for {webhooks.MAX_FAILING.days} days.", db)
    wait = webhooks.wait_after(delivery.attempts)
    if wait is None:
        delivery.state = DeliveryState.GIVEN_UP
    else:
        delivery.next_try_at = now + wait


def _disable(endpoint: WebhookEndpoint, why: str, db: Session) -> None:
    before = str(endpoint.status)
    endpoint.status, endpoint.disabled_reason = EndpointStatus.DISABLED, why
    changes = {"status": [before, "disabled"], "disabled_reason": [None, why]}
    audit.write(
        db,
        endpoint.tenant_id,
        "webhook_endpoint_disabled",
        "webhook_endpoint",
        endpoint.id,
        changes,
    )
    outbox.record(db, events.WebhookDisabled(tenant_id=endpoint.tenant_id, endpoint_id=endpoint.id))


def tell_disabled(
    endpoint_id: UUID, db: Session, *, providers: ports.Providers | None = None
) -> None:
    """Write to the company that its server is not called any more; a job."""
    providers = providers or ports.current()
    endpoint = db.get(WebhookEndpoint, endpoint_id)
    if endpoint is None or endpoint.status != EndpointStatus.DISABLED:
        return
    tenant = db.get_one(Tenant, endpoint.tenant_id)
    mail = email_service.webhook_disabled(
        company=tenant.company_name,
        url=endpoint.url,
        why=endpoint.disabled_reason or "",
        link=f"{providers.platform.public_url}/webhooks",
    )
    providers.mailer.send(
        to=tenant.company_email,
        subject=mail.subject,
        text=mail.text,
        html=mail.html,
        key=f"webhook-{endpoint.id}-{endpoint.updated_at.timestamp():.0f}",
    )


def _data(event: OutboxEvent, db: Session) -> dict[str, Any]:
    """What is told of an event: the ids, and the present state of what they name."""
    ids = event.payload
    if "domain_id" in ids:
        domain = db.get(Domain, UUID(ids["domain_id"]))
        if domain is not None:
            return {
                "domain_id": str(domain.id),
                "domain_name": domain.domain_name,
                "status": str(domain.status),
            }
    if "provision_id" in ids:
        made = db.get(Provision, UUID(ids["provision_id"]))
        if made is not None:
            return {
                "provision_id": str(made.id),
                "domain_id": str(made.domain_id),
                "inbox_count": made.inbox_count,
            }
    tenant = db.get_one(Tenant, event.tenant_id)
    return {"plan": str(tenant.subscription_tier), "is_suspended": tenant.is_suspended}
