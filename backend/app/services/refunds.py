"""Giving money back: the wish is a row before Stripe is asked, and its id is the key."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from app import errors, events
from app.database import audit, outbox
from app.database.models import (
    DomainPurchase,
    NoticeKind,
    PurchaseState,
    Refund,
    Tenant,
    new_id,
)
from app.integrations import ports
from app.services import ledger, notices


def request(
    tenant: Tenant,
    intent_id: str,
    db: Session,
    *,
    cause: str,
    cents: int | None = None,
    purchase_id: UUID | None = None,
) -> Refund:
    """Write down that a payment is to be given back, wholly or in part; a job does it.

    Asking twice for all of the same payment is one refund. Raises Invalid for no amount.
    """
    if cents is not None and cents <= 0:
        raise errors.Invalid("A refund has a positive amount.", cents=cents)
    if cents is None:
        known = db.scalars(
            select(Refund).where(
                Refund.tenant_id == tenant.id,
                Refund.stripe_payment_intent_id == intent_id,
                Refund.amount_cents.is_(None) | (Refund.status == "requested"),
                Refund.status.not_in({"failed", "canceled"}),
            )
        ).first()
        if known is not None:
            return known
    refund = Refund(
        id=new_id(),
        tenant_id=tenant.id,
        stripe_payment_intent_id=intent_id,
        amount_cents=cents,
        cause=cause[:200],
        purchase_id=purchase_id,
        status="requested",
    )
    db.add(refund)
    audit.write(
        db,
        tenant.id,
        "refund_requested",
        "refund",
        refund.id,
        {"amount_cents": [None, cents], "cause": [None, refund.cause]},
    )
    outbox.record(db, events.RefundRequested(tenant_id=tenant.id, refund_id=refund.id))
    return refund


def perform(refund_id: UUID, db: Session, *, payments: ports.PaymentGateway) -> None:
    """Ask Stripe for a refund that was requested; the same key makes a repeat harmless.

    A clear no is kept with its reason and calls an operator.
    """
    refund = db.get(Refund, refund_id, with_for_update=True)
    if refund is None or refund.status != "requested":
        return
    try:
        state = payments.refund(
            refund.stripe_payment_intent_id,
            amount=refund.amount_cents,
            metadata={"refund_id": str(refund.id), "tenant_id": str(refund.tenant_id)},
            key=f"re:{refund.id}",
        )
    except errors.ProviderFailed as refusal:
        refund.status, refund.failure = "failed", refusal.message[:300]
        _failed(refund, db)
        return
    mirror(db.get_one(Tenant, refund.tenant_id), state, db)


def mirror(tenant: Tenant, state: ports.RefundState, db: Session) -> bool:
    """Write down what Stripe says about a refund of captured money; whether it was news."""
    refund = _row(tenant, state, db)
    before = refund.status
    values = {
        "stripe_refund_id": state.id,
        "amount_cents": state.amount,
        "currency": state.currency,
        "status": state.status,
        "failure": state.failure_reason,
    }
    changed = any(getattr(refund, name) != value for name, value in values.items())
    for name, value in values.items():
        setattr(refund, name, value)
    purchase = ledger.purchase_of(state.payment_intent, db)
    ledger.append(
        db,
        tenant.id,
        ledger.of_refund(state),
        description=refund.cause,
        purchase_id=None if purchase is None else purchase.id,
    )
    if before != state.status:
        audit.write(
            db,
            tenant.id,
            "refund_status_changed",
            "refund",
            refund.id,
            {"status": [before, state.status]},
        )
    if state.status == "succeeded":
        notices.owe(
            db,
            tenant.id,
            NoticeKind.REFUNDED,
            state.id,
            cents=state.amount,
            currency=state.currency,
            cause=refund.cause,
        )
    if state.status == "failed":
        _failed(refund, db)
    _settle_purchase(purchase, state, db)
    return changed


def _row(tenant: Tenant, state: ports.RefundState, db: Session) -> Refund:
    """Ours by Stripe's id, or by our own id that we gave along; else one made at Stripe."""
    ours = state.metadata.get("refund_id")
    wanted = [Refund.stripe_refund_id == state.id]
    if ours is not None:
        wanted.append(Refund.id == UUID(ours))
    found = db.scalars(
        select(Refund).where(Refund.tenant_id == tenant.id, or_(*wanted)).with_for_update()
    ).first()
    if found is None:
        found = Refund(
            id=new_id(),
            tenant_id=tenant.id,
            stripe_payment_intent_id=state.payment_intent or "",
            amount_cents=state.amount,
            currency=state.currency,
            cause=state.metadata.get("cause", "made at Stripe")[:200],
            stripe_refund_id=state.id,
            status="requested",
        )
        db.add(found)
        db.flush()  # Events of the same refund look for it by Stripe's id.
    return found


def _settle_purchase(
    purchase: DomainPurchase | None, state: ports.RefundState, db: Session
) -> None:
    """A purchase whose name could not be had ends when its money is back."""
    if (
        purchase is None
        or state.status != "succeeded"
        or state.amount != purchase.price_cents
        or purchase.state not in {PurchaseState.QUOTED, PurchaseState.AUTHORISED}
    ):
        return
    before, purchase.state = purchase.state, PurchaseState.REFUNDED
    audit.write(
        db,
        purchase.tenant_id,
        "domain_purchase_refunded",
        "domain_purchase",
        purchase.id,
        {"state": [str(before), str(purchase.state)]},
    )


def _failed(refund: Refund, db: Session) -> None:
    notices.alert(
        db,
        "refund_failed",
        refund.stripe_refund_id or str(refund.id),
        f"A refund of payment {refund.stripe_payment_intent_id} failed:"
        f" {refund.failure or 'no reason given'}. Pay it back by another way.",
        tenant_id=refund.tenant_id,
    )
