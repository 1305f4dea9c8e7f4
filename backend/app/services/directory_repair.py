"""Comparing the mail plane with the database, which is the truth, and repairing the mail plane.

Whatever the mail plane was told had been committed before, or is just being committed by somebody
who holds a lock on the row. So the copy is looked at first and the truth afterwards, and where that
order is not enough the row is locked for the moment of the repair. A row that somebody else holds
is left for the next look.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import clock, errors
from app.database.models import Domain, DomainStatus, Inbox, InboxStatus, Suppression, Tenant
from app.database.session import passing_locks
from app.integrations import ports
from app.services import directory_service
from app.services.directory_service import DirectoryService
from app.services.node_service import NodeService
from app.utils import monitoring


@dataclass(frozen=True)
class Repairs:
    """What a comparison found and mended."""

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
    draining: int = 0
    """Nodes that let people in and should not have, or the other way round."""
    strangers: int = 0
    """Logins that belong to no inbox any more."""
    domains: int = 0
    suppressions: int = 0

    @property
    def any(self) -> bool:
        noise = {"checked", "restarted"}
        return any(getattr(self, field.name) for field in fields(self) if field.name not in noise)


def reconcile(db: Session, mail: ports.MailPlatform, *, thorough: bool = True) -> Repairs:
    """Compare and repair; also after Redis was wiped. Expects a session that sees all tenants.

    Without `thorough`, strangers, domains and suppressions are looked at only when something else
    was found wrong.
    """
    whole = mail.is_whole()
    token = "" if whole else mail.begin_restore()
    killed, revived = _kill_set(db, mail)
    nodes = mail.align_nodes(lambda: _stopped(db))
    draining = NodeService.observe(nodes, db, mail)
    checked, inboxes = _inboxes(db, mail)
    strangers = domains = suppressions = 0
    if thorough or inboxes or not whole:
        strangers = _strangers(db, mail)
        domains = _domains(db, mail)
        suppressions = _suppressions(db, mail)
    restored = False
    if not whole:
        _counters(db, mail)
        # The last step: until now the nodes have deferred everything.
        restored = mail.end_restore(token)
    if inboxes or revived:
        # A node that is away reads everything anew when it is back.
        with suppress(errors.ProviderUnavailable):
            mail.reload()
    found = Repairs(
        checked,
        inboxes,
        killed,
        revived,
        restored,
        restarted=sum(node.restarted for node in nodes),
        orders=sum(node.added + node.removed for node in nodes),
        unreachable=sum(not node.reachable for node in nodes),
        draining=draining,
        strangers=strangers,
        domains=domains,
        suppressions=suppressions,
    )
    for field in fields(found):
        if field.name not in {"checked", "unreachable"}:
            monitoring.MAIL_PLANE_REPAIRS.labels(what=field.name).inc(getattr(found, field.name))
    monitoring.NODES_UNREACHABLE.set(found.unreachable)
    return found


def _kill_set(db: Session, mail: ports.MailPlatform) -> tuple[int, int]:
    held = mail.killed_tenants()
    suspended, _ = _stopped(db)
    mail.mark_killed(suspended - held)
    mail.unmark_killed(held - suspended)
    return len(suspended - held), len(held - suspended)


def _stopped(db: Session) -> tuple[set[str], set[str]]:
    """Ids of the tenants and of the inboxes whose queued mail must wait."""
    tenants = db.scalars(select(Tenant.id).where(Tenant.is_suspended))
    paused = db.scalars(select(Inbox.id).where(Inbox.status == InboxStatus.PAUSED))
    return {str(id_) for id_ in tenants}, {str(id_) for id_ in paused}


# Logins -----------------------------------------------------------------------------------------


def _inboxes(db: Session, mail: ports.MailPlatform) -> tuple[int, int]:
    """How many were compared, and how many were written anew."""
    tenants = {tenant.id: tenant for tenant in db.scalars(select(Tenant))}
    checked = repaired = 0
    last: UUID | None = None
    while block := directory_service.living(db, last):
        last = block[-1].id
        checked += len(block)
        drifted = mail.drifted([_entry(i, tenants.get(i.tenant_id)) for i in block])
        if drifted:
            repaired += _rewrite([UUID(entry.inbox_id) for entry in drifted], db, mail)
    return checked, repaired


def _rewrite(ids: Sequence[UUID], db: Session, mail: ports.MailPlatform) -> int:
    with passing_locks(db):
        # Whoever changes one of these rows has told the relay already, or will.
        mine = db.scalars(
            select(Inbox)
            .where(Inbox.id.in_(ids), Inbox.status.in_([InboxStatus.ACTIVE, InboxStatus.PAUSED]))
            .order_by(Inbox.id)
            .with_for_update(read=True, skip_locked=True)
            .execution_options(populate_existing=True)
        ).all()
        owners = {inbox.tenant_id for inbox in mine}
        fresh = select(Tenant).where(Tenant.id.in_(owners))
        tenants = {
            tenant.id: tenant
            for tenant in db.scalars(fresh.execution_options(populate_existing=True))
        }
        mail.publish_inboxes([_entry(inbox, tenants.get(inbox.tenant_id)) for inbox in mine])
    return len(mine)


def _entry(inbox: Inbox, tenant: Tenant | None) -> ports.InboxEntry:
    """A tenant that is not known yet has come since; the next look sees it."""
    sends = tenant is not None and DirectoryService.open(tenant)
    return DirectoryService.entry(inbox, status=None if sends else "paused")


def _strangers(db: Session, mail: ports.MailPlatform) -> int:
    removed = 0
    for names in mail.usernames():
        known = select(Inbox.username).where(
            Inbox.username.in_(names), Inbox.status != InboxStatus.DELETED
        )
        # A login is published after its inbox was committed, and its name is never given again.
        unknown = set(names) - {name.lower() for name in db.scalars(known)}
        mail.remove_inboxes(sorted(unknown))
        removed += len(unknown)
    return removed


# Domains and suppressions -----------------------------------------------------------------------


def _domains(db: Session, mail: ports.MailPlatform) -> int:
    held = mail.relays()
    wanted = {name: relay for name, relay in _relays(db) if relay is not None}
    # A damaged entry is held as None, which equals nothing that is wanted.
    wrong = sorted(n for n in held.keys() | wanted.keys() if held.get(n, "") != wanted.get(n, ""))
    with passing_locks(db):
        rows = db.scalars(
            select(Domain)
            .where(Domain.domain_name.in_(wrong))
            .order_by(Domain.id)
            .with_for_update(read=True, skip_locked=True)
            .execution_options(populate_existing=True)
        ).all()
        mine = {domain.domain_name: domain for domain in rows}
        busy = set(db.scalars(select(Domain.domain_name).where(Domain.domain_name.in_(wrong))))
        busy -= mine.keys()
        mended = [name for name in wrong if name not in busy]
        for name in mended:
            relay = _relay(mine[name]) if name in mine else None
            if relay is None:
                mail.remove_relay(name)
            else:
                mail.add_relay(name, tenant_id=relay[0], selector=relay[1])
    return len(mended)


def _relays(db: Session) -> list[tuple[str, tuple[str, str] | None]]:
    rows = db.scalars(select(Domain).where(Domain.kumo_authorized))
    return [(domain.domain_name, _relay(domain)) for domain in rows]


def _relay(domain: Domain) -> tuple[str, str] | None:
    """Tenant and selector of a domain that may send."""
    sends = domain.kumo_authorized and domain.status == DomainStatus.ACTIVE
    if not sends or domain.dkim_selector is None:
        return None
    return str(domain.tenant_id), domain.dkim_selector


def _suppressions(db: Session, mail: ports.MailPlatform) -> int:
    held = mail.suppressed()
    wanted: dict[str, set[str]] = {}
    rows = db.execute(select(Suppression.tenant_id, Suppression.target))
    for owner, target in rows.yield_per(directory_service.BLOCK):
        wanted.setdefault(str(owner), set()).add(target)
    mended = 0
    for tenant_id in sorted(held.keys() | wanted.keys()):
        present, right = held.get(tenant_id, set()), wanted.get(tenant_id, set())
        # A refusal too many is the smaller harm, so what is missing is written without a lock.
        mail.suppress(tenant_id, sorted(right - present))
        mended += len(right - present)
        if present - right:
            mended += _forget(tenant_id, present - right, db, mail)
    return mended


def _forget(tenant_id: str, targets: Collection[str], db: Session, mail: ports.MailPlatform) -> int:
    """Take away what is on no list; the relay is told of a new one before that is committed."""
    with passing_locks(db):
        # Whoever adds a row refers to the tenant and thereby keeps this lock from us.
        locked = db.scalar(
            select(Tenant.id).where(Tenant.id == UUID(tenant_id)).with_for_update(skip_locked=True)
        )
        if locked is None and db.get(Tenant, UUID(tenant_id)) is not None:
            return 0
        listed = select(Suppression.target).where(
            Suppression.tenant_id == UUID(tenant_id), Suppression.target.in_(targets)
        )
        gone = set(targets) - set(db.scalars(listed))
        mail.unsuppress(tenant_id, sorted(gone))
    return len(gone)


# Counters ---------------------------------------------------------------------------------------


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
