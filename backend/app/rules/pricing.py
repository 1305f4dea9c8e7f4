"""What a name costs the customer. Integer cents outside, exact decimals inside."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal

CARD_FEE_RATE = Decimal("0.029")
CARD_FEE_CENTS = 30
"""What Stripe keeps of a card payment: 2.9 % and 30 cents (its public price list for the US)."""

MAX_COST_CENTS = 50_000
"""A cost above this is no ordinary name: a person must look before we buy it with our balance."""

MAX_PREMIUM_CENTS = 300_000
"""The same for a premium name whose buyer has confirmed the price."""


def retail_cents(
    cost_cents: int, *, icann_cents: int = 0, margin_percent: int, fixed_cents: int
) -> int:
    """(cost + ICANN fee) × (1 + margin) + fixed amount, rounded up to a cent.

    Never below what leaves the cost whole after the card fee. Raises ValueError for a negative
    amount or a cost of nothing, which is a registrar's mistake and not a gift.
    """
    if cost_cents <= 0 or min(icann_cents, margin_percent, fixed_cents) < 0:
        raise ValueError("A cost is positive, and fees and margins are not negative.")
    cost = Decimal(cost_cents + icann_cents)
    price = cost * (100 + margin_percent) / 100 + fixed_cents
    floor = (cost + CARD_FEE_CENTS) / (1 - CARD_FEE_RATE)
    cents = int(max(price, floor).to_integral_value(ROUND_CEILING))
    # Stripe rounds its fee, perhaps up: a last cent may be missing.
    while cents - card_fee_cents(cents) < cost:
        cents += 1
    return cents


def card_fee_cents(price_cents: int) -> int:
    """The card fee of a payment, rounded up."""
    return int((price_cents * CARD_FEE_RATE).to_integral_value(ROUND_CEILING)) + CARD_FEE_CENTS
