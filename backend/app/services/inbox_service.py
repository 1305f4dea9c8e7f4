"""The life of one inbox after it was made."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import errors, events
from app.database import audit, outbox
from app.database.models import Inbox, InboxStatus, Tenant
from app.services.inbox_batch import password_context
from app.utils import security


class InboxService:
    @staticmethod
    def set_status(inbox_id: UUID, status: InboxStatus, db: Session) -> Inbox:
        """Pause or resume; a pending one may be paused before it was ever active."""
        inbox = _lock(inbox_id, db)
        if status not in {InboxStatus.ACTIVE, InboxStatus.PAUSED}:
            raise errors.Invalid("status must be active or paused.", status=str(status))
        if inbox.status == status:
            return inbox
        before, inbox.status = inbox.status, status
        action = "inbox_paused" if status == InboxStatus.PAUSED else "inbox_resumed"
        _changed(inbox, action, db, {"status": [str(before), str(status)]})
        return inbox

    @staticmethod
    def rotate_password(inbox_id: UUID, db: Session) -> tuple[Inbox, str]:
        """A new password, told once; the old one stops when the relay has read the change."""
        inbox = _lock(inbox_id, db)
        password = security.inbox_password()
        inbox.password = security.encrypt(password.encode(), password_context(inbox.id))
        inbox.password_hmac = security.inbox_hmac(password)
        _changed(inbox, "inbox_password_rotated", db, {})
        return inbox, password

    @staticmethod
    def delete(inbox_id: UUID, db: Session) -> Inbox:
        """Delete the inbox and free its room in the plan; its address is never given again."""
        tenant_id = _lock(inbox_id, db, peek=True).tenant_id
        # Locks go tenant first, then inbox, everywhere.
        tenant = db.scalars(select(Tenant).where(Tenant.id == tenant_id).with_for_update()).one()
        inbox = _lock(inbox_id, db)
        before, inbox.status = inbox.status, InboxStatus.DELETED
        tenant.inboxes_count -= 1
        _changed(inbox, "inbox_deleted", db, {"status": [str(before), "deleted"]})
        return inbox


def _lock(inbox_id: UUID, db: Session, *, peek: bool = False) -> Inbox:
    statement = select(Inbox).where(Inbox.id == inbox_id, Inbox.status != InboxStatus.DELETED)
    if not peek:
        statement = statement.with_for_update().execution_options(populate_existing=True)
    inbox = db.scalars(statement).one_or_none()
    if inbox is None:
        raise errors.NotFound(resource="inbox")
    return inbox


def _changed(inbox: Inbox, action: str, db: Session, changes: dict[str, list[str]]) -> None:
    audit.write(db, inbox.tenant_id, action, "inbox", inbox.id, changes)
    outbox.record(db, events.InboxChanged(tenant_id=inbox.tenant_id, inbox_id=inbox.id))
