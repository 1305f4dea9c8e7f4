"""Writing movements of money down, each once, and reading them back.

The rows follow from the present state of Stripe's objects (app/rules/movements.py); an event and an
audit derive the same ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from decimal import Decimal
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app import clock
from app.database import audit
from app.database.models import DomainPurchase, Transaction, TransactionType, new_id
from app.integrations import ports
from app.rules import movements
from app.rules.movements import Movement
from app.utils import monitoring


def post(
    db: Session,
    tenant_id: UUID,
    kind: TransactionType,
    *,
    stripe_id: str,
    cents: int,
    currency: str,
    status: str = "succeeded",
    description: str | None = None,
    purchase_id: UUID | None = None,
) -> bool:
    """Append one movement; False when it stands there already (events tell a movement twice).

    The amount is positive; the kind says which way it went.
    """
    row = db.scalar(
        insert(Transaction)
        .values(
            id=new_id(),
            created_at=clock.now(),
            tenant_id=tenant_id,
            transaction_type=kind,
            amount=Decimal(cents).scaleb(-2),
            currency=currency,
            status=status,
            stripe_transaction_id=stripe_id,
            description=None if description is None else description[:300],
            purchase_id=purchase_id,
        )
        .on_conflict_do_nothing()
        .returning(Transaction.id)
    )
    if row is None:
        return False
    audit.write(
        db,
        tenant_id,
        "ledger_posted",
        "transaction",
        row,
        {"type": [None, kind], "amount_cents": [None, cents], "status": [None, status]},
    )
    if kind in {TransactionType.CHARGE, TransactionType.CAPTURE}:
        monitoring.STRIPE_SUCCESS.inc()
    elif kind == TransactionType.FAILURE:
        monitoring.PAYMENTS_FAILED.inc()
    return True


def append(
    db: Session,
    tenant_id: UUID,
    rows: Iterable[Movement],
    *,
    description: str | None = None,
    purchase_id: UUID | None = None,
) -> int:
    """Post what is new of `rows`; how many that were."""
    return sum(
        post(
            db,
            tenant_id,
            TransactionType(row.kind),
            stripe_id=row.stripe_id,
            cents=row.cents,
            currency=row.currency,
            status=row.status,
            description=description,
            purchase_id=purchase_id,
        )
        for row in rows
    )


def of_charge(charge: ports.ChargeState, purchase: DomainPurchase | None) -> list[Movement]:
    """The rows of a charge; `purchase` is the domain it pays for, if it does."""
    return movements.of_charge(
        charge_id=charge.id,
        intent_id=charge.payment_intent,
        amount=charge.amount,
        captured=charge.captured,
        amount_captured=charge.amount_captured,
        refunded=charge.refunded,
        failed=charge.status == "failed",
        currency=charge.currency,
        for_purchase=purchase is not None,
        held_first=purchase is not None and not purchase.automatic_capture,
    )


def of_refund(refund: ports.RefundState) -> list[Movement]:
    """The rows of a refund of captured money."""
    return movements.of_refund(
        refund_id=refund.id, amount=refund.amount, status=refund.status, currency=refund.currency
    )


def of_dispute(dispute: ports.DisputeState) -> list[Movement]:
    """The rows of a dispute."""
    return movements.of_dispute(
        dispute_id=dispute.id,
        amount=dispute.amount,
        status=dispute.status,
        currency=dispute.currency,
    )


def of_invoice(invoice: ports.InvoiceState) -> list[Movement]:
    """The rows of credit that an invoice gave or used; its payment is a charge's."""
    return movements.of_invoice(
        invoice_id=invoice.id,
        status=invoice.status,
        starting=invoice.starting_balance,
        ending=invoice.ending_balance,
        currency=invoice.currency,
    )


def purchase_of(intent_id: str | None, db: Session) -> DomainPurchase | None:
    """The domain purchase that a PaymentIntent pays for."""
    if intent_id is None:
        return None
    return db.scalars(
        select(DomainPurchase).where(DomainPurchase.stripe_payment_intent_id == intent_id)
    ).one_or_none()


def read(tenant_id: UUID, db: Session) -> list[Movement]:
    """All movements of a tenant, in an order that does not depend on their arrival."""
    rows = db.scalars(select(Transaction).where(Transaction.tenant_id == tenant_id))
    return sorted(
        (
            Movement(
                str(row.transaction_type),
                row.stripe_transaction_id,
                int(row.amount.scaleb(2)),
                row.currency,
                row.status,
            )
            for row in rows
        ),
        key=lambda row: (row.stripe_id, row.kind),
    )


def fingerprint(rows: Iterable[Movement]) -> str:
    """SHA-256 over movements, equal for equal books."""
    text = "\n".join(
        f"{row.kind} {row.stripe_id} {row.cents} {row.currency} {row.status}" for row in rows
    )
    return hashlib.sha256(text.encode()).hexdigest()


def fingerprint_of_all(prints: Iterable[str]) -> str:
    """SHA-256 over the fingerprints of several tenants."""
    return hashlib.sha256("\n".join(prints).encode()).hexdigest()
