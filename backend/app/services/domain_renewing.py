"""Carrying an order for another year out: one change outside for each transaction."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app import clock, errors, events
from app.database import outbox
from app.database.models import (
    Domain,
    DomainPurchase,
    NoticeKind,
    OperationState,
    PaymentMethod,
    PurchaseState,
    RegistrarOperation,
    Tenant,
)
from app.integrations import ports
from app.services import billing_service, domain_life, domain_renewal, domain_steps, notices
from app.services.billing_service import BillingService
from app.services.domain_registration import LOOKS, MAX_SUBMISSIONS, SETTLED
from app.services.domain_steps import NotYet
from app.services.subscription_service import SubscriptionService

KIND = "renew"
_OPEN = (OperationState.SUBMITTED, OperationState.UNKNOWN)
_LATER = timedelta(days=60)
"""Registrars give days without a time; a later end by less than this is no other year."""

GOES_ON = NotYet(0.0, "the next step")


def advance(
    purchase_id: UUID, db: Session, *, providers: ports.Providers | None = None
) -> NotYet | None:
    """The next step of an order. Repeats are harmless; None when there is nothing left to do."""
    providers = providers or ports.current()
    # The registrar may take longer than an idle transaction is otherwise allowed to.
    db.execute(text("SET LOCAL idle_in_transaction_session_timeout = '150s'"))
    domain_id = db.scalar(select(DomainPurchase.domain_id).where(DomainPurchase.id == purchase_id))
    if domain_id is None:
        raise errors.NotFound(resource="purchase")
    domain = domain_steps.lock(domain_id, db)
    providers = providers.at(domain.registrar_provider)
    order = db.scalars(
        select(DomainPurchase)
        .where(DomainPurchase.id == purchase_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one()
    if order.state == PurchaseState.QUOTED:
        return _hold(order, domain, db, providers)
    if order.state == PurchaseState.AUTHORISED:
        return _renew(order, domain, db, providers)
    return None


# The money --------------------------------------------------------------------------------------


def _hold(
    order: DomainPurchase, domain: Domain, db: Session, providers: ports.Providers
) -> NotYet | None:
    tenant = db.get_one(Tenant, order.tenant_id)
    first = order.stripe_payment_intent_id is None
    if first and not SubscriptionService.may_send(tenant):
        # Nobody is charged for a name while they may not use it; the calendar asks again.
        order.failure = "the account is stopped"
        return None
    intent = domain_renewal.intent_of(order, tenant, db, providers.payments)
    if first:
        # Committed before the card is asked, so that every event of the payment finds its order.
        return GOES_ON
    why = _objection(order, domain, providers)
    if why is not None:
        BillingService.release_purchase(order.id, db, why=why, payments=providers.payments)
        return None
    if not _is_held(order, intent):
        if not SubscriptionService.may_send(tenant):
            order.failure = "the account is stopped"
            return None
        card = _default_card(order, db)
        if card is None:
            domain_renewal.declined(order, domain, "There is no card on file.", db)
            return None
        try:
            # Tries are told apart: Stripe repeats the answer to a key for a day.
            key = f"conf:{order.id}:{order.attempts}"
            intent = providers.payments.charge_saved_card(intent.id, payment_method=card, key=key)
        except errors.PaymentRequired as refusal:
            domain_renewal.declined(order, domain, refusal.message, db)
            return None
    if not _is_held(order, intent):
        return NotYet(60.0, f"the payment is {intent.status}")
    billing_service.move(order, PurchaseState.AUTHORISED, db)
    return GOES_ON


def _is_held(order: DomainPurchase, intent: ports.Intent) -> bool:
    """Also when its owner paid in the browser, or a run died after the card had said yes."""
    return intent.status == ("succeeded" if order.automatic_capture else "requires_capture")


def _objection(order: DomainPurchase, domain: Domain, providers: ports.Providers) -> str | None:
    """Why this order must not be paid any more."""
    if domain.expiry_date != order.renews_from:
        return "the name has another end by now"
    with providers.registrar.order():
        if _has_later_end(order, providers.registrar.find(domain.domain_name)):
            return "the name was renewed elsewhere"
        found = domain_renewal.terms(domain, providers)
    if found.reason is not None or found.cost_cents is None:
        return found.reason or "it has no price"
    if found.cost_cents > order.cost_cents:
        return f"the registrar raised its price by {found.cost_cents - order.cost_cents} cents"
    return None


def _default_card(order: DomainPurchase, db: Session) -> str | None:
    return db.scalar(
        select(PaymentMethod.stripe_payment_method_id).where(
            PaymentMethod.tenant_id == order.tenant_id,
            PaymentMethod.is_default,
            PaymentMethod.is_active,
        )
    )


# The name ---------------------------------------------------------------------------------------


def _renew(
    order: DomainPurchase, domain: Domain, db: Session, providers: ports.Providers
) -> NotYet | None:
    operation = _latest(order, db)
    if operation is None:
        db.add(_operation(order, domain))
        return GOES_ON
    if operation.state not in _OPEN:
        return None
    with providers.registrar.order():
        return _send(order, domain, operation, db, providers)


def _send(
    order: DomainPurchase,
    domain: Domain,
    operation: RegistrarOperation,
    db: Session,
    providers: ports.Providers,
) -> NotYet | None:
    held = providers.registrar.find(domain.domain_name)
    if held is not None and _has_later_end(order, held):
        _done(order, domain, operation, held, db)
        return None
    if operation.state == OperationState.UNKNOWN:
        return _still_unknown(order, domain, operation, db)
    try:
        renewed = providers.registrar.renew(
            domain.domain_name,
            cost_ceiling_cents=order.cost_cents,
            lapsed=clock.now() >= _from(order),
        )
    except errors.OutcomeUnknown as error:
        operation.state, operation.error = OperationState.UNKNOWN, error.message[:500]
        operation.updated_at = clock.now()
        return _look_again(operation)
    except errors.ProviderFailed as refusal:
        # It may be the echo of an earlier call of ours that a dead worker never told.
        held = providers.registrar.find(domain.domain_name)
        if held is not None and _has_later_end(order, held):
            _done(order, domain, operation, held, db)
        else:
            _fail(order, domain, operation, refusal.message, db)
        return None
    _done(order, domain, operation, renewed, db)
    return None


def _has_later_end(order: DomainPurchase, held: ports.Registration | None) -> bool:
    if held is None or held.expires_at is None:
        return False
    return held.expires_at > _from(order) + _LATER


def _still_unknown(
    order: DomainPurchase, domain: Domain, operation: RegistrarOperation, db: Session
) -> NotYet | None:
    """The end is as it was. Wait, send it once more, or give up; the money waits as long."""
    if clock.now() - operation.updated_at < SETTLED:
        return _look_again(operation)
    why = "the registrar did not carry out the order"
    if _submissions(order, db) >= MAX_SUBMISSIONS:
        _fail(order, domain, operation, why, db)
        return None
    operation.state, operation.error = OperationState.FAILED, why
    db.flush()  # Only one operation of a name may be open; the old one closes first.
    db.add(_operation(order, domain))
    return GOES_ON


def _look_again(operation: RegistrarOperation) -> NotYet:
    passed = (clock.now() - operation.updated_at).total_seconds()
    due = next((look for look in LOOKS if look > passed + 1.0), passed + LOOKS[-1])
    return NotYet(due - passed, "the registrar's answer was lost; we look at the name's end first")


def _done(
    order: DomainPurchase,
    domain: Domain,
    operation: RegistrarOperation,
    held: ports.Registration,
    db: Session,
) -> None:
    operation.state, operation.error = OperationState.DONE, None
    operation.order_id = held.order_id or operation.order_id
    operation.charged_cents = held.charged_cents or operation.charged_cents
    ends_at = held.expires_at or _from(order) + timedelta(days=365 * order.years)
    domain_life.renewed(domain, ends_at, db)
    outbox.record(
        db,
        events.DomainRenewed(tenant_id=order.tenant_id, domain_id=domain.id, purchase_id=order.id),
    )


def _fail(
    order: DomainPurchase, domain: Domain, operation: RegistrarOperation, why: str, db: Session
) -> None:
    """The name was certainly not renewed: the hold is let go of, and a person looks."""
    operation.state, operation.error = OperationState.FAILED, why[:500]
    ends_at = _from(order)
    domain_steps.move(domain, "domain_renewal_failed", db, failure=[None, why])
    notices.owe(
        db,
        order.tenant_id,
        NoticeKind.DOMAIN_RENEWAL_FAILED,
        f"{order.id}:registrar",
        domain_name=order.domain_name,
        cents=order.price_cents,
        currency=order.currency,
        why="The registrar did not accept the order, and nothing was charged. We look into it.",
        at=ends_at.isoformat(),
        again=None,
    )
    notices.alert(
        db,
        "renewal_failed",
        str(order.id),
        f"The renewal of {order.domain_name}, which ends on {ends_at:%Y-%m-%d}, failed: {why}.",
        tenant_id=order.tenant_id,
    )
    outbox.record(
        db,
        events.DomainRenewalFailed(
            tenant_id=order.tenant_id, domain_id=domain.id, purchase_id=order.id
        ),
    )


def _from(order: DomainPurchase) -> datetime:
    if order.renews_from is None:
        raise errors.Conflict("This order is no renewal.")
    return order.renews_from


def _latest(order: DomainPurchase, db: Session) -> RegistrarOperation | None:
    return db.scalars(
        select(RegistrarOperation)
        .where(RegistrarOperation.purchase_id == order.id)
        .order_by(RegistrarOperation.id.desc())
        .limit(1)
        .with_for_update()
    ).one_or_none()


def _submissions(order: DomainPurchase, db: Session) -> int:
    counted = select(func.count()).where(RegistrarOperation.purchase_id == order.id)
    return db.scalar(counted) or 0


def _operation(order: DomainPurchase, domain: Domain) -> RegistrarOperation:
    return RegistrarOperation(
        tenant_id=order.tenant_id,
        domain_id=domain.id,
        domain_name=order.domain_name,
        purchase_id=order.id,
        kind=KIND,
        state=OperationState.SUBMITTED,
    )
