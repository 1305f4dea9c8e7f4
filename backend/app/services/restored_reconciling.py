"""After a restore: what happened outside in the time that is lost, account by account.

Stripe and the registrar remember it. A name that was bought or renewed then is taken up where its
payment left it, under the order's own id, so that every later step finds itself done. What has no
order and no name here is for a person.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import clock, errors, events
from app.database import audit, outbox
from app.database.models import (
    Domain,
    DomainPurchase,
    DomainStatus,
    Inbox,
    InboxStatus,
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
    notices,
    offers,
    reconciliation,
    restored_mode,
    stripe_events,
)
from app.services.subscription_service import lock

OVERLAP = timedelta(hours=1)
"""Events from so long before the dump: what was on its way when it was taken."""

MEMORY = timedelta(days=30)
"""How long Stripe keeps events; asked for when nobody knows how old the data is."""

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
    if purchase is None and "order_id" in intent.metadata:
        purchase = db.get(DomainPurchase, UUID(intent.metadata["order_id"]))
    known = purchase is not None
    if purchase is None and not {"order_id", "domain", "kind", "years"} <= intent.metadata.keys():
        return  # An invoice's payment, which the books tell of.
    if purchase is not None and purchase.state != PurchaseState.QUOTED:
        return
    name = intent.metadata["domain"] if purchase is None else purchase.domain_name
    told = f"{name}: {intent.amount / 100:.2f} {intent.currency.upper()}, {intent.id}"
    found = _find(name, providers)
    if found is None:
        if not known or (intent.status == "succeeded" and not _is_automatic(purchase)):
            done.unexplained.append(f"{told}: the name is not in our account")
        return
    registrar, held = found
    try:
        with db.begin_nested():
            purchase = purchase or _again(tenant, intent, registrar, held, db)
            purchase.stripe_payment_intent_id = intent.id
            db.flush()
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


def _find(name: str, providers: ports.Providers) -> tuple[str, ports.Registration] | None:
    for registrar in (providers.registrar, *providers.others.values()):
        held = registrar.find(name)
        if held is not None:
            return registrar.name, held
    return None


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
    db.flush()
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


# What belongs to no account ---------------------------------------------------------------------


def finish(
    found: list[Account], db: Session, *, providers: ports.Providers | None = None
) -> dict[str, Any]:
    """The rest, once every account was looked at; the findings, which are also kept and told.

    Raises Conflict when nothing is held.
    """
    providers = providers or ports.current()
    life = restored_mode.present(db)
    since = (life.data_until or clock.now() - MEMORY) - OVERLAP
    strangers = sorted(_strangers(since, db, providers.payments))
    missed = reconciliation.fetch_missed_events(db, providers.payments, since=since)
    findings = {
        "data_until": None if life.data_until is None else life.data_until.isoformat(),
        "accounts": [asdict(one) for one in found],
        "events": missed,
        "customers_without_account": strangers,
        "suspended_at_the_relay_only": sorted(_killed_only(db, providers.mail)),
        "logins_at_the_relay_only": sum(len(names) for names in _unknown(db, providers.mail)),
    }
    life.findings, life.reconciled_at = findings, clock.now()
    names = sum(len(one.names) for one in found)
    unexplained = sum(len(one.unexplained) for one in found)
    notices.alert(
        db,
        "restored_reconciled",
        f"{life.id} {life.reconciled_at:%Y-%m-%d %H:%M:%S}",
        f"The restored database was compared with Stripe and the registrar: {len(found)} accounts"
        f" differed, {names} names were taken up again, {unexplained} payments need a person,"
        f" {missed} events had not reached us, {len(strangers)} customers have no account here."
        " `inboxgrove ops restored status` lists them.",
    )
    return findings


def _strangers(since: datetime, db: Session, payments: ports.PaymentGateway) -> set[str]:
    """Who did something at Stripe and has no tenant: it registered in the lost time."""
    seen = set()
    for event in payments.events_since(since, sorted(stripe_events.HANDLERS)):
        body = event.payload["data"]["object"]
        customer = body["id"] if body.get("object") == "customer" else body.get("customer")
        if isinstance(customer, str):
            seen.add(customer)
    known = select(Tenant.stripe_customer_id).where(Tenant.stripe_customer_id.in_(seen))
    return seen - {str(customer) for customer in db.scalars(known)}


def _killed_only(db: Session, mail: ports.MailPlatform) -> set[str]:
    """Suspended in the lost time, perhaps: the release of this database would let them send."""
    suspended = {str(id_) for id_ in db.scalars(select(Tenant.id).where(Tenant.is_suspended))}
    return mail.killed_tenants() - suspended


def _unknown(db: Session, mail: ports.MailPlatform) -> Iterator[set[str]]:
    for names in mail.usernames():
        known = select(Inbox.username).where(
            Inbox.username.in_(names), Inbox.status != InboxStatus.DELETED
        )
        yield set(names) - {name.lower() for name in db.scalars(known)}
