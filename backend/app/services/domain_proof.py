"""Looking for the proof that a connected name is its tenant's: the first time, and ever after.

Expects sessions that see all tenants: whether a name is free cannot be seen from inside one.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from app import clock, errors, events
from app.database import audit, outbox
from app.database.models import (
    Domain,
    DomainConnection,
    DomainStatus,
    NoticeKind,
    StepName,
    Tenant,
)
from app.integrations import ports
from app.rules import domain_claims
from app.services import domain_brought, domain_connection, domain_steps, notices

_LEASE = timedelta(minutes=10)
"""How long a look that was ordered may take before another is."""

_BATCH = 500
_LOCKS = 7_264_017
"""The class of the advisory locks that proofs of related names take one after the other."""

LOST = "ownership: "
"""How the failure begins of a name whose proof is gone."""

_OVER = (DomainStatus.FAILED, DomainStatus.EXPIRED, DomainStatus.DELETED)
_NOT_HELD = (*_OVER, DomainStatus.VERIFYING_OWNERSHIP)


def claim_due(db: Session) -> list[UUID]:
    """The names whose turn it is; a second caller at the same time gets others."""
    now = clock.now()
    rows = db.scalars(
        select(DomainConnection)
        .join(Domain, Domain.id == DomainConnection.domain_id)
        .where(DomainConnection.next_look_at <= now, Domain.status.not_in(_OVER))
        .order_by(DomainConnection.next_look_at)
        .limit(_BATCH)
        .with_for_update(skip_locked=True, of=DomainConnection)
    ).all()
    for row in rows:
        row.next_look_at = now + _LEASE
    return [row.domain_id for row in rows]


def look(domain_id: UUID, db: Session, *, providers: ports.Providers | None = None) -> None:
    """Look for the proof of one name and do what follows from it. Repeats are harmless.

    Raises ProviderUnavailable when no server answers: silence proves nothing, and loses nothing.
    """
    providers = providers or ports.current()
    brought = db.scalars(
        select(Domain.domain_name)
        .join(DomainConnection, DomainConnection.domain_id == Domain.id)
        .where(Domain.id == domain_id, Domain.status.not_in(_OVER))
    ).one_or_none()
    if brought is None:
        return
    # Names above and below one another share it; the second proof sees what the first has done.
    top = zlib.crc32(domain_claims.registrable(brought).encode()) - 2**31
    db.execute(select(func.pg_advisory_xact_lock(_LOCKS, top)))
    domain = domain_steps.lock(domain_id, db)
    connection = domain_brought.connection_of(domain, db)
    if connection is None or domain.status in _OVER:
        return
    proven = _is_proven(domain, connection, providers.resolver)
    if domain.status == DomainStatus.VERIFYING_OWNERSHIP:
        _first_time(domain, connection, proven, providers, db)
    elif proven:
        _still(domain, connection, db)
    else:
        _gone(domain, connection, providers, db)


def _is_proven(domain: Domain, connection: DomainConnection, resolver: ports.DNSResolver) -> bool:
    was_ours = connection.proven_at is not None and bool(domain.name_servers)
    if was_ours and domain_brought.is_delegated(domain, resolver):
        # Who lets our zone answer for the name still wants it with us.
        return True
    answers = resolver.lookup(domain_claims.challenge_name(domain.domain_name), "TXT")
    return domain_claims.proves(answers, connection.token)


# The first proof --------------------------------------------------------------------------------


def _first_time(
    domain: Domain,
    connection: DomainConnection,
    proven: bool,
    providers: ports.Providers,
    db: Session,
) -> None:
    now = clock.now()
    row = domain_steps.begin(domain, StepName.OWNERSHIP, db)
    connection.next_look_at = now + domain_claims.pause(domain.created_at, now)
    if not proven:
        if now - domain.created_at >= domain_claims.CLAIM_LIFE:
            why = "nobody proved the ownership in time; connect it again to go on"
            domain_steps.give_up(domain, row, why)
            domain_connection.release(domain, "domain_claim_dropped", why, providers, db)
            _tell(domain, "dropped", why, db)
            return
        domain_steps.wait(
            row, 0.0, f"no proof yet at TXT {domain_claims.challenge_name(domain.domain_name)}"
        )
        return
    holders = _holders(domain, db)
    if any(not _yields(holder, db) for holder in holders):
        why = "another account holds this name, or one above it; it must be let go of there first"
        connection.next_look_at = now + domain_claims.REPROVE
        if domain.failure != why:
            domain_steps.give_up(domain, row, why)
            domain_steps.move(domain, "domain_claim_refused", db, failure=[None, why])
            _tell(domain, "refused", why, db)
        return
    for holder in holders:
        why = "its proof was gone, and another account has proven it"
        domain_connection.release(holder, "domain_ownership_passed", why, providers, db)
        _tell(holder, "passed", why, db)
    db.flush()  # The index must see the old holder go before the new one comes.
    connection.proven_at, connection.lost_at = now, None
    connection.next_look_at = now + domain_claims.REPROVE
    _accept(domain, connection, db)
    for other in _rivals(domain, db):
        _tell(other, "lost", "another account has proven this name before you", db)


def _accept(domain: Domain, connection: DomainConnection, db: Session) -> None:
    ids = {"tenant_id": domain.tenant_id, "domain_id": domain.id}
    if connection.dns == domain_connection.NAMESERVERS:
        following, status = StepName.ZONE, DomainStatus.REGISTERED
        outbox.record(db, events.DomainOwnershipProven(**ids))
    else:
        following, status = StepName.VERIFICATION, DomainStatus.VERIFYING_DNS
        outbox.record(db, events.DomainDelegated(**ids))
    domain_steps.finish(domain, StepName.OWNERSHIP, db, then=following)
    domain_steps.move(domain, "domain_ownership_proven", db, status=status)
    db.flush()  # Now, so that the index speaks while nothing depends on it.


def _holders(domain: Domain, db: Session) -> Sequence[Domain]:
    """Living names of other tenants that are this one or stand above it.

    Who controls a name controls what is below it, so one below somebody else's is refused; one
    above is not, for the owner of example.com must not be kept out by a customer's name below it.
    """
    names = (domain.domain_name, *domain_claims.above(domain.domain_name))
    return db.scalars(
        select(Domain)
        .where(
            Domain.domain_name.in_(names),
            Domain.tenant_id != domain.tenant_id,
            Domain.status.not_in(_NOT_HELD),
        )
        .order_by(Domain.id)
        .with_for_update(key_share=True)
    ).all()


def _yields(holder: Domain, db: Session) -> bool:
    """Whether a name is held only by a proof that was not renewed in its time of grace."""
    connection = domain_brought.connection_of(holder, db)
    lost_at = None if connection is None else connection.lost_at
    return lost_at is not None and clock.now() - lost_at >= domain_claims.GRACE


def _rivals(domain: Domain, db: Session) -> Sequence[Domain]:
    return db.scalars(
        select(Domain).where(
            or_(
                Domain.domain_name == domain.domain_name,
                Domain.domain_name.endswith(f".{domain.domain_name}", autoescape=True),
            ),
            Domain.tenant_id != domain.tenant_id,
            Domain.status == DomainStatus.VERIFYING_OWNERSHIP,
        )
    ).all()


# Ever after -------------------------------------------------------------------------------------


def _still(domain: Domain, connection: DomainConnection, db: Session) -> None:
    connection.next_look_at = clock.now() + domain_claims.REPROVE
    if connection.lost_at is None:
        return
    connection.lost_at, connection.proven_at = None, clock.now()
    if (domain.failure or "").startswith(LOST):
        domain.failure = None
    if domain.status == DomainStatus.SUSPENDED:
        domain_steps.move(domain, "domain_ownership_restored", db, status=DomainStatus.AUTHORIZING)
        outbox.record(db, events.DomainVerified(tenant_id=domain.tenant_id, domain_id=domain.id))
    else:
        domain_steps.move(domain, "domain_ownership_restored", db)


def _gone(
    domain: Domain, connection: DomainConnection, providers: ports.Providers, db: Session
) -> None:
    now = clock.now()
    connection.next_look_at = now + timedelta(hours=1)
    record = (
        f"TXT {domain_claims.challenge_name(domain.domain_name)}"
        f" {domain_claims.challenge_value(connection.token)}"
    )
    if connection.lost_at is None:
        connection.lost_at = now
        until = f"{now + domain_claims.GRACE:%Y-%m-%d}"
        why = f"the proof is gone; mail from it stops on {until} unless you publish {record}"
        domain.failure = f"{LOST}{why}"[:500]
        domain_steps.move(domain, "domain_ownership_lost", db, failure=[None, domain.failure])
        _tell(domain, f"gone:{now:%Y-%m-%dT%H:%M:%S}", why, db)
    elif (
        # One that is still being set up sends nothing; it is stopped once it would.
        domain.status == DomainStatus.ACTIVE and now - connection.lost_at >= domain_claims.GRACE
    ):
        domain_connection.stop(domain, providers)
        why = f"mail from it has stopped, its proof is gone; publish {record}, and it goes on"
        before, domain.failure = domain.failure, f"{LOST}{why}"[:500]
        domain_steps.move(
            domain,
            "domain_ownership_suspended",
            db,
            status=DomainStatus.SUSPENDED,
            failure=[before, domain.failure],
        )
        _tell(domain, f"stopped:{connection.lost_at:%Y-%m-%dT%H:%M:%S}", why, db)


def _tell(domain: Domain, fact: str, what: str, db: Session) -> None:
    notices.owe(
        db,
        domain.tenant_id,
        NoticeKind.DOMAIN_OWNERSHIP,
        f"{domain.id}:{fact}",
        domain_name=domain.domain_name,
        what=what,
    )


def overview(db: Session) -> list[dict[str, object]]:
    """Claims and lost proofs, for operators; the session sees all tenants."""
    rows = db.execute(
        select(Domain, DomainConnection, Tenant.company_name)
        .join(DomainConnection, DomainConnection.domain_id == Domain.id)
        .join(Tenant, Tenant.id == Domain.tenant_id)
        .where(
            Domain.status.not_in(_OVER),
            or_(
                Domain.status == DomainStatus.VERIFYING_OWNERSHIP,
                DomainConnection.lost_at.is_not(None),
            ),
        )
        .order_by(Domain.id)
    )
    return [
        {
            "domain": domain.domain_name,
            "domain_id": str(domain.id),
            "tenant_id": str(domain.tenant_id),
            "company": company,
            "status": str(domain.status),
            "dns": connection.dns,
            "lost_at": None if connection.lost_at is None else connection.lost_at.isoformat(),
            "next_look_at": connection.next_look_at.isoformat(),
            "failure": domain.failure,
        }
        for domain, connection, company in rows
    ]


def hurry(domain_id: UUID, db: Session) -> None:
    """An operator's way on: have one name looked at now. Raises NotFound."""
    connection = db.scalars(
        select(DomainConnection).where(DomainConnection.domain_id == domain_id)
    ).one_or_none()
    if connection is None:
        raise errors.NotFound(resource="connection")
    connection.next_look_at = clock.now()
    audit.write(db, connection.tenant_id, "domain_verification_requested", "domain", domain_id)
    outbox.record(db, events.DomainProofDue(domain_id=domain_id))
