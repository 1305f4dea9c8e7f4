"""Buying a name: the one call of the product that cannot be repeated and has no key.

The intent is committed before the call, and every run looks before it acts. An answer that was lost
makes the operation `unknown`; then only looking is allowed, after 30 s, 2 min, 10 min and an hour,
until the name is found with us or certainly is not.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from app import clock, errors, events
from app.database import outbox
from app.database.models import (
    Domain,
    DomainPurchase,
    DomainStatus,
    OperationState,
    PurchaseKind,
    RegistrarOperation,
    StepName,
    Tenant,
)
from app.integrations import ports
from app.services import domain_steps, registrant_service
from app.services.domain_steps import NotYet
from app.services.registrar_service import RegistrarService

KIND = "register"

LOOKS = (30.0, 120.0, 600.0, 3600.0)
"""Seconds after the lost answer at which we look whether the name is ours."""

SETTLED = timedelta(minutes=10)
"""A name that is still free this long after a lost answer was not bought by the call."""

MAX_SUBMISSIONS = 2
"""How often one purchase is sent to the registrar: once more after a first call without effect."""

_OPEN = (OperationState.SUBMITTED, OperationState.UNKNOWN)


def submit(purchase_id: UUID, db: Session) -> RegistrarOperation | None:
    """Write down that the name is about to be bought. Repeats are harmless; None when past."""
    domain_id = db.scalar(select(DomainPurchase.domain_id).where(DomainPurchase.id == purchase_id))
    if domain_id is None:
        raise errors.NotFound(resource="purchase")
    domain = domain_steps.lock(domain_id, db)
    if domain.status != DomainStatus.REGISTERING or _submissions(domain, db) > 0:
        return None
    domain_steps.move(domain, "domain_registration_submitted", db)
    outbox.record(
        db, events.DomainRegistrationSubmitted(tenant_id=domain.tenant_id, domain_id=domain.id)
    )
    return _new_operation(domain, db)


def register(
    domain_id: UUID, db: Session, *, providers: ports.Providers | None = None
) -> NotYet | None:
    """Buy the name of an open operation, or find out what became of it. Repeats are harmless."""
    providers = providers or ports.current()
    # The registrar may take longer than an idle transaction is otherwise allowed to.
    db.execute(text("SET LOCAL idle_in_transaction_session_timeout = '150s'"))
    domain = domain_steps.lock(domain_id, db)
    # The one that the price was asked of, also when another is chosen meanwhile.
    providers = providers.at(domain.registrar_provider)
    operation = _open_operation(domain, db)
    if domain.status != DomainStatus.REGISTERING or operation is None:
        return None
    purchase = db.scalars(
        select(DomainPurchase).where(
            DomainPurchase.domain_id == domain.id,
            DomainPurchase.kind == PurchaseKind.REGISTRATION,
        )
    ).one()
    domain_steps.begin(domain, StepName.REGISTRATION, db)
    with providers.registrar.order():
        return _buy(domain, purchase, operation, providers, db)


def _buy(
    domain: Domain,
    purchase: DomainPurchase,
    operation: RegistrarOperation,
    providers: ports.Providers,
    db: Session,
) -> NotYet | None:
    found = providers.registrar.find(domain.domain_name)
    if found is not None:
        _found(domain, purchase, operation, found, providers, db)
        return None
    if operation.state == OperationState.UNKNOWN:
        return _still_unknown(domain, purchase, operation, providers, db)
    objection = RegistrarService.objection(
        domain.domain_name,
        purchase.years,
        purchase.cost_cents,
        premium=purchase.premium,
        providers=providers,
    )
    if objection is not None:
        fail(domain, operation, objection, db)
        return None
    contact = registrant_service.contact_of(domain.tenant_id, db)
    try:
        bought = providers.registrar.register(
            domain.domain_name,
            purchase.years,
            cost_ceiling_cents=purchase.cost_cents,
            premium=purchase.premium,
            registrant=None if contact is None else asdict(contact),
        )
    except errors.OutcomeUnknown as error:
        return _unknown(domain, operation, error.message, db)
    except errors.ProviderFailed as refusal:
        return _refused(domain, purchase, operation, refusal.message, providers, db)
    domain_steps.step(domain, StepName.REGISTRATION, db).detail = None
    _registered(domain, purchase, operation, bought, providers, db)
    return None


def _found(
    domain: Domain,
    purchase: DomainPurchase,
    operation: RegistrarOperation,
    found: ports.Registration,
    providers: ports.Providers,
    db: Session,
) -> None:
    # Registrars give dates without a time, in their own time zone: a day is left for that.
    before = operation.created_at - timedelta(days=1)
    if found.created_at is not None and found.created_at.date() < before.date():
        why = "the name was in our account before this purchase; support must settle it"
        fail(domain, operation, why, db)
    else:
        _registered(domain, purchase, operation, found, providers, db)


def _still_unknown(
    domain: Domain,
    purchase: DomainPurchase,
    operation: RegistrarOperation,
    providers: ports.Providers,
    db: Session,
) -> NotYet | None:
    """Not with us so far. Wait, buy once more, or give up; the money waits as long."""
    passed = clock.now() - operation.updated_at
    if passed >= SETTLED:
        objection = RegistrarService.objection(
            domain.domain_name,
            purchase.years,
            purchase.cost_cents,
            premium=purchase.premium,
            providers=providers,
        )
        if objection is None:
            return _submit_again(domain, operation, db)
        if passed.total_seconds() >= LOOKS[-1]:
            fail(domain, operation, objection, db)
            return None
    return _look_again(domain, operation, db)


def _submit_again(domain: Domain, operation: RegistrarOperation, db: Session) -> NotYet | None:
    """The name is free and not ours: the lost call had no effect. Buy it with a new operation."""
    why = "the registrar did not carry out the order"
    if _submissions(domain, db) >= MAX_SUBMISSIONS:
        fail(domain, operation, why, db)
        return None
    operation.state, operation.error = OperationState.FAILED, why
    db.flush()  # Only one operation of a name may be open; the old one closes first.
    _new_operation(domain, db)
    domain_steps.move(domain, "domain_registration_submitted", db)
    # The new intent is committed before the call, like the first.
    row = domain_steps.step(domain, StepName.REGISTRATION, db)
    return domain_steps.wait(row, 0.0, f"{why}; it is sent again")


def _refused(
    domain: Domain,
    purchase: DomainPurchase,
    operation: RegistrarOperation,
    why: str,
    providers: ports.Providers,
    db: Session,
) -> NotYet | None:
    """A clear no. It may be the echo of an earlier call of ours that a dead worker never told."""
    found = providers.registrar.find(domain.domain_name)
    if found is not None:
        _found(domain, purchase, operation, found, providers, db)
        return None
    (offer,) = providers.registrar.offers([domain.domain_name], purchase.years)
    if not offer.available:
        # It was free a moment ago: somebody was faster, perhaps we.
        return _unknown(domain, operation, why, db)
    fail(domain, operation, why, db)
    return None


def _unknown(domain: Domain, operation: RegistrarOperation, why: str, db: Session) -> NotYet:
    operation.state, operation.error = OperationState.UNKNOWN, why[:500]
    operation.updated_at = clock.now()
    domain_steps.move(domain, "domain_registration_unknown", db)
    return _look_again(domain, operation, db)


def _look_again(domain: Domain, operation: RegistrarOperation, db: Session) -> NotYet:
    passed = (clock.now() - operation.updated_at).total_seconds()
    due = next((look for look in LOOKS if look > passed + 1.0), passed + LOOKS[-1])
    row = domain_steps.step(domain, StepName.REGISTRATION, db)
    why = "the registrar's answer was lost; we look whether the name is ours before anything else"
    return domain_steps.wait(row, due - passed, why)


def _registered(
    domain: Domain,
    purchase: DomainPurchase,
    operation: RegistrarOperation,
    bought: ports.Registration,
    providers: ports.Providers,
    db: Session,
) -> None:
    now = clock.now()
    operation.state, operation.error = OperationState.DONE, None
    operation.order_id, operation.charged_cents = bought.order_id, bought.charged_cents
    domain.registrar_provider = providers.registrar.name
    domain.registrar_domain_id = bought.registrar_id
    domain.purchase_price = Decimal(purchase.price_cents).scaleb(-2)
    domain.purchase_date = now
    domain.expiry_date = bought.expires_at or now + timedelta(days=365 * purchase.years)
    domain_steps.finish(domain, StepName.REGISTRATION, db, then=StepName.ZONE)
    domain_steps.move(domain, "domain_registered", db, status=DomainStatus.REGISTERED)
    outbox.record(db, events.DomainRegistered(tenant_id=domain.tenant_id, domain_id=domain.id))


def fail(domain: Domain, operation: RegistrarOperation, why: str, db: Session) -> None:
    """The name was certainly not bought: free its place in the plan and let go of the money."""
    operation.state, operation.error = OperationState.FAILED, why[:500]
    row = domain_steps.step(domain, StepName.REGISTRATION, db)
    domain_steps.give_up(domain, row, f"{domain.domain_name} was not registered: {why}")
    domain_steps.move(
        domain, "domain_registration_failed", db, status=DomainStatus.FAILED, failure=[None, why]
    )
    db.execute(
        update(Tenant)
        .where(Tenant.id == domain.tenant_id)
        .values(domains_count=Tenant.domains_count - 1)
        .execution_options(synchronize_session="fetch")
    )
    outbox.record(
        db, events.DomainRegistrationFailed(tenant_id=domain.tenant_id, domain_id=domain.id)
    )


def _open_operation(domain: Domain, db: Session) -> RegistrarOperation | None:
    return db.scalars(
        select(RegistrarOperation)
        .where(
            RegistrarOperation.domain_id == domain.id,
            RegistrarOperation.kind == KIND,
            RegistrarOperation.state.in_(_OPEN),
        )
        .with_for_update()
    ).one_or_none()


def _submissions(domain: Domain, db: Session) -> int:
    counted = select(func.count()).where(
        RegistrarOperation.domain_id == domain.id, RegistrarOperation.kind == KIND
    )
    return db.scalar(counted) or 0


def _new_operation(domain: Domain, db: Session) -> RegistrarOperation:
    operation = RegistrarOperation(
        tenant_id=domain.tenant_id,
        domain_id=domain.id,
        domain_name=domain.domain_name,
        kind=KIND,
        state=OperationState.SUBMITTED,
    )
    db.add(operation)
    return operation
