"""A company is forgotten: asked for by an operator, undone for eight days, then done for good."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app import clock, errors
from app.database import audit
from app.database.models import (
    Dispute,
    Domain,
    DomainStatus,
    OperatorAlert,
    Suppression,
    SuspensionReason,
    Tenant,
)
from app.database.queries import erasure as queries
from app.integrations import ports
from app.rules import dunning, erasure
from app.services import domain_leaving, kill_switch, stripe_events

_OVER = (DomainStatus.DELETED, DomainStatus.EXPIRED, DomainStatus.FAILED)


class ErasureService:
    @staticmethod
    def request(
        tenant_id: UUID, db: Session, *, providers: ports.Providers | None = None
    ) -> Tenant:
        """Silence a tenant, end its subscription and names, and set the day of its erasure.

        Repeating it changes nothing. Raises NotFound, and Conflict while a name is being set
        up or renewed, or a payment is disputed: whose money it is must be known first.
        """
        providers = providers or ports.current()
        tenant = _lock(tenant_id, db)
        if tenant.erased_at is not None:
            raise errors.Conflict("This company was erased.", erased_at=tenant.erased_at)
        if tenant.erase_at is not None:
            return tenant
        _require_no_dispute(tenant, db)
        living = select(Domain.id).where(Domain.tenant_id == tenant.id, Domain.status.not_in(_OVER))
        for domain_id in db.scalars(living).all():
            domain_leaving.delete(domain_id, db, with_inboxes=True, providers=providers)
        if tenant.stripe_customer_id is not None:
            for subscription in providers.payments.list_subscriptions(tenant.stripe_customer_id):
                if not subscription.is_over:
                    providers.payments.end_subscription(subscription.id)
        tenant.erase_at = clock.now() + erasure.GRACE
        changes = {"erase_at": [None, tenant.erase_at.isoformat()]}
        audit.write(db, tenant.id, "erasure_requested", "tenant", tenant.id, changes)
        kill_switch.turn_on(
            tenant,
            SuspensionReason.ERASURE,
            db,
            note=f"Everything we know of you is erased on {tenant.erase_at:%d %B %Y}.",
        )
        return tenant

    @staticmethod
    def take_back(tenant_id: UUID, db: Session) -> Tenant:
        """Keep a tenant after all. Names come back one by one; the plan is chosen anew.

        Raises NotFound, and Conflict when nothing was requested or it is done.
        """
        tenant = _lock(tenant_id, db)
        if tenant.erase_at is None or tenant.erased_at is not None:
            raise errors.Conflict("No erasure of this company is under way.")
        changes = {"erase_at": [tenant.erase_at.isoformat(), None]}
        tenant.erase_at = None
        audit.write(db, tenant.id, "erasure_taken_back", "tenant", tenant.id, changes)
        kill_switch.turn_off(tenant, db, only_for=SuspensionReason.ERASURE)
        return tenant

    @staticmethod
    def due(db: Session) -> list[UUID]:
        """Whose day has come; expects a session that sees all tenants."""
        now = clock.now()
        return list(
            db.scalars(
                select(Tenant.id)
                .where(Tenant.erase_at <= now, Tenant.erased_at.is_(None))
                .order_by(Tenant.id)
            )
        )

    @staticmethod
    def erase(
        tenant_id: UUID, db: Session, *, providers: ports.Providers | None = None
    ) -> dict[str, int] | None:
        """Forget a tenant whose day has come; how many rows of each table went.

        None when there is nothing to do, or not yet: while one of its zones stands, because the
        zone's name is all that leads to it. Stripe forgets the person first, and may be told again.
        """
        providers = providers or ports.current()
        tenant = _lock(tenant_id, db)
        if tenant.erased_at is not None or tenant.erase_at is None:
            return None
        if tenant.erase_at > clock.now() or _zones(tenant, db):
            return None
        targets = list(
            db.scalars(select(Suppression.target).where(Suppression.tenant_id == tenant.id))
        )
        if tenant.stripe_customer_id is not None:
            providers.payments.delete_customer(tenant.stripe_customer_id)
            stripe_events.forget(tenant.stripe_customer_id, db)
        if targets:
            providers.mail.unsuppress(str(tenant.id), targets)
        gone = queries.delete_rows(db, tenant.id, erasure.ERASED)
        queries.blank(db, tenant.id, erasure.BLANKED)
        db.execute(delete(OperatorAlert).where(OperatorAlert.about_tenant_id == tenant.id))
        _blank(tenant)
        changes = {"rows": [sum(gone.values()), 0]}
        audit.write(db, tenant.id, "tenant_erased", "tenant", tenant.id, changes)
        return gone

    @staticmethod
    def overview(db: Session) -> list[dict[str, Any]]:
        """Every tenant whose erasure was asked for, for operators."""
        rows = db.scalars(select(Tenant).where(Tenant.erase_at.is_not(None)).order_by(Tenant.id))
        return [
            {
                "tenant_id": str(tenant.id),
                "company": tenant.company_name,
                "erase_at": tenant.erase_at and tenant.erase_at.isoformat(),
                "erased_at": tenant.erased_at and tenant.erased_at.isoformat(),
                "zones_that_stand": _zones(tenant, db),
            }
            for tenant in rows
        ]


def _lock(tenant_id: UUID, db: Session) -> Tenant:
    tenant = db.scalars(
        select(Tenant)
        .where(Tenant.id == tenant_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if tenant is None:
        raise errors.NotFound(resource="tenant")
    return tenant


def _require_no_dispute(tenant: Tenant, db: Session) -> None:
    standing = db.scalars(
        select(Dispute.stripe_dispute_id).where(
            Dispute.tenant_id == tenant.id, Dispute.status.in_(dunning.UNDECIDED)
        )
    ).all()
    if standing:
        raise errors.Conflict(
            "A payment is disputed, and what is known of it is evidence: wait until it is settled.",
            disputes=list(standing),
        )


def _zones(tenant: Tenant, db: Session) -> int:
    rows = db.scalars(
        select(Domain.id).where(
            Domain.tenant_id == tenant.id, Domain.cloudflare_zone_id.is_not(None)
        )
    )
    return len(rows.all())


def _blank(tenant: Tenant) -> None:
    tenant.erased_at = clock.now()
    tenant.company_name = "erased"
    tenant.company_email = f"{tenant.id}@erased.invalid"
    # What Stripe calls the customer stays: it leads from our books to theirs, and to no person.
    tenant.company_domain = None
    tenant.inboxes_count = tenant.domains_count = 0
