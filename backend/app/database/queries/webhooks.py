"""What people see of their webhook endpoints."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.database.models import DeliveryState, WebhookAttempt, WebhookDelivery, WebhookEndpoint
from app.database.queries import pages


@dataclass(frozen=True)
class Told:
    delivery: WebhookDelivery
    attempts: list[WebhookAttempt]
    """The oldest first."""


def endpoints(
    db: Session, *, after: UUID | None, limit: int
) -> tuple[list[WebhookEndpoint], UUID | None]:
    return pages.page(db, select(WebhookEndpoint), WebhookEndpoint.id, after=after, limit=limit)


def deliveries(
    db: Session, endpoint_id: UUID, *, state: str | None, after: UUID | None, limit: int
) -> tuple[list[Told], UUID | None]:
    """As pages.page, of one endpoint."""
    wanted = select(WebhookDelivery).where(WebhookDelivery.endpoint_id == endpoint_id)
    if state is not None:
        wanted = wanted.where(WebhookDelivery.state == DeliveryState(state))
    rows, last = pages.page(db, wanted, WebhookDelivery.id, after=after, limit=limit)
    tries: dict[UUID, list[WebhookAttempt]] = defaultdict(list)
    for attempt in db.scalars(
        select(WebhookAttempt)
        .where(WebhookAttempt.delivery_id.in_([row.id for row in rows]))
        .order_by(WebhookAttempt.id)
    ):
        tries[attempt.delivery_id].append(attempt)
    return [Told(row, tries[row.id]) for row in rows], last


def forget(db: Session, before: datetime) -> None:
    """Delete what was told or given up before that moment; what waits stays."""
    db.execute(
        delete(WebhookDelivery).where(
            WebhookDelivery.created_at < before,
            WebhookDelivery.state != DeliveryState.WAITING,
        ),
        execution_options={"synchronize_session": False},
    )
