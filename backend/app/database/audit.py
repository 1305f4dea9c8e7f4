"""The audit trail: who did what to what, written in the transaction of the deed.

Deeds are noted in the session and become rows when its transaction is committed: numbered and
chained within each tenant, in one statement. So the tenant's chain is locked only for the last
moment of a transaction, and what is rolled back, as a whole or to a savepoint, leaves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Table, event, text
from sqlalchemy.orm import Session, SessionTransaction

from app import clock
from app.database import bulk
from app.database.tables.base import new_id
from app.database.tables.tenancy import AuditLog
from app.rules import audit_chain, audit_changes


@dataclass(frozen=True)
class Actor:
    """Who acts: `kind` is user, api_key, operator or system."""

    kind: str = "system"
    id: UUID | None = None
    ip: str | None = None
    request_id: str | None = None


SYSTEM = Actor()
_actor: ContextVar[Actor] = ContextVar("actor", default=SYSTEM)


def acting_as(actor: Actor) -> None:
    """Whom the deeds of this request are put down to."""
    _actor.set(actor)


@contextmanager
def acting(actor: Actor) -> Iterator[None]:
    """Whom the deeds within are put down to."""
    before = _actor.set(actor)
    try:
        yield
    finally:
        _actor.reset(before)


def actor() -> Actor:
    return _actor.get()


# Noting deeds -----------------------------------------------------------------------------------

_NOTED: Final = "audit_noted"


@dataclass(frozen=True)
class _Deed:
    """One action on any number of resources of one kind: that many rows."""

    tenant_id: UUID
    action: str
    resource_type: str
    resource_ids: Sequence[UUID | None]
    changes: str
    """JSON in the canonical form."""
    actor_type: str
    actor_id: UUID | None
    ip: str | None
    request_id: str | None
    created_at: datetime

    def form(self) -> audit_chain.Form:
        return audit_chain.Form(**{name: getattr(self, name) for name in _SHARED})


_SHARED: Final = (
    "tenant_id", "action", "resource_type", "changes",
    "actor_type", "actor_id", "ip", "request_id", "created_at",
)  # fmt: skip


def write(
    db: Session,
    tenant_id: UUID,
    action: str,
    resource_type: str,
    resource_id: UUID | None = None,
    changes: Mapping[str, Any] | None = None,
) -> None:
    """Put one deed down; `changes` is {"field": [before, after]}.

    Raises UnfitForAudit for a field named like a secret or like somebody's name or address.
    """
    write_many(db, tenant_id, action, resource_type, [resource_id], changes)


def write_many(
    db: Session,
    tenant_id: UUID,
    action: str,
    resource_type: str,
    resource_ids: Sequence[UUID | None],
    changes: Mapping[str, Any] | None = None,
) -> None:
    """Put the same deed down for each of `resource_ids`."""
    if not resource_ids:
        return
    who = _actor.get()
    _noted(db)[-1].deeds.append(
        _Deed(
            tenant_id=tenant_id,
            action=action,
            resource_type=resource_type,
            resource_ids=tuple(resource_ids),
            changes=audit_chain.as_text(audit_changes.fit(changes or {})),
            actor_type=who.kind,
            actor_id=who.id,
            ip=who.ip,
            request_id=who.request_id,
            created_at=clock.now(),
        )
    )


def write_difference(
    db: Session,
    tenant_id: UUID,
    action: str,
    resource_type: str,
    resource_id: UUID | None,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
) -> None:
    """Put down what differs between two states of one thing; nothing when nothing does."""
    changes = {
        name: [before.get(name), value]
        for name, value in after.items()
        if before.get(name) != value
    }
    if changes:
        write(db, tenant_id, action, resource_type, resource_id, changes)


@dataclass
class _Frame:
    """What was noted since the transaction, or a savepoint in it, began."""

    deeds: list[_Deed] = field(default_factory=list)
    kept: bool = False


def _noted(db: Session) -> list[_Frame]:
    """The transaction's frame, and one for each savepoint that is open, the innermost last."""
    frames: list[_Frame] = db.info.setdefault(_NOTED, [_Frame()])
    return frames


@event.listens_for(Session, "after_transaction_create")
def _open_frame(db: Session, begun: SessionTransaction) -> None:
    if begun.nested:
        _noted(db).append(_Frame())


