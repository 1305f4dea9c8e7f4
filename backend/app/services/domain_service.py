"""Names: finding, buying and setting them up."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, String, cast, exists, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app import clock, errors, events
from app.database import audit, outbox
from app.database.models import (
    Domain,
    DomainPurchase,
    DomainStatus,
    Job,
    JobState,
    OutboxEvent,
    PurchaseKind,
    PurchaseState,
    RegistrarOperation,
    StepName,
    Tenant,
)
from app.database.queries import jobs
from app.integrations import ports
from app.rules import dns_records, hostnames, limits
from app.services import domain_registration, domain_setup, domain_steps, offers
from app.services.domain_steps import NotYet
from app.services.registrar_service import Listing, RegistrarService
from app.services.subscription_service import SubscriptionService

SearchResult = Listing

MAX_TLDS = 20

WORKING = frozenset(
    {
        DomainStatus.REGISTERING,
        DomainStatus.REGISTERED,
        DomainStatus.CONFIGURING_DNS,
        DomainStatus.VERIFYING_DNS,
        DomainStatus.AUTHORIZING,
    }
)
"""A name in one of these must have a job that will look at it."""


class DomainService:
    """A purchase is a chain of small steps; each of these is one of them, and safe to repeat."""

    @staticmethod
    def search_domain_availability(
        query: str,
        tlds: Sequence[str] | None = None,
        *,
        providers: ports.Providers | None = None,
    ) -> list[SearchResult]:
        """The name asked for below several endings, with prices; other names if it is taken.

        Raises Invalid for a query that is no name or looks like a well-known brand, and provider
        errors.
        """
        providers = providers or ports.current()
        if tlds is not None and len(tlds) > MAX_TLDS:
            raise errors.Invalid(f"tlds takes at most {MAX_TLDS} endings.", tlds=len(tlds))
        try:
            names = hostnames.candidates(query, tlds or hostnames.DEFAULT_TLDS)
        except hostnames.BadName as error:
            raise errors.Invalid(f"{error}.", query=query) from None
        found = RegistrarService.search(names, providers=providers)
        if found and not found[0].available:
            others = hostnames.suggestions(names[0].label)
            found += [
                listing
                for listing in RegistrarService.search(others, suggested=True, providers=providers)
                if listing.available
            ]
        return found

    @staticmethod
    def request_purchase(
        tenant: Tenant,
        purchase: DomainPurchase,
        db: Session,
        *,
        providers: ports.Providers | None = None,
    ) -> Domain:
        """Begin to buy a name whose price is held on the card. A repeat gives the same name.

        The browser's return and the provider's event may both call it, at once. Raises
        PaymentNotCompleted, QuoteExpired, DomainLimitExceeded, DomainTaken, TenantSuspended,
        TrialExpired, and Conflict for a payment that is not this purchase's; nothing is kept then.
        """
        providers = providers or ports.current()
        if purchase.domain_id is not None:
            return db.get_one(Domain, purchase.domain_id)
        # Asked before anything is locked: a slow answer must not hold the tenant's other requests.
        intent = providers.payments.get_payment_intent(_intent_id(purchase))
        tenant, purchase = _lock(tenant, purchase, db)
        if purchase.domain_id is not None:
            return db.get_one(Domain, purchase.domain_id)
        SubscriptionService.require_active(tenant, db)
        _check_payment(tenant, purchase, intent)
        if purchase.expires_at <= clock.now():
            raise errors.QuoteExpired(expires_at=purchase.expires_at.isoformat())
        allowed = SubscriptionService.limits_of(tenant)
        match limits.check_domains(allowed, tenant.domains_count, 1):
            case limits.Denied(limit, used, requested):
                raise errors.DomainLimitExceeded(limit=limit, used=used, requested=requested)
            case limits.Allowed():
                pass
        return begin_paid(tenant, purchase, db)

    @staticmethod
    def purchase_domain(
        domain_id: UUID, db: Session, *, providers: ports.Providers | None = None
    ) -> NotYet | None:
        """The registration: look whether the name is ours, else buy it, once."""
        return domain_registration.register(domain_id, db, providers=providers)

    @staticmethod
    def configure_dns(
        domain_id: UUID, db: Session, *, providers: ports.Providers | None = None
    ) -> NotYet | None:
        """The next of zone, records and delegation that is still to be done."""
        domain = domain_steps.lock(domain_id, db)
        if domain.status == DomainStatus.REGISTERED:
            return domain_setup.create_zone(domain_id, db, providers=providers)
        if not domain_steps.is_done(domain, StepName.RECORDS, db):
            return domain_setup.publish_records(domain_id, db, providers=providers)
        return domain_setup.delegate(domain_id, db, providers=providers)

    @staticmethod
    def verify_dns(
        domain_id: UUID, db: Session, *, providers: ports.Providers | None = None
    ) -> NotYet | None:
        """Look whether the DNS shows every record as wanted."""
        return domain_setup.verify_dns(domain_id, db, providers=providers)

    @staticmethod
    def authorize_in_kumo(
        domain_id: UUID, db: Session, *, providers: ports.Providers | None = None
    ) -> NotYet | None:
        """Let the relay send for the name: it is active then."""
        return domain_setup.authorize_in_kumo(domain_id, db, providers=providers)

    @staticmethod
    def dns_report(
        domain: Domain, *, providers: ports.Providers | None = None
    ) -> tuple[dns_records.Verdict, ...]:
        """Wanted against seen, record by record, by real queries; () before there are records."""
        providers = providers or ports.current()
        return domain_setup.inspect(domain, providers.resolver)

    @staticmethod
    def zone_file(domain: Domain) -> str:
        """The wanted records as a BIND zone file."""
        return dns_records.zone_text(domain.domain_name, domain_setup.planned(domain))

    @staticmethod
    def stuck(db: Session) -> list[Domain]:
        """Names that are being worked on without a job or event that will go on with it.

        A dead job is no matter of this: an operator sees it, and replays it.
        """
        return list(
            db.scalars(
                select(Domain)
                .outerjoin(
                    DomainPurchase,
                    (DomainPurchase.domain_id == Domain.id)
                    & (DomainPurchase.kind == PurchaseKind.REGISTRATION),
                )
                .where(
                    Domain.status.in_(WORKING),
                    ~exists().where(_about(Job), Job.state != JobState.DONE),
                    ~exists().where(_about(OutboxEvent), OutboxEvent.routed_at.is_(None)),
                )
                .order_by(Domain.id)
            )
        )

    @staticmethod
    def look_again(domain: Domain, db: Session) -> None:
        """Go on with the name now instead of waiting for the next round."""
        audit.write(db, domain.tenant_id, "domain_verification_requested", "domain", domain.id)
        if domain.registrar_provider is None:
            outbox.record(db, events.DomainProofDue(domain_id=domain.id))
        if not jobs.hurry(db, domain.id):
            DomainService.resume(domain, db)

    @staticmethod
    def resume(domain: Domain, db: Session) -> bool:
        """Record the event that sets the name's present step going; False when it needs none."""
        domain = domain_steps.lock(domain.id, db)
        event = _event_of_the_present_step(domain, db)
        if event is None:
            return False
        domain_steps.move(domain, "domain_resumed", db, event=[None, event.name])
        outbox.record(db, event)
        return True

    @staticmethod
    def resume_stuck(db: Session) -> list[UUID]:
        """Set every stuck name going again; their ids. Expects a session that sees all tenants."""
        return [domain.id for domain in DomainService.stuck(db) if DomainService.resume(domain, db)]


