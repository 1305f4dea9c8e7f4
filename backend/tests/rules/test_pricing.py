"""What a name costs the customer, to the cent."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rules.pricing import card_fee_cents, retail_cents


@pytest.mark.parametrize(
    ("cost", "icann", "margin", "fixed", "price"),
    [
        (1_000, 0, 20, 50, 1_250),  # Plain: 10.00 + 20 % + 0.50.
        (1_128, 20, 20, 50, 1_428),  # (11.28 + 0.20) * 1.2 + 0.50 = 14.276, rounded up.
        (1_130, 0, 20, 50, 1_406),  # Exactly whole cents stay as they are.
        (1_000, 0, 0, 0, 1_061),  # No margin: the floor covers 2.9 % and 30 cents.
        (198, 0, 20, 0, 238),  # 2.376 rounded up; the floor (2.35) is lower.
        (150, 0, 20, 0, 186),  # A promotional price: the floor is above 1.80.
        (1, 0, 0, 0, 32),  # The cheapest thing there is still pays its fee.
        (50_000, 0, 20, 50, 60_050),
    ],
)
def test_prices(cost: int, icann: int, margin: int, fixed: int, price: int) -> None:
    assert retail_cents(cost, icann_cents=icann, margin_percent=margin, fixed_cents=fixed) == price


@pytest.mark.parametrize(
    ("cost", "icann", "margin", "fixed"),
    [
        (0, 0, 20, 50),  # Nothing is free: the registrar's answer is wrong.
        (-5, 0, 20, 50),
        (1_000, -1, 20, 50),
        (1_000, 0, -20, 50),
        (1_000, 0, 20, -1),
    ],
)
def test_amounts_that_make_no_sense(cost: int, icann: int, margin: int, fixed: int) -> None:
    with pytest.raises(ValueError, match="positive"):
        retail_cents(cost, icann_cents=icann, margin_percent=margin, fixed_cents=fixed)


COSTS, MARGINS, FIXED = st.integers(1, 10_000_000), st.integers(0, 300), st.integers(0, 10_000)


@given(COSTS, st.integers(0, 500), MARGINS, FIXED)
def test_no_sale_loses_money_and_the_margin_is_met(
    cost: int, icann: int, margin: int, fixed: int
) -> None:
    price = retail_cents(cost, icann_cents=icann, margin_percent=margin, fixed_cents=fixed)
    assert price - card_fee_cents(price) >= cost + icann
    assert price >= Fraction((cost + icann) * (100 + margin), 100) + fixed


@given(COSTS, MARGINS, FIXED)
def test_a_dearer_name_is_never_cheaper(cost: int, margin: int, fixed: int) -> None:
    now = retail_cents(cost, margin_percent=margin, fixed_cents=fixed)
    assert now <= retail_cents(cost + 1, margin_percent=margin, fixed_cents=fixed)


@given(COSTS, MARGINS, FIXED)
def test_no_cent_is_asked_for_nothing(cost: int, margin: int, fixed: int) -> None:
    price = retail_cents(cost, margin_percent=margin, fixed_cents=fixed)
    less = price - 1
    wanted = Fraction(cost * (100 + margin), 100) + fixed
    assert less < wanted or Fraction(less) * Fraction(971, 1000) - 30 < cost + 1
