"""After a restore: what happened outside in the time that is lost, account by account.

Stripe and the registrar remember it. A name that was bought or renewed then is taken up where its
payment left it, under the order's own id, so that every later step finds itself done. What has no
order and no name here is for a person.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app import clock, errors, events
from app.database import audit, outbox
from app.database.models import (
    Domain,
    DomainPurchase,
    DomainStatus,
    OperationState,
    PurchaseKind,
    PurchaseState,
    RegistrarOperation,
    Tenant,
)
from app.integrations import ports
from app.services import (
    billing_service,
    domain_registration,
    domain_service,
    ledger,
    offers,
    reconciliation,
)
from app.services.subscription_service import lock

_ORDER = {"order_id", "domain", "kind", "years", "registrar"}
"""What a payment for a name tells of its order."""

_PAID = {"succeeded", "requires_capture"}


@dataclass
class Account:
    """What one tenant's account had to catch up with."""

    tenant_id: str
    names: list[str] = field(default_factory=list)
    """Bought or renewed in the lost time, and taken up again."""
    unexplained: list[str] = field(default_factory=list)
    """Payments for names that are not in our account at the registrar, or cannot be taken up."""
    repairs: dict[str, Any] = field(default_factory=dict)

    @property
    def any(self) -> bool:
        return bool(self.names or self.unexplained or self.repairs)


def account(
    tenant_id: UUID, db: Session, *, providers: ports.Providers | None = None
) -> Account | None:
    """Catch one account up. Repeats are harmless; None when there was nothing to do."""
    providers = providers or ports.current()
    # Stripe is asked page by page meanwhile.
    db.execute(text("SET LOCAL idle_in_transaction_session_timeout = '10min'"))
    tenant = lock(db.get_one(Tenant, tenant_id), db)
    done = Account(str(tenant_id))
    if tenant.stripe_customer_id is None:
        return None
    for charge in providers.payments.charges_of(tenant.stripe_customer_id):
        if charge.payment_intent is None or charge.status != "succeeded":
            continue
        intent = providers.payments.get_payment_intent(charge.payment_intent)
        if intent.status in _PAID and not charge.refunded:
            _order(tenant, intent, done, db, providers)
    # After the orders: what a payment was for decides how it is booked.
    repairs = reconciliation.reconcile(tenant_id, db, providers.payments)
    if repairs.any:
        done.repairs = {name: value for name, value in asdict(repairs).items() if value}
        done.repairs.pop("tenant_id")
    return done if done.any else None


def _order(
    tenant: Tenant, intent: ports.Intent, done: Account, db: Session, providers: ports.Providers
) -> None:
    purchase = ledger.purchase_of(intent.id, db)
    if purchase is None and "order_id" not in intent.metadata:
        return  # An invoice's payment, which the books tell of.
    purchase = purchase or db.get(DomainPurchase, UUID(intent.metadata["order_id"]))
    known = purchase is not None
    if purchase is not None and purchase.state != PurchaseState.QUOTED:
        return
    name = intent.metadata.get("domain", "") if purchase is None else purchase.domain_name
    told = f"{name}: {intent.amount / 100:.2f} {intent.currency.upper()}, {intent.id}"
    if purchase is None and not intent.metadata.keys() >= _ORDER:
        done.unexplained.append(f"{told}: its order is not known here")
        return
    registrar = intent.metadata["registrar"] if purchase is None else purchase.registrar
    held = providers.at(registrar).registrar.find(name)
    if held is None:
        if not known or (intent.status == "succeeded" and not _is_automatic(purchase)):
            done.unexplained.append(f"{told}: the name is not in our account")
        return
    try:
        with db.begin_nested():
            purchase = purchase or _again(tenant, intent, registrar, held, db)
            purchase.stripe_payment_intent_id = intent.id
            db.flush()  # Events of the payment look for the order by it.
            _carry_on(tenant, purchase, held, db)
    except (errors.InboxGroveError, ValueError) as error:
        done.unexplained.append(f"{told}: {error}")
        return
    audit.write(
        db,
        tenant.id,
        "domain_purchase_recovered",
        "domain_purchase",
        purchase.id,
        {"payment": [None, intent.id]},
    )
    done.names.append(told)


def _is_automatic(purchase: DomainPurchase | None) -> bool:
    """Charged before it is bought, so that a payment is no sign of a name."""
    return purchase is not None and purchase.automatic_capture


def _again(
    tenant: Tenant,
    intent: ports.Intent,
    registrar: str,
    held: ports.Registration,
    db: Session,
) -> DomainPurchase:
    """The row of an order that was placed in the lost time, from what its payment tells of it."""
    renewal = intent.metadata["kind"] == PurchaseKind.RENEWAL
    domain = _domain(tenant, intent.metadata["domain"], db) if renewal else None
    now = clock.now()
    purchase = DomainPurchase(
        id=UUID(intent.metadata["order_id"]),
        tenant_id=tenant.id,
        domain_id=None if domain is None else domain.id,
        domain_name=intent.metadata["domain"],
        kind=PurchaseKind(intent.metadata["kind"]),
        renews_from=None if domain is None else domain.expiry_date,
        years=int(intent.metadata["years"]),
        registrar=registrar,
        cost_cents=0,  # The registrar was paid; nothing may be spent on it again.
        price_cents=intent.amount,
        currency=intent.currency,
        premium=False,
        automatic_capture=False,
        expires_at=now,
        state=PurchaseState.QUOTED,
        attempts=0,
        created_at=now if held.created_at is None or renewal else held.created_at,
    )
    purchase.signature = offers.sign(purchase)
    db.add(purchase)
    db.flush()  # The name's row refers to it, and so does the audit trail.
    return purchase


def _domain(tenant: Tenant, name: str, db: Session) -> Domain:
    found = db.scalars(
        select(Domain).where(
            Domain.tenant_id == tenant.id,
            Domain.domain_name == name,
            Domain.status.not_in([DomainStatus.FAILED, DomainStatus.DELETED]),
        )
    ).first()
    if found is None:
        raise errors.Conflict("The name was renewed, and the tenant does not have it here.")
    return found


def _carry_on(
    tenant: Tenant, purchase: DomainPurchase, held: ports.Registration, db: Session
) -> None:
    """Set the order going behind its payment; each further step looks before it acts."""
    if purchase.kind == PurchaseKind.RENEWAL:
        ends_at, began = held.expires_at, purchase.renews_from
        if ends_at is None or began is None or ends_at <= began:
            raise errors.Conflict("The name was not renewed.")
        billing_service.move(purchase, PurchaseState.AUTHORISED, db)
        outbox.record(db, events.DomainRenewalDue(tenant_id=tenant.id, purchase_id=purchase.id))
        return
    domain = domain_service.begin_paid(tenant, purchase, db)
    db.add(
        RegistrarOperation(
            tenant_id=tenant.id,
            domain_id=domain.id,
            domain_name=domain.domain_name,
            kind=domain_registration.KIND,
            state=OperationState.SUBMITTED,
            created_at=purchase.created_at,
        )
    )
    outbox.record(db, events.DomainRegistrationSubmitted(tenant_id=tenant.id, domain_id=domain.id))
