"""Another year of a name: its price is held, the registrar renews, the hold is captured.

Never charged without the year, never a second year for one price: the order is a row before the
card is asked, the intent a row before the registrar is called, and every run compares the end of
the term that the registrar tells with the one the order began from before it acts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app import clock, errors, events
from app.database import audit, outbox
from app.database.models import (
    Domain,
    DomainPurchase,
    DomainStatus,
    NoticeKind,
    PurchaseKind,
    PurchaseState,
    Tenant,
    new_id,
)
from app.integrations import ports
from app.rules import domain_life, pricing, renewals
from app.rules.domain_life import Stage
from app.services import domain_steps, notices
from app.services.subscription_service import SubscriptionService

ASKED_FOR = timedelta(days=1)
"""How long an order that its owner placed waits for its payment."""

LIVE = (PurchaseState.QUOTED, PurchaseState.AUTHORISED)
_RENEWABLE = (DomainStatus.ACTIVE, DomainStatus.EXPIRED)


@dataclass(frozen=True)
class Terms:
    """What another year would be, now. Amounts in cents."""

    ends_at: datetime
    stage: Stage
    lapsed: bool
    """The term is over: DNS and mail have stopped, and having the name back may cost a fee."""
    renewed_until: datetime
    cost_cents: int | None
    price_cents: int | None
    currency: str
    reason: str | None
    """Why it cannot be had here, when it cannot."""


def terms(domain: Domain, providers: ports.Providers) -> Terms:
    """Asks the registrar for today's price. Raises Invalid for a name that has no term with us."""
    ends_at = domain.expiry_date
    if domain.registrar_provider is None or ends_at is None:
        raise errors.Invalid(
            f"{domain.domain_name} was not registered here: renew it where it is registered."
        )
    now = clock.now()
    stage, lapsed = domain_life.stage(ends_at, now), now >= ends_at
    cost, reason = None, None
    if domain.status not in _RENEWABLE:
        reason = "it is still being set up, or has failed"
    elif stage is Stage.GONE:
        reason = "the registry has released it, or is about to"
    else:
        registrar = providers.at(domain.registrar_provider).registrar
        cost = registrar.renewal_cents(domain.domain_name, lapsed=lapsed)
        reason = _objection(cost, lapsed)
    return Terms(
        ends_at=ends_at,
        stage=stage,
        lapsed=lapsed,
        renewed_until=_a_year_after(ends_at),
        cost_cents=cost,
        price_cents=_retail(cost, providers.platform) if cost and reason is None else None,
        currency="usd",
        reason=reason,
    )


def _objection(cost: int | None, lapsed: bool) -> str | None:
    if cost is None or cost <= 0:
        return "the registrar renews it by hand only; ask support"
    most = pricing.MAX_PREMIUM_CENTS if lapsed else pricing.MAX_COST_CENTS
    return "it is too dear to be renewed without a person's consent" if cost > most else None


def _retail(cost: int, platform: ports.Platform) -> int:
    return pricing.retail_cents(
        cost,
        margin_percent=platform.domain_margin_percent,
        fixed_cents=platform.domain_fixed_cents,
    )


def _a_year_after(moment: datetime) -> datetime:
    try:
        return moment.replace(year=moment.year + 1)
    except ValueError:
        # A 29th of February.
        return moment.replace(year=moment.year + 1, day=28)


# Orders -----------------------------------------------------------------------------------------


def order_of(domain: Domain, db: Session) -> DomainPurchase | None:
    """The latest order for another year after the present term."""
    return db.scalars(
        select(DomainPurchase)
        .where(
            DomainPurchase.domain_id == domain.id,
            DomainPurchase.kind == PurchaseKind.RENEWAL,
            DomainPurchase.renews_from == domain.expiry_date,
        )
        .order_by(DomainPurchase.id.desc())
        .limit(1)
    ).one_or_none()


