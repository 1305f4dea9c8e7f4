"""Disputes: mirrored, entered in the books, and brought before a person."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database import audit
from app.database.models import Dispute, Tenant
from app.integrations import ports
from app.services import ledger, notices


def mirror(tenant: Tenant, state: ports.DisputeState, db: Session) -> bool:
    """Write down what Stripe says about a dispute; whether it was news.

    Freezing is the dunning verdict's affair, which looks at these rows.
    """
    row = db.scalars(select(Dispute).where(Dispute.stripe_dispute_id == state.id)).one_or_none()
    before = None if row is None else row.status
    if row is None:
        row = Dispute(tenant_id=tenant.id, stripe_dispute_id=state.id)
        db.add(row)
    row.stripe_charge_id, row.reason = state.charge, state.reason
    row.amount_cents, row.currency = state.amount, state.currency
    row.status, row.due_by = state.status, state.due_by
    db.flush()  # The verdict counts it in this very transaction, and the audit names its id.
    ledger.append(db, tenant.id, ledger.of_dispute(state), description=f"Dispute: {state.reason}")
    if before == state.status:
        return False
    audit.write(
        db,
        tenant.id,
        "dispute_changed",
        "dispute",
        row.id,
        {"status": [before, state.status]},
    )
    until = "" if state.due_by is None else f" Evidence is due by {state.due_by:%Y-%m-%d %H:%M}."
    notices.alert(
        db,
        "dispute",
        f"{state.id}:{state.status}",
        f"Dispute {state.id} over {state.amount / 100:.2f} {state.currency.upper()}"
        f" ({state.reason}) is {state.status}.{until}",
        tenant_id=tenant.id,
    )
    return True
