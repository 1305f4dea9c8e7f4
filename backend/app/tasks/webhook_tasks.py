"""Jobs that tell tenants' servers what happened."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from app.database import outbox
from app.services import webhook_delivery
from app.tasks.jobs import Again, task


@task("webhooks.publish")
def publish(db: Session, tenant_id: UUID, **_: Any) -> None:
    """Of all that happened to this tenant, not only of the event that called."""
    webhook_delivery.publish(tenant_id, db)


@task("webhooks.deliver")
def deliver(db: Session, tenant_id: UUID, endpoint_id: UUID) -> Again | None:  # noqa: ARG001
    wait = webhook_delivery.deliver(endpoint_id, db)
    if wait is None:
        return None
    if not wait:
        # The next message is due at once, and the relay need not find that out by looking.
        outbox.nudge(db)
    return Again(wait.total_seconds(), "more waits to be told")


@task("webhooks.tell_disabled")
def tell_disabled(db: Session, tenant_id: UUID, endpoint_id: UUID) -> None:  # noqa: ARG001
    webhook_delivery.tell_disabled(endpoint_id, db)