def plan(domain_id: UUID, db: Session, *, providers: ports.Providers | None = None) -> None:
    """What today asks for of a name that is to be kept: an order, or another try of its payment."""
    providers = providers or ports.current()
    domain = domain_steps.lock(domain_id, db)
    ends_at, now = domain.expiry_date, clock.now()
    if (
        domain.status != DomainStatus.ACTIVE
        or domain.registrar_provider is None
        or ends_at is None
        or not domain.auto_renew
        or domain.transfer_out_at is not None
        or domain_life.stage(ends_at, now) is not Stage.ENDING
    ):
        return
    order = order_of(domain, db)
    if order is None or order.state == PurchaseState.VOIDED:
        registrar = providers.at(domain.registrar_provider).registrar
        if registrar.find(domain.domain_name) is None:
            # It is not ours to renew; the look at the name says so.
            return
        found = terms(domain, providers)
        if found.reason is not None:
            _call(domain, "renewal_impossible", f"cannot be renewed: {found.reason}", db)
            return
        order = _place(domain, found, ends_at, db, providers)
    if order.state == PurchaseState.QUOTED and renewals.charge_due(
        order.created_at, order.tried_at, ends_at, now
    ):
        _set_going(order, db)


def request(
    domain: Domain,
    price_cents: int,
    db: Session,
    *,
    in_browser: bool = False,
    providers: ports.Providers | None = None,
) -> tuple[DomainPurchase, ports.Intent | None]:
    """The owner wants another year now, at the price they were shown.

    With `in_browser` the answer has an intent that they confirm themselves, with any card;
    otherwise the default card is asked. Raises Invalid, PriceChanged, Conflict, TenantSuspended,
    TrialExpired and provider errors; nothing is kept then.
    """
    providers = providers or ports.current()
    tenant = db.get_one(Tenant, domain.tenant_id)
    SubscriptionService.require_active(tenant, db)
    domain = domain_steps.lock(domain.id, db)
    order = order_of(domain, db)
    if order is not None and order.state == PurchaseState.AUTHORISED:
        raise errors.Conflict(f"{domain.domain_name} is being renewed already.")
    found = terms(domain, providers)
    if found.reason is not None or found.cost_cents is None:
        raise errors.Invalid(f"{domain.domain_name} cannot be renewed: {found.reason}.")
    if price_cents != found.price_cents:
        raise errors.PriceChanged(price_cents=found.price_cents, currency=found.currency)
    if order is not None and order.state == PurchaseState.QUOTED:
        if order.price_cents != price_cents:
            raise errors.Conflict(
                "An order at an earlier price still stands. It ends within a day; try again then.",
                price_cents=order.price_cents,
            )
    else:
        order = _place(domain, found, clock.now() + ASKED_FOR, db, providers)
    if not in_browser:
        _set_going(order, db)
        return order, None
    return order, intent_of(order, tenant, db, providers.payments)


def ask_now(domain_name: str, db: Session, *, providers: ports.Providers | None = None) -> UUID:
    """An operator does not wait for the calendar: the order's id. Raises NotFound and Invalid.

    The order is the one the owner was told of, or a new one at today's price.
    """
    providers = providers or ports.current()
    found = db.scalars(
        select(Domain.id).where(
            Domain.domain_name == domain_name.lower(),
            Domain.status == DomainStatus.ACTIVE,
            Domain.registrar_provider.is_not(None),
        )
    ).one_or_none()
    if found is None:
        raise errors.NotFound(resource="active domain that was registered here")
    domain = domain_steps.lock(found, db)
    order = order_of(domain, db)
    if order is None or order.state == PurchaseState.VOIDED:
        offered = terms(domain, providers)
        if offered.reason is not None:
            raise errors.Invalid(f"{domain.domain_name} cannot be renewed: {offered.reason}.")
        order = _place(domain, offered, offered.ends_at, db, providers)
    _set_going(order, db)
    return order.id


def retry_all(tenant_id: UUID, db: Session) -> int:
    """Another card is there: what the one before refused is asked of it; how many orders."""
    waiting = db.scalars(
        select(DomainPurchase).where(
            DomainPurchase.tenant_id == tenant_id,
            DomainPurchase.kind == PurchaseKind.RENEWAL,
            DomainPurchase.state == PurchaseState.QUOTED,
            DomainPurchase.attempts > 0,
        )
    ).all()
    for order in waiting:
        _set_going(order, db)
    return len(waiting)


