"""Stripe's events, stored once each before anybody believes them."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app import clock, errors, events
from app.database import outbox
from app.database.models import ProviderEvent, new_id
from app.database.session import ALL_TENANTS, transaction
from app.integrations import ports
from app.services import notices

PATIENCE = timedelta(seconds=60)
"""An event that came again after this long without effect is set going once more."""


def receive(event: ports.WebhookEvent, payments: ports.PaymentGateway) -> UUID | None:
    """Store a verified event, once; a job does the work later.

    Opens its own transaction, because it must be durable before Stripe is told 200. Returns the id
    of our row, None when it was stored before. Raises Invalid for one of the other mode: a test
    event must never move real money.
    """
    if bool(event.payload.get("livemode", payments.livemode)) != payments.livemode:
        raise errors.Invalid("The event is of the other mode, live or test.")
    with transaction(tenant=ALL_TENANTS) as db:
        row_id = store(event, db)
        if row_id is None:
            set_going_again(event.id, db)
        version = event.payload.get("api_version")
        if version not in {None, payments.api_version}:
            notices.alert(
                db,
                "api_version",
                str(version),
                f"Stripe sends events of API version {version}; this product reads"
                f" {payments.api_version}. Set it on the webhook endpoint.",
            )
    return row_id


def store(event: ports.WebhookEvent, db: Session) -> UUID | None:
    """Our row's id, None when it stands there already."""
    row_id = db.scalar(
        insert(ProviderEvent)
        .values(
            id=new_id(),
            created_at=clock.now(),
            updated_at=clock.now(),
            provider="stripe",
            provider_id=event.id,
            event_type=event.type,
            occurred_at=event.created,
            api_version=event.payload.get("api_version"),
            payload=event.payload,
        )
        .on_conflict_do_nothing()
        .returning(ProviderEvent.id)
    )
    if row_id is not None:
        outbox.record(db, events.ProviderEventReceived(provider_event_id=row_id))
    return row_id


def set_going_again(event_id: str, db: Session) -> bool:
    """Whether a stored event had no effect yet and is handled once more.

    Its job was given up, or is slow; handling one twice is harmless.
    """
    row = _find(event_id, db)
    if row is None or row.handled_at is not None or row.created_at >= clock.now() - PATIENCE:
        return False
    outbox.record(db, events.ProviderEventReceived(provider_event_id=row.id))
    return True


def replay(event_id: str, db: Session, payments: ports.PaymentGateway) -> UUID:
    """Handle one event anew; one that never reached us is fetched. Raises provider errors."""
    row = _find(event_id, db)
    if row is None:
        stored = store(payments.get_event(event_id), db)
        row = _find(event_id, db)
        if stored is not None:
            return stored
    if row is None:
        raise errors.NotFound(resource="event")
    row.handled_at = row.outcome = None
    outbox.record(db, events.ProviderEventReceived(provider_event_id=row.id))
    return row.id


def _find(event_id: str, db: Session) -> ProviderEvent | None:
    return db.scalars(
        select(ProviderEvent)
        .where(ProviderEvent.provider == "stripe", ProviderEvent.provider_id == event_id)
        .with_for_update()
    ).one_or_none()
