"""Another year of a name: what it costs, and ordering it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from sqlalchemy.orm import Session

from app import errors
from app.api.deps import DB, requires
from app.api.idempotency import IdempotentRoute
from app.api.responses import Envelope, ok
from app.api.schemas import renewals as s
from app.database.models import Domain, DomainPurchase, PurchaseState
from app.integrations import ports
from app.rules import renewals
from app.rules.permissions import Permission
from app.services import domain_renewal

router = APIRouter(prefix="/domains", tags=["domains"], route_class=IdempotentRoute)


@router.get(
    "/{domain_id}/renewal",
    response_model=Envelope[s.RenewalOut],
    **requires(Permission.DOMAINS_READ, waits=True),
)
def show_renewal(domain_id: UUID, db: DB) -> Any:
    """What another year costs now, when it is ordered by itself, and how an order stands."""
    return ok(_renewal(_domain(domain_id, db), db))


@router.post(
    "/{domain_id}/renew",
    status_code=202,
    response_model=Envelope[s.RenewalOut],
    **requires(
        Permission.DOMAINS_BUY,
        audit_event="domain_renewal_planned",
        idempotent=True,
        waits=True,
    ),
)
def renew(domain_id: UUID, body: s.RenewIn, request: Request, db: DB) -> Any:
    """Order another year now, also of a name that is over and can still be had back.

    The price is held, the name is renewed, and only then the price is taken.
    """
    domain = _domain(domain_id, db)
    _, intent = domain_renewal.request(
        domain, body.price_cents, db, in_browser=body.pay_with == "browser"
    )
    answer = _renewal(domain, db)
    if intent is not None:
        answer |= {
            "payment_intent_id": intent.id,
            "client_secret": intent.client_secret,
            "publishable_key": request.app.state.publishable_key,
        }
    return ok(answer)


def _renewal(domain: Domain, db: Session) -> dict[str, Any]:
    found = domain_renewal.terms(domain, ports.current())
    order = domain_renewal.order_of(domain, db)
    return {
        "domain_id": domain.id,
        "domain_name": domain.domain_name,
        "ends_at": found.ends_at,
        "stage": found.stage,
        "auto_renew": domain.auto_renew,
        "renewed_until": found.renewed_until,
        "price_cents": found.price_cents,
        "currency": found.currency,
        "restores": found.lapsed,
        "reason": found.reason,
        "order": None if order is None else _order(order, domain),
    }


def _order(order: DomainPurchase, domain: Domain) -> dict[str, Any]:
    fields = {
        name: getattr(order, name) for name in s.RenewalOrderOut.model_fields if name != "charge_at"
    }
    waits = order.state == PurchaseState.QUOTED and domain.auto_renew
    charge_at = None
    if waits and order.renews_from is not None:
        charge_at = renewals.next_charge(order.created_at, order.tried_at, order.renews_from)
    return {**fields, "charge_at": charge_at}


def _domain(domain_id: UUID, db: Session) -> Domain:
    domain = db.get(Domain, domain_id)
    if domain is None:
        raise errors.NotFound(resource="domain")
    return domain