def intent_of(
    order: DomainPurchase, tenant: Tenant, db: Session, payments: ports.PaymentGateway
) -> ports.Intent:
    """The intent that holds the price; made once, for all tries of all cards."""
    if tenant.stripe_customer_id is None:
        raise errors.Conflict("The account is still being opened. Try again in a moment.")
    if order.stripe_payment_intent_id is not None:
        return payments.get_payment_intent(order.stripe_payment_intent_id)
    intent = payments.create_payment_intent(
        customer=tenant.stripe_customer_id,
        amount=order.price_cents,
        currency=order.currency,
        description=f"Domain {order.domain_name}, renewal for {order.years} year(s)",
        metadata={
            "tenant_id": str(tenant.id),
            "order_id": str(order.id),
            "domain": order.domain_name,
            "kind": str(order.kind),
            "years": str(order.years),
            "registrar": order.registrar,
        },
        key=f"pi:{order.id}",
        automatic=order.automatic_capture,
    )
    order.stripe_payment_intent_id = intent.id
    db.flush()  # Events of the payment look for the order by it.
    return intent


def _place(
    domain: Domain, found: Terms, expires_at: datetime, db: Session, providers: ports.Providers
) -> DomainPurchase:
    order = DomainPurchase(
        id=new_id(),
        tenant_id=domain.tenant_id,
        domain_id=domain.id,
        domain_name=domain.domain_name,
        kind=PurchaseKind.RENEWAL,
        renews_from=found.ends_at,
        years=1,
        registrar=domain.registrar_provider,
        cost_cents=found.cost_cents,
        price_cents=found.price_cents,
        currency=found.currency,
        automatic_capture=providers.platform.automatic_capture,
        expires_at=expires_at,
        state=PurchaseState.QUOTED,
        attempts=0,
        created_at=clock.now(),
    )
    try:
        # The unique index decides between two who want the same year.
        with db.begin_nested():
            db.add(order)
            db.flush()  # Now, so that the index speaks before anything else is written.
    except IntegrityError:
        raise errors.Conflict(f"{domain.domain_name} is being renewed already.") from None
    audit.write(
        db,
        order.tenant_id,
        "domain_renewal_planned",
        "domain",
        domain.id,
        {
            "ends_at": [None, found.ends_at.isoformat()],
            "price": [None, order.price_cents],
        },
    )
    return order


def _set_going(order: DomainPurchase, db: Session) -> None:
    outbox.record(db, events.DomainRenewalDue(tenant_id=order.tenant_id, purchase_id=order.id))


def declined(order: DomainPurchase, domain: Domain, why: str, db: Session) -> None:
    """The card said no: the owner is told, and it is tried again while there is time."""
    order.attempts += 1
    order.tried_at, before, order.failure = clock.now(), order.failure, why[:500]
    audit.write(
        db,
        order.tenant_id,
        "domain_renewal_declined",
        "domain",
        domain.id,
        {"failure": [before, order.failure], "attempts": [order.attempts - 1, order.attempts]},
    )
    ends_at = order.renews_from or clock.now()
    again = renewals.next_charge(order.created_at, order.tried_at, ends_at)
    notices.owe(
        db,
        order.tenant_id,
        NoticeKind.DOMAIN_RENEWAL_FAILED,
        f"{order.id}:{order.attempts}",
        domain_name=order.domain_name,
        cents=order.price_cents,
        currency=order.currency,
        why=order.failure,
        at=ends_at.isoformat(),
        again=None if again is None else again.isoformat(),
    )


def _call(domain: Domain, kind: str, why: str, db: Session) -> None:
    """A person of the platform must look, once for each term of the name."""
    fact = f"{domain.id}:{domain.expiry_date:%Y-%m-%d}"
    notices.alert(db, kind, fact, f"{domain.domain_name} {why}.", tenant_id=domain.tenant_id)
