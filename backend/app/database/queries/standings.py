"""What is recorded of blocklists: whom to ask about next, and what is known."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.database.models import (
    AddressStanding,
    Decision,
    DecisionAction,
    Domain,
    DomainStanding,
    DomainStatus,
)
from app.rules import blocklists
from app.rules.blocklists import State
from app.rules.warmup import Listing


def due_domains(db: Session, before: datetime, limit: int) -> list[tuple[UUID, UUID, str]]:
    """(id, tenant, name) of active domains that no list was asked about since `before`."""
    asked = select(DomainStanding.id).where(
        DomainStanding.domain_id == Domain.id,
        DomainStanding.ended_at.is_(None),
        DomainStanding.tried_at > before,
    )
    rows = db.execute(
        select(Domain.id, Domain.tenant_id, Domain.domain_name)
        .where(Domain.status == DomainStatus.ACTIVE, ~asked.exists())
        .order_by(Domain.tenant_id, Domain.id)
        .limit(limit)
    )
    return [(row.id, row.tenant_id, row.domain_name) for row in rows]


def addresses_asked_since(db: Session, before: datetime) -> set[str]:
    return set(
        db.scalars(
            select(AddressStanding.address).where(
                AddressStanding.ended_at.is_(None), AddressStanding.tried_at > before
            )
        )
    )


def of_domains(db: Session, ids: Sequence[UUID]) -> dict[tuple[UUID, str], DomainStanding]:
    """The present by domain and list."""
    rows = db.scalars(
        select(DomainStanding).where(
            DomainStanding.domain_id.in_(ids), DomainStanding.ended_at.is_(None)
        )
    )
    return {(row.domain_id, row.zone): row for row in rows}


def of_all_domains(db: Session, lists: Sequence[str]) -> list[DomainStanding]:
    """The present of all domains that the session sees and that are not deleted."""
    return list(
        db.scalars(
            select(DomainStanding)
            .join(Domain, Domain.id == DomainStanding.domain_id)
            .where(DomainStanding.ended_at.is_(None), DomainStanding.zone.in_(lists))
            .order_by(Domain.domain_name, DomainStanding.zone)
        )
    )


def of_addresses(db: Session) -> dict[tuple[str, str], AddressStanding]:
    """The present by address and list."""
    rows = db.scalars(select(AddressStanding).where(AddressStanding.ended_at.is_(None)))
    return {(row.address, row.zone): row for row in rows}


def past_listings(db: Session, limit: int) -> list[DomainStanding]:
    """Listings of the session's tenant that have ended, the latest first."""
    return list(
        db.scalars(
            select(DomainStanding)
            .where(DomainStanding.state == State.LISTED.value, DomainStanding.ended_at.is_not(None))
            .order_by(DomainStanding.id.desc())
            .limit(limit)
        )
    )


def reinstated_at(db: Session, tenant_id: UUID) -> datetime | None:
    """When the tenant was last let back in."""
    return db.scalar(
        select(func.max(Decision.created_at)).where(
            Decision.tenant_id == tenant_id,
            Decision.action == DecisionAction.REINSTATE,
            Decision.inbox_id.is_(None),
        )
    )


def listings(
    db: Session, ids: Sequence[UUID], lists: Sequence[str], now: datetime
) -> dict[UUID, Listing]:
    """What the `lists` together say of each domain.

    One confirmed listing is enough; one that is not confirmed yet makes it unknown, as does the
    lack of any answer of the last day.
    """
    if not lists:
        return dict.fromkeys(ids, Listing.UNCHECKED)
    found = dict.fromkeys(ids, Listing.UNKNOWN)
    rows = [row for row in of_domains(db, ids).values() if row.zone in lists]
    for row in rows:
        answered = row.looked_at is not None and now - row.looked_at <= blocklists.FRESH_FOR
        if answered and row.state == State.CLEAR:
            found[row.domain_id] = Listing.CLEAR
    for row in rows:
        if row.state == State.LISTED:
            found[row.domain_id] = Listing.UNKNOWN
    for row in rows:
        if row.state == State.LISTED and row.confirmed_at is not None:
            found[row.domain_id] = Listing.LISTED
    return found
