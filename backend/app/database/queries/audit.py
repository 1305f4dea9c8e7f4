"""Reading the audit trail: for its tenant, for whoever verifies it, for keeping its heads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import islice
from typing import Any
from uuid import UUID

from sqlalchemy import Select, exists, func, select, text
from sqlalchemy.orm import Session

from app.database.models import AuditLog, Tenant
from app.rules import audit_chain

BLOCK = 2_000


@dataclass(frozen=True)
class Filters:
    """What of the trail is asked for; None leaves a side open."""

    action: str | None = None
    actor_id: UUID | None = None
    actor_type: str | None = None
    resource_type: str | None = None
    resource_id: UUID | None = None
    since: datetime | None = None
    before: datetime | None = None


def trail(filters: Filters) -> Select[AuditLog]:
    """The rows that pass, in no order yet."""
    statement = select(AuditLog)
    for name in ("action", "actor_id", "actor_type", "resource_type", "resource_id"):
        if (value := getattr(filters, name)) is not None:
            statement = statement.where(getattr(AuditLog, name) == value)
    if filters.since is not None:
        statement = statement.where(AuditLog.created_at >= filters.since)
    if filters.before is not None:
        statement = statement.where(AuditLog.created_at < filters.before)
    return statement


def page(
    db: Session, filters: Filters, *, after: int | None, limit: int
) -> tuple[list[AuditLog], int | None]:
    """At most `limit` rows, the newest first, and the seq to continue after; None at the end.

    For a session of one tenant, whose rows `seq` numbers.
    """
    statement = trail(filters)
    if after is not None:
        statement = statement.where(AuditLog.seq < after)
    rows = list(db.scalars(statement.order_by(AuditLog.seq.desc()).limit(limit + 1)))
    more = len(rows) > limit
    rows = rows[:limit]
    return rows, rows[-1].seq if more else None


def every(db: Session, filters: Filters) -> Iterator[AuditLog]:
    """All rows that pass, the newest first, read in blocks."""
    statement = trail(filters).order_by(AuditLog.seq.desc())
    return iter(db.scalars(statement.execution_options(yield_per=BLOCK)))


# Verification -----------------------------------------------------------------------------------

_COLUMNS = [getattr(AuditLog, name) for name in (*audit_chain.FIELDS, "previous_hash", "hash")]


def chains(db: Session, tenant_id: UUID | None = None) -> Iterator[audit_chain.Sealed]:
    """Every row with its place, sorted by tenant and seq, read in blocks."""
    statement = select(*_COLUMNS).order_by(AuditLog.tenant_id, AuditLog.seq)
    if tenant_id is not None:
        statement = statement.where(AuditLog.tenant_id == tenant_id)
    return map(_sealed, db.execute(statement.execution_options(yield_per=BLOCK)))


def recent_chains(db: Session, since: datetime) -> Iterator[audit_chain.Sealed]:
    """The end of each chain, from the first row on that is not older than `since`."""
    first = (
        select(func.min(AuditLog.seq))
        .where(AuditLog.tenant_id == Tenant.id, AuditLog.created_at >= since)
        .correlate(Tenant)
        .scalar_subquery()
    )
    begins = select(Tenant.id, first.label("seq")).subquery()
    statement = (
        select(*_COLUMNS)
        .join(begins, begins.c.id == AuditLog.tenant_id)
        .where(AuditLog.seq >= begins.c.seq)
        .order_by(AuditLog.tenant_id, AuditLog.seq)
    )
    return map(_sealed, db.execute(statement.execution_options(yield_per=BLOCK)))


def _sealed(row: Sequence[Any]) -> audit_chain.Sealed:
    *fields, previous, hash_ = row
    named = dict(zip(audit_chain.FIELDS, fields, strict=True))
    return audit_chain.Sealed(audit_chain.Row(**named), bytes(previous), bytes(hash_))


MOST_FAULTS = 1_000
"""Named of all; a chain that was renumbered is wrong from there on."""


def verify(
    db: Session, heads: audit_chain.Heads, *, tenant_id: UUID | None = None
) -> dict[str, Any]:
    """How many chains and rows were read, and what is wrong with them, for people and as JSON."""
    chains_seen, rows_seen, last = 0, 0, None

    def counted() -> Iterator[audit_chain.Sealed]:
        nonlocal chains_seen, rows_seen, last
        for sealed in chains(db, tenant_id):
            rows_seen += 1
            if sealed.row.tenant_id != last:
                chains_seen, last = chains_seen + 1, sealed.row.tenant_id
            yield sealed

    found = list(islice(audit_chain.faults(counted(), heads), MOST_FAULTS))
    told = {fault.tenant_id for fault in found}
    found += [
        audit_chain.Fault(id_, 1, audit_chain.FaultKind.REMOVED)
        for id_ in without_a_chain(db, tenant_id)
        if id_ not in told
    ]
    return {
        "chains": chains_seen,
        "rows": rows_seen,
        "faults": [asdict(fault) for fault in found],
    }


def without_a_chain(db: Session, tenant_id: UUID | None = None) -> Sequence[UUID]:
    """Tenants of whom nothing is written down: their sign-up was, so it is gone."""
    statement = select(Tenant.id).where(~exists().where(AuditLog.tenant_id == Tenant.id))
    if tenant_id is not None:
        statement = statement.where(Tenant.id == tenant_id)
    return db.scalars(statement.order_by(Tenant.id)).all()


@dataclass(frozen=True)
class Head:
    """The end of one tenant's chain."""

    tenant_id: UUID
    seq: int
    hash: bytes


def heads(db: Session) -> list[Head]:
    """The end of every chain, of a session that sees all tenants."""
    rows = db.execute(
        text(
            "SELECT t.id, head.seq, head.hash FROM tenants t CROSS JOIN LATERAL ("
            " SELECT seq, hash FROM audit_logs WHERE tenant_id = t.id ORDER BY seq DESC LIMIT 1"
            ") AS head ORDER BY t.id"
        )
    )
    return [Head(row.id, row.seq, bytes(row.hash)) for row in rows]
