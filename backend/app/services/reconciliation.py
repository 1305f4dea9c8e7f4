"""Comparing our books with Stripe's: an audit says where they differ, a reconciliation repairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import clock
from app.database.models import DomainPurchase, Invoice, Tenant
from app.integrations import ports
from app.rules import movements
from app.rules.movements import Movement
from app.services import (
    disputes,
    dunning,
    event_store,
    ledger,
    notices,
    payment_methods,
    refunds,
    stripe_events,
    stripe_handlers,
    subscription_state,
)
from app.services.subscription_service import lock

LOOK_BACK = timedelta(days=3)
"""Stripe tries to deliver for three days; what is older was seen by an earlier night."""

ON_ITS_WAY = timedelta(minutes=5)
"""An event as young as this is not missed yet."""


@dataclass(frozen=True)
class Audit:
    """One tenant's ledger against Stripe's objects."""

    tenant_id: UUID
    movements: int
    net_cents: int
    missing: list[Movement] = field(default_factory=list)
    """At Stripe, and not with us."""
    surplus: list[Movement] = field(default_factory=list)
    """With us, and not at Stripe; or with another amount."""
    unpaid_difference_cents: int = 0
    """What charges brought, less what Stripe's invoices say was paid."""

    @property
    def balances(self) -> bool:
        return not self.missing and not self.surplus and self.unpaid_difference_cents == 0


def audit(tenant: Tenant, db: Session, payments: ports.PaymentGateway) -> Audit:
    """Prove a tenant's ledger to the cent: every row from Stripe's objects, no more and no less."""
    ours = ledger.read(tenant.id, db)
    if tenant.stripe_customer_id is None:
        return Audit(tenant.id, len(ours), movements.net_cents(ours), surplus=ours)
    theirs = list(_at_stripe(tenant.stripe_customer_id, db, payments))
    paid = sum(row.amount_paid for row in payments.invoices_of(tenant.stripe_customer_id))
    charged = sum(row.cents for row in theirs if row.kind == "charge")
    return Audit(
        tenant_id=tenant.id,
        movements=len(ours),
        net_cents=movements.net_cents(ours),
        missing=list((Counter(theirs) - Counter(ours)).elements()),
        surplus=list((Counter(ours) - Counter(theirs)).elements()),
        unpaid_difference_cents=charged - paid,
    )


def _at_stripe(customer: str, db: Session, payments: ports.PaymentGateway) -> Iterator[Movement]:
    for charge in payments.charges_of(customer):
        yield from ledger.of_charge(charge, ledger.purchase_of(charge.payment_intent, db))
        if charge.captured:
            for refund in payments.refunds_of(charge.id):
                yield from ledger.of_refund(refund)
            for dispute in payments.disputes_of(charge.id):
                yield from ledger.of_dispute(dispute)
    for invoice in payments.invoices_of(customer):
        yield from ledger.of_invoice(invoice)


def accounts(db: Session) -> list[UUID]:
    """Tenants that are customers at Stripe."""
    return list(
        db.scalars(
            select(Tenant.id).where(Tenant.stripe_customer_id.is_not(None)).order_by(Tenant.id)
        )
    )


def fetch_missed_events(
    db: Session, payments: ports.PaymentGateway, *, since: datetime | None = None
) -> int:
    """Store what happened at Stripe and never reached us; how many events that were.

    All since `since`, however young; else those of LOOK_BACK that are not on their way.

    What reached us and had no effect, because its job was given up, is set going again. All recent
    events are asked for and not only those Stripe calls undelivered: an answer of 200 that we gave
    and lost would not be among them.
    """
    now = clock.now()
    found = 0
    begin = since or now - LOOK_BACK
    for event in payments.events_since(begin, sorted(stripe_events.HANDLERS)):
        if since is not None or event.created <= now - ON_ITS_WAY:
            if event_store.store(event, db) is not None:
                found += 1
            else:
                event_store.set_going_again(event.id, db)
    if found:
        notices.alert(
            db,
            "missed_events",
            f"{now:%Y-%m-%d}",
            f"{found} events of Stripe had not reached us; they are being handled now.",
        )
    return found


@dataclass
class Repairs:
    """What a reconciliation of one account had to put right."""

    tenant_id: UUID
    subscription: bool = False
    cards: bool = False
    invoices: int = 0
    movements: int = 0
    standing: bool = False

    @property
    def any(self) -> bool:
        return bool(
            self.subscription or self.cards or self.invoices or self.movements or self.standing
        )


def reconcile(tenant_id: UUID, db: Session, payments: ports.PaymentGateway) -> Repairs:
    """Make one tenant's rows say what Stripe says, and call an operator when they did not."""
    repairs = Repairs(tenant_id)
    found = db.get(Tenant, tenant_id)
    if found is None or found.stripe_customer_id is None or found.erased_at is not None:
        return repairs
    tenant = lock(found, db)
    customer = tenant.stripe_customer_id or ""
    before = _standing(tenant)
    state = subscription_state.refresh(tenant, db, payments)
    repairs.subscription = _standing(tenant) != before
    repairs.cards = payment_methods.mirror(tenant, db, payments, state=state)
    known = set(db.scalars(select(Invoice.stripe_invoice_id).where(Invoice.tenant_id == tenant.id)))
    for invoice in payments.invoices_of(customer):
        if invoice.status != "draft" or invoice.id in known:
            repairs.invoices += dunning.mirror_invoice(tenant, invoice, db)
    for charge in payments.charges_of(customer):
        repairs.movements += stripe_handlers.book_charge(tenant, charge, db, payments)
        if charge.captured:
            for refund in payments.refunds_of(charge.id):
                repairs.movements += refunds.mirror(tenant, refund, db)
            for dispute in payments.disputes_of(charge.id):
                repairs.movements += disputes.mirror(tenant, dispute, db)
    suspended = tenant.suspension_reason
    dunning.judge(tenant, db, state)
    db.refresh(tenant)
    repairs.standing = tenant.suspension_reason != suspended
    if repairs.any:
        notices.alert(
            db,
            "reconciled",
            f"{tenant.id}:{clock.now():%Y-%m-%d}",
            f"The books of {tenant.company_name} differed from Stripe's and were put right:"
            f" {_told(repairs)}.",
            tenant_id=tenant.id,
        )
    return repairs


def _standing(tenant: Tenant) -> tuple[object, ...]:
    return (
        tenant.subscription_status,
        tenant.subscription_tier,
        tenant.stripe_subscription_id,
        tenant.current_period_end,
        tenant.cancel_at_period_end,
    )


def _told(repairs: Repairs) -> str:
    parts = {
        "subscription": repairs.subscription,
        "cards": repairs.cards,
        f"{repairs.invoices} invoices": repairs.invoices,
        f"{repairs.movements} movements of money": repairs.movements,
        "suspension": repairs.standing,
    }
    return ", ".join(name for name, changed in parts.items() if changed)


def unsettled(db: Session) -> list[DomainPurchase]:
    """Losses that wait for a person, the oldest first."""
    return list(
        db.scalars(
            select(DomainPurchase)
            .where(DomainPurchase.state == "loss")
            .order_by(DomainPurchase.updated_at)
        )
    )
