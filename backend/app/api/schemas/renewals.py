"""Another year of a name."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from app.api.schemas.base import In, Instant, Out, example


class RenewIn(In):
    model_config = example({"price_cents": 1872})

    price_cents: Annotated[int, Field(strict=True, gt=0, le=10_000_000)]
    """The price that was shown and is agreed to."""
    pay_with: Literal["saved_card", "browser"] = "saved_card"
    """The default card, asked at once; or an intent for any card, confirmed in the browser."""


class RenewalOrderOut(Out):
    id: UUID
    state: str
    """quoted, authorised, captured, voided, refunded or loss."""
    price_cents: int
    currency: str
    attempts: int
    """How often the saved card was asked."""
    tried_at: Instant | None
    charge_at: Instant | None
    """When its price is taken, or tried again; null when it is not tried by itself any more."""
    failure: str | None
    created_at: Instant


class RenewalOut(Out):
    domain_id: UUID
    domain_name: str
    ends_at: Instant
    stage: str
    """living, ending, grace, redemption or gone."""
    auto_renew: bool
    renewed_until: Instant
    price_cents: int | None
    """For one year, now; null when it cannot be had here."""
    currency: str
    restores: bool
    """The term is over: the price includes what having the name back costs."""
    reason: str | None
    """Why it cannot be renewed here."""
    order: RenewalOrderOut | None
    payment_intent_id: str | None = None
    client_secret: str | None = None
    """Confirm it in the browser with `publishable_key`; the year is ordered when it is held."""
    publishable_key: str | None = None


class TransferOut(Out):
    domain_name: str
    since: Instant
    auth_code: str | None
    """For the new registrar; shown now and kept nowhere. Null where it comes by mail."""
    next_step: str
