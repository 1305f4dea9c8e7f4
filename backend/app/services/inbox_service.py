"""The life of one inbox after it was made."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import errors, events
from app.database import audit, outbox
from app.database.models import Inbox, InboxStatus, Tenant
from app.integrations import ports
from app.services import inbox_batch
from app.services.inbox_batch import password_context
from app.services.provisioning_service import ProvisioningService
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

    @staticmethod
    def move(inbox_id: UUID, domain_id: UUID, db: Session) -> tuple[Inbox, str]:
        """The same person at another domain: a new inbox with a new password; the old one ends.

        A name at another domain is another address, so nothing of it carries over: it warms up
        from the first day, and what the old one had queued fails. The plan's room stays as it is.
        Raises NotFound, Conflict for the domain it has, DomainNotReady, Invalid for a taken name.
        """
        old = _lock(inbox_id, db, peek=True)
        if old.domain_id == domain_id:
            raise errors.Conflict("The inbox is at this domain already.")
        # First the old one: the new one may need its room.
        old = InboxService.delete(inbox_id, db)
        made = ProvisioningService.provision_inboxes(
            old.tenant_id, domain_id, 1, "custom", names=[old.local_part], db=db
        )
        new = db.get_one(Inbox, made.inboxes[0].id)
        new.first_name, new.last_name = old.first_name, old.last_name
        audit.write(
            db,
            old.tenant_id,
            "inbox_moved",
            "inbox",
            old.id,
            {"domain_id": [old.domain_id, domain_id], "inbox_id": [old.id, new.id]},
        )
        return new, inbox_batch.credential_of(new, ports.current().platform).password


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
