"""Invoices, what is owed, and what follows: reminders, suspension, and its lifting.

The verdict is worked out anew from all invoices and disputes after each change (rules/dunning.py),
so it does not matter in which order the changes became known.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import errors
from app.database import audit
from app.database.models import (
    Dispute,
    Invoice,
    NoticeKind,
    PaymentMethod,
    SuspensionReason,
    Tenant,
)
from app.integrations import ports
from app.rules import dunning as rules
from app.services import kill_switch, ledger, notices, subscription_state

_TOLD = ("status", "amount_due_cents", "amount_paid_cents", "attempt_count")
"""What of an invoice the audit trail tells."""

_EARNED = frozenset({"subscription_cycle", "subscription_update"})
"""Reasons for which an invoice of nothing due was still paid for, from credit."""


def mirror_invoice(tenant: Tenant, state: ports.InvoiceState, db: Session) -> bool:
    """Write down what Stripe says about an invoice and what follows; whether it was news."""
    changed = _write(tenant, state, db)
    ledger.append(db, tenant.id, ledger.of_invoice(state), description="Customer balance")
    if state.status == "paid":
        _paid(tenant, state, db)
    elif state.status == "open" and state.attempt_count > 0:
        _failed(tenant, state, db)
    return changed


def _write(tenant: Tenant, state: ports.InvoiceState, db: Session) -> bool:
    row = db.scalars(select(Invoice).where(Invoice.stripe_invoice_id == state.id)).one_or_none()
    values = {
        "number": state.number,
        "status": state.status,
        "billing_reason": state.billing_reason,
        "amount_due_cents": state.amount_due,
        "amount_paid_cents": state.amount_paid,
        "tax_cents": state.tax,
        "currency": state.currency,
        "stripe_subscription_id": state.subscription,
        "period_start": state.period_start,
        "period_end": state.period_end,
        "attempt_count": state.attempt_count,
        "next_payment_attempt": state.next_payment_attempt,
        "hosted_invoice_url": state.hosted_invoice_url,
        "invoice_pdf": state.invoice_pdf,
    }
    if row is None:
        row = Invoice(tenant_id=tenant.id, stripe_invoice_id=state.id, **values)
        db.add(row)
        db.flush()  # The verdict counts it in this very transaction, and the audit names its id.
        _put_down(row, {}, db)
        return True
    before = {name: getattr(row, name) for name in values}
    for name, value in values.items():
        setattr(row, name, value)
    _put_down(row, before, db)
    return before != values


def _put_down(row: Invoice, before: dict[str, Any], db: Session) -> None:
    after = {name: getattr(row, name) for name in _TOLD}
    audit.write_difference(
        db,
        row.tenant_id,
        "invoice_changed",
        "invoice",
        row.id,
        {name: before.get(name) for name in _TOLD},
        after,
    )


def _paid(tenant: Tenant, state: ports.InvoiceState, db: Session) -> None:
    if state.amount_paid > 0:
        notices.owe(
            db,
            tenant.id,
            NoticeKind.RECEIPT,
            state.id,
            cents=state.amount_paid,
            currency=state.currency,
            description=_description(state),
            reference=state.number or state.id,
            link=state.hosted_invoice_url,
        )
    # The invoice of nothing at the start of a trial is no first payment.
    if state.subscription is not None and (
        state.amount_paid > 0 or (state.billing_reason in _EARNED and state.total > 0)
    ):
        subscription_state.convert(tenant, db)


def _description(state: ports.InvoiceState) -> str:
    if state.period_start is None or state.period_end is None:
        return "InboxGrove"
    return f"InboxGrove, {state.period_start:%Y-%m-%d} to {state.period_end:%Y-%m-%d}"


def _failed(tenant: Tenant, state: ports.InvoiceState, db: Session) -> None:
    """Once for each counted attempt: five clicks are one message."""
    again = state.next_payment_attempt
    notices.owe(
        db,
        tenant.id,
        NoticeKind.PAYMENT_FAILED,
        f"{state.id}:{state.attempt_count}",
        cents=state.amount_due,
        currency=state.currency,
        reason="the card was declined",
        next_attempt=None if again is None else again.isoformat(),
        link=state.hosted_invoice_url,
    )


def judge(tenant: Tenant, db: Session, state: ports.SubscriptionState | None) -> rules.Verdict:
    """Suspend, freeze or lift, as the tenant's books ask for. Repeats change nothing.

    What operators and the abuse rules have suspended is not touched.
    """
    db.flush()  # The rows changed just now are part of what is judged.
    invoices = db.scalars(select(Invoice).where(Invoice.tenant_id == tenant.id))
    disputes = db.scalars(
        select(Dispute.status).where(Dispute.tenant_id == tenant.id, Dispute.forgiven_at.is_(None))
    )
    verdict = rules.verdict(
        None if state is None else state.status,
        [rules.Debt(row.status, row.attempt_count, row.billing_reason) for row in invoices],
        disputes,
    )
    disputed, failed = SuspensionReason.PAYMENT_DISPUTED, SuspensionReason.PAYMENT_FAILED
    evidence = {
        "subscription": tenant.stripe_subscription_id,
        "subscription_status": None if state is None else state.status,
        "overdue": [
            {"invoice": row.stripe_invoice_id, "attempt_count": row.attempt_count}
            for row in overdue(tenant, db)
        ],
    }
    match verdict:
        case rules.Verdict.FREEZE:
            kill_switch.turn_on(tenant, disputed, db, evidence=evidence)
        case rules.Verdict.SUSPEND:
            _lift(tenant, disputed, db, evidence)
            kill_switch.turn_on(tenant, failed, db, evidence=evidence)
        case rules.Verdict.OWING:
            _lift(tenant, disputed, db, evidence)
        case rules.Verdict.CLEAR:
            _lift(tenant, disputed, db, evidence)
            _lift(tenant, failed, db, evidence)
    return verdict


def _lift(tenant: Tenant, reason: SuspensionReason, db: Session, evidence: dict[str, Any]) -> None:
    if tenant.suspension_reason == reason:
        kill_switch.turn_off(tenant, db, evidence=evidence, only_for=reason, forgive=False)


def _own(tenant: Tenant, invoice_id: UUID, db: Session) -> Invoice:
    row = db.scalars(
        select(Invoice).where(Invoice.id == invoice_id, Invoice.tenant_id == tenant.id)
    ).one_or_none()
    if row is None:
        raise errors.NotFound(resource="invoice")
    return row


def look(
    tenant: Tenant, invoice_id: UUID, db: Session, *, payments: ports.PaymentGateway
) -> Invoice:
    """One invoice as Stripe has it now: its links expire. Raises NotFound."""
    row = _own(tenant, invoice_id, db)
    mirror_invoice(tenant, payments.get_invoice(row.stripe_invoice_id), db)
    return row


def pay(
    tenant: Tenant, invoice_id: UUID, db: Session, *, key: str, payments: ports.PaymentGateway
) -> Invoice:
    """Try to collect one open invoice now. Raises NotFound, Conflict and PaymentRequired.

    A manual attempt is no strike: Stripe's count rises with its own attempts only.
    """
    row = _own(tenant, invoice_id, db)
    if row.status not in rules.OWED:
        raise errors.Conflict(f"This invoice is {row.status}.")
    card = _default_card(tenant, db)
    state = payments.pay_invoice(
        row.stripe_invoice_id, payment_method=None if card is None else card[0], key=key
    )
    mirror_invoice(tenant, state, db)
    judge(tenant, db, subscription_state.refresh(tenant, db, payments))
    return row


def overdue(tenant: Tenant, db: Session) -> list[Invoice]:
    """What is owed, the oldest first."""
    found = db.scalars(
        select(Invoice).where(Invoice.tenant_id == tenant.id).order_by(Invoice.created_at)
    )
    return [
        row
        for row in found
        if rules.Debt(row.status, row.attempt_count, row.billing_reason).is_overdue
    ]


def collect(tenant: Tenant, db: Session, payments: ports.PaymentGateway) -> bool:
    """Ask the default card for the oldest debt, once for each choice of it; whether more follows.

    Saving a card makes Stripe try nothing by itself. A refusal is told by Stripe's own events.
    """
    card, debts = _default_card(tenant, db), overdue(tenant, db)
    if card is None or not debts:
        return False
    invoice, (method, chosen) = debts[0], card
    key = f"pay:{invoice.stripe_invoice_id}:{method}:{chosen}"
    try:
        state = payments.pay_invoice(invoice.stripe_invoice_id, payment_method=method, key=key)
    except (errors.PaymentRequired, errors.ProviderFailed):
        return False
    mirror_invoice(tenant, state, db)
    judge(tenant, db, subscription_state.refresh(tenant, db, payments))
    return state.status == "paid" and len(debts) > 1


def _default_card(tenant: Tenant, db: Session) -> tuple[str, int] | None:
    """Its id at Stripe, and the second in which it was chosen."""
    row = db.scalars(
        select(PaymentMethod).where(
            PaymentMethod.tenant_id == tenant.id,
            PaymentMethod.is_default,
            PaymentMethod.is_active,
        )
    ).one_or_none()
    if row is None:
        return None
    return row.stripe_payment_method_id, int((row.chosen_at or row.created_at).timestamp())
