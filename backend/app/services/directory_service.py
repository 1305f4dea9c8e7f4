"""Keeping the mail plane's directory equal to the database, which is the truth."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session, load_only

from app.database.models import Inbox, InboxStatus, Tenant
from app.integrations import ports
from app.rules import pace
from app.services.subscription_service import SubscriptionService

BLOCK = 1_000
_ENTRY = (
    Inbox.tenant_id,
    Inbox.username,
    Inbox.full_email,
    Inbox.password_hmac,
    Inbox.status,
    Inbox.daily_limit,
    Inbox.monthly_limit,
)
"""What an entry is made of; the other columns are several times as long."""


class DirectoryService:
    @staticmethod
    def entry(inbox: Inbox, *, status: str | None = None) -> ports.InboxEntry:
        return ports.InboxEntry(
            username=inbox.username.lower(),
            inbox_id=str(inbox.id),
            tenant_id=str(inbox.tenant_id),
            domain=inbox.full_email.rpartition("@")[2],
            email=inbox.full_email,
            password_hmac=inbox.password_hmac,
            status=status or str(inbox.status),
            daily_limit=inbox.daily_limit,
            monthly_limit=inbox.monthly_limit,
            hourly_limit=pace.hourly_limit(inbox.daily_limit),
            recipient_domain_limit=pace.recipient_domain_limit(inbox.daily_limit),
        )

    @staticmethod
    def open(tenant: Tenant) -> bool:
        """Whether this tenant's inboxes stand in the directory as active.

        A suspended tenant's do as well: the kill set refuses them, and taking it away is enough to
        let them in again.
        """
        return SubscriptionService.is_entitled(tenant)

    @staticmethod
    def publish(
        inboxes: Sequence[Inbox], mail: ports.MailPlatform, *, sending: bool = True
    ) -> None:
        """Write living inboxes, remove deleted ones; without `sending` they are written paused."""
        gone = [i.username.lower() for i in inboxes if i.status == InboxStatus.DELETED]
        living = [
            DirectoryService.entry(i, status=None if sending else "paused")
            for i in inboxes
            if i.status in {InboxStatus.ACTIVE, InboxStatus.PAUSED}
        ]
        if gone:
            mail.remove_inboxes(gone)
        if living:
            mail.publish_inboxes(living)
        if gone or living:
            mail.reload()


def unknown_to_the_relay(db: Session, mail: ports.MailPlatform) -> list[str]:
    """I8: ids of active inboxes whose login the relay does not know as we do.

    Those of tenants that may not send are no violation: they are kept out on purpose.
    """
    tenants = {tenant.id: tenant for tenant in db.scalars(select(Tenant))}
    wrong: list[str] = []
    last: UUID | None = None
    while block := living(db, last):
        last = block[-1].id
        wanted = [
            DirectoryService.entry(inbox)
            for inbox in block
            if DirectoryService.open(tenants[inbox.tenant_id])
        ]
        wrong += [entry.inbox_id for entry in mail.drifted(wanted)]
    return wrong


def living(db: Session, last: UUID | None) -> Sequence[Inbox]:
    """The next inboxes that may be known to the relay, after the one with id `last`."""
    wanted = (
        select(Inbox)
        .where(Inbox.status.in_([InboxStatus.ACTIVE, InboxStatus.PAUSED]))
        .options(load_only(*_ENTRY, raiseload=True))
    )
    if last is not None:
        wanted = wanted.where(Inbox.id > last)
    return db.scalars(wanted.order_by(Inbox.id).limit(BLOCK)).all()
