"""Keeping the mail plane's directory equal to the database, which is the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import clock
from app.database.models import Domain, DomainStatus, Inbox, InboxStatus, Suppression, Tenant
from app.integrations import ports
from app.rules import pace
from app.services.subscription_service import SubscriptionService

BLOCK = 1_000


@dataclass(frozen=True)
class Repairs:
    """What a reconciliation found and mended."""

    checked: int
    inboxes: int
    killed: int
    revived: int
    restored: bool = False
    """Redis had been wiped and is whole again."""
    restarted: int = 0
    """Nodes that forgot their orders, or of which that is not known."""
    orders: int = 0
    """Suspensions given to nodes or taken away."""
    unreachable: int = 0
    """Nodes that could not be looked at."""

    @property
    def any(self) -> bool:
        found = self.inboxes, self.killed, self.revived, self.restored, self.orders
        return any(found) or self.unreachable > 0


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

    @staticmethod
    def reconcile(db: Session, mail: ports.MailPlatform) -> Repairs:
        """Compare the directory with the database and repair it; also after Redis was wiped.

        Expects a session that sees all tenants.
        """
        whole = mail.is_whole()
        token = "" if whole else mail.begin_restore()
        tenants = {tenant.id: tenant for tenant in db.scalars(select(Tenant))}
        killed, revived = _kill_set(tenants, mail)
        nodes = _nodes(db, tenants, mail)
        checked = repaired = 0
        last: UUID | None = None
        while block := _block(db, last):
            last = block[-1].id
            checked += len(block)
            wanted = [
                DirectoryService.entry(
                    inbox,
                    status=None if DirectoryService.open(tenants[inbox.tenant_id]) else "paused",
                )
                for inbox in block
            ]
            held = mail.directory([entry.username for entry in wanted])
            drifted = [entry for entry in wanted if held.get(entry.username) != entry]
            if drifted:
                mail.publish_inboxes(drifted)
                repaired += len(drifted)
        _domains_and_suppressions(db, mail, wiped=repaired > 0 or not whole)
        if not whole:
            _counters(db, mail)
            # The last step: until now the nodes have deferred everything.
            mail.end_restore(token)
        if repaired:
            mail.reload()
        return Repairs(
            checked,
            repaired,
            killed,
            revived,
            restored=not whole,
            restarted=sum(node.restarted for node in nodes),
            orders=sum(node.added + node.removed for node in nodes),
            unreachable=sum(not node.reachable for node in nodes),
        )


def unknown_to_the_relay(db: Session, mail: ports.MailPlatform) -> list[str]:
    """I8: ids of active inboxes whose login the relay does not know as we do.

    Those of tenants that may not send are no violation: they are kept out on purpose.
    """
    tenants = {tenant.id: tenant for tenant in db.scalars(select(Tenant))}
    wrong: list[str] = []
    last: UUID | None = None
    while block := _block(db, last):
        last = block[-1].id
        wanted = {
            inbox.id: DirectoryService.entry(inbox)
            for inbox in block
            if DirectoryService.open(tenants[inbox.tenant_id])
        }
        held = mail.directory([entry.username for entry in wanted.values()])
        wrong += [str(id_) for id_, entry in wanted.items() if held.get(entry.username) != entry]
    return wrong


def _block(db: Session, last: UUID | None) -> Sequence[Inbox]:
    living = select(Inbox).where(Inbox.status.in_([InboxStatus.ACTIVE, InboxStatus.PAUSED]))
    if last is not None:
        living = living.where(Inbox.id > last)
    return db.scalars(living.order_by(Inbox.id).limit(BLOCK)).all()


def _kill_set(tenants: dict[UUID, Tenant], mail: ports.MailPlatform) -> tuple[int, int]:
    suspended = {str(tenant.id) for tenant in tenants.values() if tenant.is_suspended}
    held = mail.killed_tenants()
    for tenant_id in suspended - held:
        mail.kill_tenant(tenant_id, reason="reconciled")
    stale = held - suspended
    for tenant_id in stale:
        mail.revive_tenant(tenant_id)
    return len(suspended - held), len(stale)


def _nodes(
    db: Session, tenants: dict[UUID, Tenant], mail: ports.MailPlatform
) -> list[ports.NodeRepairs]:
    """Every node holds the queued mail of suspended tenants and of paused inboxes."""
    suspended = {str(tenant.id) for tenant in tenants.values() if tenant.is_suspended}
    paused = db.scalars(select(Inbox.id).where(Inbox.status == InboxStatus.PAUSED))
    return mail.align_nodes(suspended, {str(id_) for id_ in paused})


def _counters(db: Session, mail: ports.MailPlatform) -> None:
    """What was sent, as far as its events have arrived; without it a wipe gives a second quota."""
    today = clock.now().date()
    rows = db.execute(
        select(
            Inbox.id, Inbox.sent_on, Inbox.emails_sent_today, Inbox.emails_sent_this_month
        ).where(Inbox.status != InboxStatus.DELETED, Inbox.sent_on >= today.replace(day=1))
    )
    mail.restore_counters(
        [
            ports.Sent(str(id_), today, on_the_day if sent_on == today else 0, in_the_month)
            for id_, sent_on, on_the_day, in_the_month in rows
        ]
    )


def _domains_and_suppressions(db: Session, mail: ports.MailPlatform, *, wiped: bool) -> None:
    """Writing them is cheap and idempotent; it is done when something was found missing."""
    if not wiped:
        return
    for domain in db.scalars(select(Domain).where(Domain.kumo_authorized)):
        if domain.status == DomainStatus.ACTIVE and domain.dkim_selector is not None:
            mail.add_relay(
                domain.domain_name, tenant_id=str(domain.tenant_id), selector=domain.dkim_selector
            )
    by_tenant: dict[UUID, list[str]] = {}
    for row in db.scalars(select(Suppression)):
        by_tenant.setdefault(row.tenant_id, []).append(row.target)
    for tenant_id, targets in by_tenant.items():
        mail.suppress(str(tenant_id), targets)
