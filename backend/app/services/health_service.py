"""The health of inboxes, domains and tenants, from what is recorded about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app import clock, errors
from app.database.models import Domain, DomainStatus, Inbox, InboxStatus, Tenant
from app.database.queries import signals, standings
from app.integrations import ports
from app.rules import health
from app.rules.blocklists import Blocklist, Kind
from app.rules.health import Health, Inputs
from app.rules.warmup import Listing

_GRAVITY = (Listing.LISTED, Listing.UNKNOWN, Listing.CLEAR, Listing.UNCHECKED)
"""Of what is said about several domains the first of these counts."""

_BROKEN = frozenset(
    {
        DomainStatus.FAILED,
        DomainStatus.EXPIRED,
        DomainStatus.SUSPENDED,
        DomainStatus.DELETED,
    }
)


class HealthService:
    @staticmethod
    def of_inbox(inbox_id: UUID, db: Session) -> Health:
        """Its own mail, under its domain's name. Raises NotFound."""
        inbox = db.get(Inbox, inbox_id)
        if inbox is None or inbox.status == InboxStatus.DELETED:
            raise errors.NotFound(resource="inbox")
        return health.score(_of_inboxes(db, [inbox])[inbox_id])

    @staticmethod
    def of_domain(domain_id: UUID, db: Session) -> Health:
        """All mail of a domain, of deleted inboxes too. Raises NotFound."""
        domain = db.get(Domain, domain_id)
        if domain is None:
            raise errors.NotFound(resource="domain")
        names = _names(db, [domain])
        counted = signals.health_of(db, "domain", [domain_id], _first_day())
        return health.score(_with(counted.get(domain_id), names[domain_id]))

    @staticmethod
    def of_tenant(tenant: Tenant, db: Session) -> Health:
        """All mail of a tenant, and the worst that is said of any of its domains."""
        domains = db.scalars(select(Domain).where(Domain.tenant_id == tenant.id)).all()
        said = _names(db, domains).values()
        listing = min((each[0] for each in said), key=_GRAVITY.index, default=Listing.UNCHECKED)
        aligned = [each[1] for each in said]
        whole = False if False in aligned else (True if True in aligned else None)
        counted = signals.health_of(db, "tenant", [tenant.id], _first_day())
        return health.score(_with(counted.get(tenant.id), (listing, whole)))

    @staticmethod
    def refresh(tenant_id: UUID, db: Session) -> int:
        """Store the present score with each inbox of a tenant; how many changed."""
        inboxes = db.scalars(
            select(Inbox)
            .where(Inbox.tenant_id == tenant_id, Inbox.status != InboxStatus.DELETED)
            .order_by(Inbox.id)
        ).all()
        inputs = _of_inboxes(db, inboxes)
        alike: dict[int, list[UUID]] = {}
        for inbox in inboxes:
            score = health.score(inputs[inbox.id]).score
            if score != inbox.health_score:
                alike.setdefault(score, []).append(inbox.id)
        # In the order in which the counters of events are locked, too.
        changed = [id_ for ids in alike.values() for id_ in ids]
        db.execute(
            select(Inbox.id)
            .where(Inbox.id.in_(changed))
            .order_by(Inbox.id)
            .with_for_update(key_share=True)
        ).all()
        for score, ids in sorted(alike.items()):
            db.execute(
                update(Inbox).where(Inbox.id.in_(ids)).values(health_score=score),
                execution_options={"synchronize_session": False},
            )
        return len(changed)


_Said = tuple[Listing, bool | None]


def _first_day() -> date:
    return clock.now().date() - timedelta(days=health.DAYS - 1)


def _with(counted: Inputs | None, said: _Said) -> Inputs:
    return replace(counted or Inputs(), listing=said[0], aligned=said[1])


def _of_inboxes(db: Session, inboxes: Sequence[Inbox]) -> Mapping[UUID, Inputs]:
    ids = {inbox.domain_id for inbox in inboxes}
    names = _names(db, db.scalars(select(Domain).where(Domain.id.in_(ids))).all())
    counted = signals.health_of(db, "inbox", [inbox.id for inbox in inboxes], _first_day())
    return {inbox.id: _with(counted.get(inbox.id), names[inbox.domain_id]) for inbox in inboxes}


def _names(db: Session, domains: Iterable[Domain]) -> dict[UUID, _Said]:
    """What lists and DNS say of each domain."""
    domains = list(domains)
    lists: Sequence[Blocklist] = ports.current().platform.blocklists
    asked = [each.name for each in lists if each.kind == Kind.DOMAIN]
    listed = standings.listings(db, [domain.id for domain in domains], asked, clock.now())
    return {domain.id: (listed[domain.id], _aligned(domain)) for domain in domains}


def _aligned(domain: Domain) -> bool | None:
    """A domain is active once its SPF, DKIM and DMARC were found in the DNS as we want them."""
    if domain.status == DomainStatus.ACTIVE:
        return domain.kumo_authorized
    return False if domain.status in _BROKEN else None
