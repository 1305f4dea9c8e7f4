"""Writing movements of money down, each once."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app import clock
from app.database import audit
from app.database.models import Transaction, TransactionType, new_id


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
            description=description,
            purchase_id=purchase_id,
        )
        .on_conflict_do_nothing()
        .returning(Transaction.id)
    )
    if row is not None:
        audit.write(
            db,
            tenant_id,
            "ledger_posted",
            "transaction",
            row,
            {"type": [None, kind], "amount_cents": [None, cents], "status": [None, status]},
        )
    return row is not None
