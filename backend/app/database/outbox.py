"""The outbox: consequences are rows, written in the transaction of their cause."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.database import audit
from app.database.tables.messaging import OutboxEvent
from app.events import Event, TenantEvent
from app.telemetry import tracing

CHANNEL = "inboxgrove_outbox"
"""The relay listens on it. PostgreSQL sends a notice when the transaction commits, never before."""


def record(db: Session, event: Event) -> None:
    """Remember `event`; the relay acts on it once this transaction is committed."""
    db.add(
        OutboxEvent(
            event=event.name,
            payload=event.payload(),
            tenant_id=event.tenant_id if isinstance(event, TenantEvent) else None,
            request_id=audit.actor().request_id,
            traceparent=tracing.traceparent(),
        )
    )
    nudge(db)


def nudge(db: Session) -> None:
    """Have the relay look as soon as this transaction is committed."""
    db.execute(text(f"NOTIFY {CHANNEL}"))


def claim(db: Session, limit: int) -> Sequence[OutboxEvent]:
    """Unrouted events, oldest first, locked: a second relay skips them."""
    return db.scalars(
        select(OutboxEvent)
        .where(OutboxEvent.routed_at.is_(None))
        .order_by(OutboxEvent.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