def _lock(tenant: Tenant, purchase: DomainPurchase, db: Session) -> tuple[Tenant, DomainPurchase]:
    # Tenant first, then what it owns: the same order everywhere.
    locked = db.scalars(
        select(Tenant)
        .where(Tenant.id == tenant.id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).one()
    fresh = db.scalars(
        select(DomainPurchase)
        .where(DomainPurchase.id == purchase.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one()
    return locked, fresh


def _intent_id(purchase: DomainPurchase) -> str:
    if purchase.stripe_payment_intent_id is None:
        raise errors.PaymentNotCompleted(payment_status="missing")
    return purchase.stripe_payment_intent_id


def begin_paid(tenant: Tenant, purchase: DomainPurchase, db: Session) -> Domain:
    """The name of a purchase whose price is held or paid, and the first steps of having it.

    Expects both rows locked. Raises DomainTaken.
    """
    domain = _add(tenant, purchase, db)
    tenant.domains_count += 1
    purchase.domain_id, purchase.failure = domain.id, None
    purchase.state = PurchaseState.AUTHORISED
    domain_steps.plan(domain, db)
    domain_steps.step(domain, StepName.PAYMENT, db).started_at = purchase.created_at
    domain_steps.finish(domain, StepName.PAYMENT, db, then=StepName.REGISTRATION)
    audit.write(
        db,
        tenant.id,
        "domain_purchase_requested",
        "domain",
        domain.id,
        {
            "status": [None, str(domain.status)],
            "domain_name": [None, domain.domain_name],
            "purchase_state": [str(PurchaseState.QUOTED), str(purchase.state)],
        },
    )
    outbox.record(db, events.DomainPurchaseAuthorised(tenant_id=tenant.id, purchase_id=purchase.id))
    return domain


def _check_payment(tenant: Tenant, purchase: DomainPurchase, intent: ports.Intent) -> None:
    ready = "succeeded" if purchase.automatic_capture else "requires_capture"
    if intent.status != ready:
        raise errors.PaymentNotCompleted(payment_status=intent.status)
    if purchase.state != PurchaseState.QUOTED:
        raise errors.Conflict(f"This purchase is {purchase.state}.", state=str(purchase.state))
    offers.check(purchase)
    had = intent.amount_received if purchase.automatic_capture else intent.amount_capturable
    held = (intent.amount, had, intent.currency.lower(), intent.customer)
    price = purchase.price_cents
    if held != (price, price, purchase.currency.lower(), tenant.stripe_customer_id):
        raise errors.Conflict("The payment does not belong to this purchase.")


def _add(tenant: Tenant, purchase: DomainPurchase, db: Session) -> Domain:
    domain = Domain(
        tenant_id=tenant.id,
        domain_name=purchase.domain_name,
        status=DomainStatus.REGISTERING,
        registrar_provider=purchase.registrar,
    )
    try:
        # The unique index decides between two tenants who want the same name.
        with db.begin_nested():
            db.add(domain)
            db.flush()  # Now, so that the index speaks before anything else is written.
    except IntegrityError as error:
        raise errors.DomainTaken(domain_name=purchase.domain_name) from error
    return domain


def _about(table: type[Job] | type[OutboxEvent]) -> ColumnElement[bool]:
    """Whether a job or event carries the name's id, or that of its purchase."""
    return or_(
        table.payload["domain_id"].astext == cast(Domain.id, String),
        table.payload["purchase_id"].astext == cast(DomainPurchase.id, String),
    )


def _event_of_the_present_step(domain: Domain, db: Session) -> events.TenantEvent | None:
    ids = {"tenant_id": domain.tenant_id, "domain_id": domain.id}
    match domain.status:
        case DomainStatus.REGISTERING:
            if db.scalar(select(exists().where(RegistrarOperation.domain_id == domain.id))):
                return events.DomainRegistrationSubmitted(**ids)
            purchase_id = db.scalars(
                select(DomainPurchase.id).where(
                    DomainPurchase.domain_id == domain.id,
                    DomainPurchase.kind == PurchaseKind.REGISTRATION,
                )
            ).one()
            return events.DomainPurchaseAuthorised(
                tenant_id=domain.tenant_id, purchase_id=purchase_id
            )
        case DomainStatus.REGISTERED:
            if domain.registrar_provider is None:
                return events.DomainOwnershipProven(**ids)
            return events.DomainRegistered(**ids)
        case DomainStatus.CONFIGURING_DNS:
            if domain_steps.is_done(domain, StepName.RECORDS, db):
                return events.DomainRecordsPublished(**ids)
            return events.DomainZoneCreated(**ids)
        case DomainStatus.VERIFYING_DNS:
            return events.DomainDelegated(**ids)
        case DomainStatus.AUTHORIZING:
            return events.DomainVerified(**ids)
        case _:
            return None