@event.listens_for(Session, "after_commit")
def _keep_frame(db: Session) -> None:
    _noted(db)[-1].kept = True


@event.listens_for(Session, "after_transaction_end")
def _close_frame(db: Session, ended: SessionTransaction) -> None:
    """What a savepoint kept is the surrounding transaction's; what it did not keep was not done."""
    if ended.nested:
        frame = _noted(db).pop()
        if frame.kept:
            _noted(db)[-1].deeds += frame.deeds
    elif ended.parent is None:
        db.info.pop(_NOTED, None)


# Making rows of them ----------------------------------------------------------------------------


@event.listens_for(Session, "before_commit")
def _before_commit(db: Session) -> None:
    if not db.in_nested_transaction():
        seal(db)


def seal(db: Session) -> None:
    """Number, chain and insert what was noted so far; done by itself before a commit.

    The chains stay locked until the transaction ends. In a savepoint it is what was noted in it.
    """
    frame = _noted(db)[-1]
    deeds, frame.deeds = frame.deeds, []
    if not deeds:
        return
    db.flush()  # The tenant may be new, and what waits for its lock must do so before the chain's.
    heads = _lock_chains(db, sorted({deed.tenant_id for deed in deeds}))
    of: list[_Deed] = []
    rows: list[tuple[int, UUID, UUID | None, bytes, bytes]] = []
    for deed in deeds:
        seq, previous = heads[deed.tenant_id]
        form = deed.form()
        for resource_id in deed.resource_ids:
            seq, id_ = seq + 1, new_id()
            hash_ = form.link(previous, seq, id_, resource_id)
            rows.append((seq, id_, resource_id, previous, hash_))
            previous = hash_
        heads[deed.tenant_id] = seq, previous
        of += [deed] * len(deed.resource_ids)
    names = ("seq", "id", "resource_id", "previous_hash", "hash")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    shared = {name: _column(list(map(attrgetter(name), of))) for name in _SHARED}
    table = AuditLog.__table__
    assert isinstance(table, Table)  # noqa: S101  # Declarative classes are mapped to tables.
    bulk.insert(db, table, {**columns, **shared}, len(rows))


# An aggregate has read, and so locked, every tenant before it gives the first id. Sorting is made
# unattractive for what little is left of the transaction: with statistics older than the last ten
# thousand rows the planner would fetch and sort them all instead of walking the index of `seq`.
_LOCK = text(
    """
    WITH tenant AS MATERIALIZED (
        SELECT id FROM tenants WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id FOR KEY SHARE
    ), held AS MATERIALIZED (SELECT array_agg(id ORDER BY id) AS ids FROM tenant)
    SELECT pg_advisory_xact_lock(hashtextextended('audit:' || CAST(id AS text), 0)),
        set_config('enable_sort', 'off', true), set_config('enable_incremental_sort', 'off', true)
    FROM held, unnest(held.ids) AS id
    """
)
_HEADS = text(
    """
    SELECT t.id, head.seq, head.hash FROM unnest(CAST(:ids AS uuid[])) AS t(id)
    CROSS JOIN LATERAL (
        SELECT seq, hash FROM audit_logs WHERE tenant_id = t.id ORDER BY seq DESC LIMIT 1
    ) AS head
    """
)


def _lock_chains(db: Session, tenant_ids: list[UUID]) -> dict[UUID, tuple[int, bytes]]:
    """The (seq, hash) at the end of each chain; nobody else adds to it until we are done.

    First the tenants, in the weak way that referring to them needs: with a chain locked nothing may
    be waited for any more. Both in one order everywhere, so that nobody waits in a circle.
    """
    locked = db.execute(_LOCK, {"ids": tenant_ids}).all()
    if len(locked) != len(tenant_ids):
        raise RuntimeError("A deed of a tenant whose rows this session does not see.")
    # A statement of its own, so that it sees what was committed while we waited.
    found = db.execute(_HEADS, {"ids": tenant_ids})
    heads = dict.fromkeys(tenant_ids, (0, audit_chain.GENESIS))
    return heads | {row.id: (row.seq, bytes(row.hash)) for row in found}


def _column(values: list[Any]) -> Any:
    """One value for all rows where there is but one: most of what is sent, at ten thousand rows."""
    return values[0] if values.count(values[0]) == len(values) else values
