"""Our copy of the cards that customers have at Stripe; one of them is charged."""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.database import audit
from app.database.models import PaymentMethod, Tenant, new_id
from app.integrations import ports


def keep(card: ports.Card, tenant: Tenant, db: Session) -> None:
    """Write `card` down, or what is new about it, as the one that is charged from now on."""
    _replace_default(card.payment_method, tenant, db)
    row = db.scalars(
        select(PaymentMethod).where(PaymentMethod.stripe_payment_method_id == card.payment_method)
    ).one_or_none()
    if row is None:
        row = PaymentMethod(
            id=new_id(),
            tenant_id=tenant.id,
            stripe_payment_method_id=card.payment_method,
            is_active=True,
        )
        db.add(row)
        changes = {"is_active": [None, True], "is_default": [None, True]}
        audit.write(db, tenant.id, "payment_method_added", "payment_method", row.id, changes)
    elif not row.is_default:
        changes = {"is_default": [False, True]}
        audit.write(db, tenant.id, "payment_method_chosen", "payment_method", row.id, changes)
    row.card_brand, row.card_last_four = card.brand, card.last_four
    row.card_exp, row.card_fingerprint = card.expiry, card.fingerprint
    row.is_default = True


def _replace_default(payment_method: str, tenant: Tenant, db: Session) -> None:
    replaced = db.scalars(
        update(PaymentMethod)
        .where(
            PaymentMethod.tenant_id == tenant.id,
            PaymentMethod.is_default,
            PaymentMethod.stripe_payment_method_id != payment_method,
        )
        .values(is_default=False)
        .returning(PaymentMethod.id)
    ).all()
    changes = {"is_default": [True, False]}
    audit.write_many(db, tenant.id, "payment_method_replaced", "payment_method", replaced, changes)


def forget(payment_method: str, db: Session) -> None:
    """It was taken off the customer: nothing is charged to it any more."""
    removed = db.execute(
        update(PaymentMethod)
        .where(PaymentMethod.stripe_payment_method_id == payment_method, PaymentMethod.is_active)
        .values(is_active=False, is_default=False)
        .returning(PaymentMethod.tenant_id, PaymentMethod.id)
    )
    changes = {"is_active": [True, False]}
    for tenant_id, id_ in removed.all():
        audit.write(db, tenant_id, "payment_method_removed", "payment_method", id_, changes)
