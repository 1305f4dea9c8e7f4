"""Price offers for names, signed so that nothing of them can be altered before they are bought."""

from __future__ import annotations

import hmac

from app import errors
from app.database.models import DomainPurchase
from app.utils import security


def sign(purchase: DomainPurchase) -> bytes:
    """The seal over whose offer it is, what for, at which cost and price, and until when."""
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
    return security.seal("\n".join(str(part) for part in promised), "domain-offer")


def check(purchase: DomainPurchase) -> None:
    """Raises Conflict for an offer that is not as it was made."""
    if purchase.signature is None or not hmac.compare_digest(purchase.signature, sign(purchase)):
        raise errors.Conflict("This offer is not as it was made. Ask for a new one.")
