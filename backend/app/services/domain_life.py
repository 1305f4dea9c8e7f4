"""A name at the registrar once it is ours: safe, renewed or not, over, and back again.

Every look asks the registrar first and compares: whoever renewed a name, and wherever, it goes on.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app import clock, events
from app.database import audit, outbox
from app.database.models import (
    Domain,
    DomainPurchase,
    DomainStatus,
    NoticeKind,
    PurchaseKind,
    PurchaseState,
    Tenant,
)
from app.integrations import ports
from app.rules import domain_life as rules
from app.rules import renewals
from app.rules.domain_life import Stage
from app.services import domain_steps, domain_transfer, notices

_WATCHED = (DomainStatus.ACTIVE, DomainStatus.EXPIRED)
_A_RENEWAL = timedelta(days=60)
"""Registrars give days without a time; a later end by less than this is no renewal."""

RELEASED = "the registry has released the name"


def protect(domain_id: UUID, db: Session, *, providers: ports.Providers | None = None) -> None:
    """Lock the name against transfers and hide its registrant. Repeats are harmless."""
    providers = providers or ports.current()
    domain = domain_steps.lock(domain_id, db)
    if domain.protected_at is not None:
        return
    providers.at(domain.registrar_provider).registrar.protect(domain.domain_name)
    domain.protected_at = clock.now()
    audit.write(
        db, domain.tenant_id, "domain_protected", "domain", domain.id, {"locked": [None, True]}
    )


def set_auto_renew(domain: Domain, wanted: bool, db: Session) -> None:
    """Say whether the name is to be kept at the end of its term."""
    domain = domain_steps.lock(domain.id, db)
    before, domain.auto_renew = domain.auto_renew, wanted
    if before != wanted:
        domain_steps.move(domain, "domain_changed", db, auto_renew=[before, wanted])


def due(db: Session) -> list[Domain]:
    """Names whose end is near or not long past, of all tenants."""
    now = clock.now()
    last = now - rules.GRACE - rules.REDEMPTION - rules.PENDING_DELETE - timedelta(days=7)
    return list(
        db.scalars(
            select(Domain)
            .where(
                Domain.status.in_(_WATCHED),
                Domain.registrar_provider.is_not(None),
                Domain.expiry_date.between(last, now + timedelta(days=rules.NOTICE_DAYS[0]))
                | Domain.transfer_out_at.is_not(None),
            )
            .order_by(Domain.id)
        )
    )


def overview(db: Session) -> list[dict[str, object]]:
    """What `due` finds, for operators; expects a session that sees all tenants."""
    now = clock.now()
    ending = [(domain.expiry_date, domain) for domain in due(db) if domain.expiry_date]
    return [
        {
            "domain": domain.domain_name,
            "domain_id": str(domain.id),
            "tenant_id": str(domain.tenant_id),
            "status": str(domain.status),
            "stage": str(rules.stage(ends_at, now)),
            "ends_at": ends_at.isoformat(),
            "days_left": rules.days_left(ends_at, now),
            "auto_renew": domain.auto_renew,
            "order": None if (order := _order(domain, db)) is None else str(order.state),
            "order_failure": None if order is None else order.failure,
        }
        for ends_at, domain in sorted(ending, key=lambda pair: pair[0])
    ]


def look(domain_id: UUID, db: Session, *, providers: ports.Providers | None = None) -> None:
    """What today asks for of one name. Repeats are harmless."""
    providers = providers or ports.current()
    domain = domain_steps.lock(domain_id, db)
    ends_at = domain.expiry_date
    if domain.status not in _WATCHED or ends_at is None:
        return
    stage = rules.stage(ends_at, clock.now())
    if stage is Stage.LIVING and domain.transfer_out_at is None:
        return
    found = providers.at(domain.registrar_provider).registrar.find(domain.domain_name)
    if found is None and domain.transfer_out_at is not None:
        _let_go(domain, providers, db)
    elif stage is Stage.LIVING:
        return
    elif found is not None and found.expires_at and found.expires_at > ends_at + _A_RENEWAL:
        renewed(domain, found.expires_at, db)
    elif stage is Stage.ENDING:
        _remind(domain, ends_at, db)
        if found is None:
            _call(domain, "domain_lost", "is not in our account any more, before its end", db)
    else:
        if domain.status == DomainStatus.ACTIVE:
            _expire(domain, ends_at, providers, db)
        if stage is Stage.GONE and found is None and domain.failure != RELEASED:
            domain_steps.move(domain, "domain_released", db, failure=[domain.failure, RELEASED])
            domain.failure = RELEASED


def _let_go(domain: Domain, providers: ports.Providers, db: Session) -> None:
    """It went to another registrar, as its owner wanted."""
    if domain.kumo_authorized:
        providers.mail.remove_relay(domain.domain_name)
        providers.mail.reload()
        domain.kumo_authorized = False
    counted = domain.status == DomainStatus.ACTIVE
    domain_transfer.left(domain, db)
    if counted:
        _count(domain, -1, db)


def _remind(domain: Domain, ends_at: datetime, db: Session) -> None:
    days = rules.notice_due(ends_at, clock.now())
    if days is None:
        return
    order = _order(domain, db) if domain.auto_renew else None
    charged_at = None
    if order is not None and order.state == PurchaseState.QUOTED:
        charged_at = renewals.next_charge(order.created_at, order.tried_at, ends_at)
    notices.owe(
        db,
        domain.tenant_id,
        NoticeKind.DOMAIN_EXPIRING,
        f"{domain.id}:{ends_at:%Y-%m-%d}:{days}",
        domain_name=domain.domain_name,
        at=ends_at.isoformat(),
        days=rules.days_left(ends_at, clock.now()),
        kept="yes" if domain.auto_renew else "no",
        cents=None if order is None else order.price_cents,
        currency=None if order is None else order.currency,
        charged_at=None if charged_at is None else max(charged_at, clock.now()).isoformat(),
    )
    if domain.auto_renew and days <= rules.RENEWAL_DAYS:
        why = "no order was placed" if order is None else order.failure or f"it is {order.state}"
        told = f"ends on {ends_at:%Y-%m-%d}, is to be kept and is not renewed yet ({why})"
        _call(domain, "domain_renewal_due", told, db)


def _order(domain: Domain, db: Session) -> DomainPurchase | None:
    """The order for another year that stands, if there is one."""
    return db.scalars(
        select(DomainPurchase).where(
            DomainPurchase.domain_id == domain.id,
            DomainPurchase.kind == PurchaseKind.RENEWAL,
            DomainPurchase.renews_from == domain.expiry_date,
            DomainPurchase.state != PurchaseState.VOIDED,
        )
    ).first()


def _expire(domain: Domain, ends_at: datetime, providers: ports.Providers, db: Session) -> None:
    """Nobody renewed it: the registrar has taken its DNS away, so the relay lets go of it too."""
    providers.mail.remove_relay(domain.domain_name)
    providers.mail.reload()
    domain.kumo_authorized = False
    domain_steps.move(
        domain,
        "domain_expired",
        db,
        status=DomainStatus.EXPIRED,
        kumo_authorized=[True, False],
    )
    _count(domain, -1, db)
    until = ends_at + rules.GRACE
    notices.owe(
        db,
        domain.tenant_id,
        NoticeKind.DOMAIN_EXPIRED,
        f"{domain.id}:{ends_at:%Y-%m-%d}",
        domain_name=domain.domain_name,
        at=until.isoformat(),
    )
    if domain.auto_renew:
        _call(domain, "domain_expired", f"was to be kept; it can be had until {until:%Y-%m-%d}", db)


def renewed(domain: Domain, ends_at: datetime, db: Session) -> None:
    """It has a later end. One that was over is authorised anew, unless somebody else has it now."""
    before, domain.expiry_date = domain.expiry_date, ends_at
    changed: list[object] = [None if before is None else before.isoformat(), ends_at.isoformat()]
    if domain.status == DomainStatus.ACTIVE:
        domain_steps.move(domain, "domain_renewed", db, expiry_date=changed)
        return
    db.flush()  # The date holds whatever the index says of the status.
    if not _is_free(domain, db):
        domain_steps.move(domain, "domain_renewed", db, expiry_date=changed)
        _call(domain, "domain_contested", "was renewed, but is another tenant's domain now", db)
        return
    domain.failure = None
    domain_steps.move(
        domain, "domain_renewed", db, status=DomainStatus.AUTHORIZING, expiry_date=changed
    )
    _count(domain, 1, db)
    outbox.record(db, events.DomainVerified(tenant_id=domain.tenant_id, domain_id=domain.id))


def _is_free(domain: Domain, db: Session) -> bool:
    """Whether the name has no other living owner; the index alone sees all tenants' rows."""
    try:
        with db.begin_nested():
            domain.status = DomainStatus.AUTHORIZING
            db.flush()  # Now, so that the index speaks before anything else is written.
    except IntegrityError:
        return False
    # The step to the new status is the caller's, who writes it down.
    domain.status = DomainStatus.EXPIRED
    return True


def _count(domain: Domain, step: int, db: Session) -> None:
    db.execute(
        update(Tenant)
        .where(Tenant.id == domain.tenant_id)
        .values(domains_count=Tenant.domains_count + step)
        .execution_options(synchronize_session="fetch")
    )


def _call(domain: Domain, kind: str, why: str, db: Session) -> None:
    """A person of the platform must look, once for each term of the name."""
    fact = f"{domain.id}:{domain.expiry_date:%Y-%m-%d}"
    notices.alert(db, kind, fact, f"{domain.domain_name} {why}.", tenant_id=domain.tenant_id)
