"""The cards of a tenant, mirrored from Stripe, and what a new one sets going."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app import clock, errors, events
from app.database import audit, outbox
from app.database.models import PaymentMethod, SubscriptionStatus, Tenant
from app.integrations import ports
from app.services import subscription_state
from app.services.trial_service import TrialService

_NEEDS_A_CARD = frozenset({SubscriptionStatus.TRIALING, SubscriptionStatus.TRIAL_EXPIRED})


def mirror(
    tenant: Tenant,
    db: Session,
    payments: ports.PaymentGateway,
    *,
    state: ports.SubscriptionState | None = None,
) -> bool:
    """Make our rows say what Stripe says; whether anything was different.

    The default is the subscription's, else the customer's: the order in which renewals look.
    """
    if tenant.stripe_customer_id is None:
        return False
    customer = payments.get_customer(tenant.stripe_customer_id)
    found = [] if customer.deleted else payments.list_cards(tenant.stripe_customer_id)
    own = state.default_payment_method if state is not None and not state.is_over else None
    default = own or customer.default_payment_method
    rows = {
        row.stripe_payment_method_id: row
        for row in db.scalars(select(PaymentMethod).where(PaymentMethod.tenant_id == tenant.id))
    }
    changed = False
    for card in found:
        row = rows.get(card.payment_method)
        if row is None:
            row = _added(tenant, card, db)
            rows[card.payment_method] = row
            changed = True
        changed |= _update(row, card, db, default=card.payment_method == default)
    known = {card.payment_method for card in found}
    for row in rows.values():
        if row.stripe_payment_method_id not in known and row.is_active:
            row.is_active = row.is_default = False
            changed = True
            audit.write(
                db,
                tenant.id,
                "payment_method_removed",
                "payment_method",
                row.id,
                {"is_active": [True, False]},
            )
    return changed


def _added(tenant: Tenant, card: ports.Card, db: Session) -> PaymentMethod:
    row = PaymentMethod(
        tenant_id=tenant.id,
        stripe_payment_method_id=card.payment_method,
        card_brand=card.brand,
        card_last_four=card.last_four,
        card_exp=card.expiry,
        card_fingerprint=card.fingerprint,
        is_default=False,
        is_active=True,
    )
    db.add(row)
    db.flush()  # The audit row names its id.
    changes = {"is_active": [None, True]}
    audit.write(db, tenant.id, "payment_method_added", "payment_method", row.id, changes)
    return row


def _update(row: PaymentMethod, card: ports.Card, db: Session, *, default: bool) -> bool:
    values = {
        "card_brand": card.brand,
        "card_last_four": card.last_four,
        "card_exp": card.expiry,
        "card_fingerprint": card.fingerprint,
        "is_default": default,
        "is_active": True,
    }
    before = {name: getattr(row, name) for name in values}
    for name, value in values.items():
        setattr(row, name, value)
    seen = ("card_exp", "is_default", "is_active")
    audit.write_difference(
        db,
        row.tenant_id,
        "payment_method_changed",
        "payment_method",
        row.id,
        {name: before[name] for name in seen},
        {name: values[name] for name in seen},
    )
    return before != values


def confirmed(
    tenant: Tenant,
    intent: ports.Intent,
    at: datetime,
    db: Session,
    payments: ports.PaymentGateway,
) -> None:
    """A card was confirmed at `at`: it becomes the default unless a later choice stands.

    Without a subscription one begins, with the trial's own end: a late event must not lengthen it.
    Somebody who cancelled is not charged for adding a card; they resume when they want to.
    """
    customer, method = tenant.stripe_customer_id, intent.payment_method
    if customer is None or method is None:
        return
    state = subscription_state.refresh(tenant, db, payments)
    mirror(tenant, db, payments, state=state)
    row = _row(tenant, method, db)
    if row is None or not row.is_active:
        return  # It was removed again meanwhile.
    if _is_latest(tenant, row, at, db):
        living = state is not None and not state.is_over
        payments.set_default_payment_method(
            customer=customer,
            payment_method=method,
            subscription=state.id if state is not None and living else None,
        )
        _choose(tenant, row, at, db)
    if state is None or state.is_over:
        TrialService.claim_for_card(tenant, row.card_fingerprint, db)
        # Who has no trial is charged nothing before choosing a plan.
        if tenant.subscription_status in _NEEDS_A_CARD and tenant.trial_refused_for is None:
            _subscribe(tenant, row.stripe_payment_method_id, state, db, payments)
    elif state.status == "paused":
        resumed = payments.resume_subscription(state.id, key=f"resume:{state.id}:{method}")
        subscription_state.apply(tenant, resumed, db)
    outbox.record(db, events.CardChanged(tenant_id=tenant.id))


def _subscribe(
    tenant: Tenant,
    method: str,
    last: ports.SubscriptionState | None,
    db: Session,
    payments: ports.PaymentGateway,
) -> None:
    on_trial = last is None and tenant.trial_ends_at > clock.now()
    state = payments.create_subscription(
        customer=tenant.stripe_customer_id or "",
        plan=tenant.subscription_tier,
        payment_method=method,
        trial_end=tenant.trial_ends_at if on_trial else None,
        tenant_id=str(tenant.id),
        # One for each subscription that ended before: a repeat is a repeat, a new one is new.
        key=f"sub:{tenant.id}:{last.id if last else 1}:{method}",
    )
    subscription_state.apply(tenant, state, db)


def _is_latest(tenant: Tenant, row: PaymentMethod, at: datetime, db: Session) -> bool:
    """Whether no card was chosen later than `at`; of the same second the greater id wins."""
    others = db.scalars(
        select(PaymentMethod).where(
            PaymentMethod.tenant_id == tenant.id,
            PaymentMethod.is_active,
            PaymentMethod.id != row.id,
            PaymentMethod.chosen_at.is_not(None),
        )
    )
    mine = (at, row.stripe_payment_method_id)
    return all(
        (other.chosen_at, other.stripe_payment_method_id) < mine
        for other in others
        if other.chosen_at is not None
    )


def _choose(tenant: Tenant, row: PaymentMethod, at: datetime, db: Session) -> None:
    for other in db.scalars(
        select(PaymentMethod).where(PaymentMethod.tenant_id == tenant.id, PaymentMethod.is_default)
    ):
        other.is_default = False
    row.is_default = True
    row.chosen_at = max(at, row.chosen_at or at)
    audit.write(
        db,
        tenant.id,
        "payment_method_made_default",
        "payment_method",
        row.id,
        {"is_default": [False, True]},
    )


def _row(tenant: Tenant, method: str, db: Session) -> PaymentMethod | None:
    return db.scalars(
        select(PaymentMethod).where(
            PaymentMethod.tenant_id == tenant.id,
            PaymentMethod.stripe_payment_method_id == method,
        )
    ).one_or_none()


def _own(tenant: Tenant, card_id: UUID, db: Session) -> PaymentMethod:
    row = db.scalars(
        select(PaymentMethod).where(
            PaymentMethod.id == card_id,
            PaymentMethod.tenant_id == tenant.id,
            PaymentMethod.is_active,
        )
    ).one_or_none()
    if row is None:
        raise errors.NotFound(resource="payment method")
    return row


def make_default(
    tenant: Tenant, card_id: UUID, db: Session, *, payments: ports.PaymentGateway
) -> PaymentMethod:
    """Charge this card from now on; what is owed is asked of it at once. Raises NotFound."""
    row = _own(tenant, card_id, db)
    state = subscription_state.refresh(tenant, db, payments)
    payments.set_default_payment_method(
        customer=tenant.stripe_customer_id or "",
        payment_method=row.stripe_payment_method_id,
        subscription=state.id if state is not None and not state.is_over else None,
    )
    _choose(tenant, row, clock.now(), db)
    outbox.record(db, events.CardChanged(tenant_id=tenant.id))
    return row


def remove(
    tenant: Tenant, card_id: UUID, db: Session, *, payments: ports.PaymentGateway
) -> PaymentMethod:
    """Take a card off the account. Raises NotFound, and Conflict for one that is still needed."""
    row = _own(tenant, card_id, db)
    if row.is_default:
        others = db.scalar(
            select(func.count()).where(
                PaymentMethod.tenant_id == tenant.id,
                PaymentMethod.is_active,
                PaymentMethod.id != row.id,
            )
        )
        if others:
            raise errors.Conflict("This is the default card. Make another one the default first.")
        state = subscription_state.refresh(tenant, db, payments)
        if state is not None and not state.is_over:
            raise errors.Conflict(
                "This card pays for the subscription. Add another one, or cancel first."
            )
    payments.remove_card(row.stripe_payment_method_id)
    row.is_active = row.is_default = False
    audit.write(
        db,
        tenant.id,
        "payment_method_removed",
        "payment_method",
        row.id,
        {"is_active": [True, False]},
    )
    return row
