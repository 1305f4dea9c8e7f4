"""Price offers for names, signed so that nothing of them can be altered before they are bought."""

from __future__ import annotations

from app import errors
from app.database.models import DomainPurchase
from app.utils import security

_PURPOSE = "domain-offer"


def sign(purchase: DomainPurchase) -> bytes:
    """The seal over whose offer it is, what for, at which cost and price, and until when."""
    return security.seal(_promise(purchase), _PURPOSE)


def _promise(purchase: DomainPurchase) -> str:
    promised = (
        purchase.id,
        purchase.tenant_id,
        purchase.domain_name,
        purchase.years,
        purchase.registrar,
        purchase.cost_cents,
        purchase.price_cents,
        purchase.currency,
        purchase.premium,
        purchase.automatic_capture,
        purchase.expires_at.timestamp(),
    )
    return "\n".join(str(part) for part in promised)


def check(purchase: DomainPurchase) -> None:
    """Raises Conflict for an offer that is not as it was made."""
    seal = purchase.signature
    if seal is None or not security.is_seal(seal, _promise(purchase), _PURPOSE):
        raise errors.Conflict("This offer is not as it was made. Ask for a new one.")
