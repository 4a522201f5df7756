"""Amounts of money on pages."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.admin.formatting import DECIMALS, amount, format_money

CURRENCIES = st.sampled_from(["EUR", *DECIMALS])
MINOR = st.integers(-(10**15), 10**15)


@pytest.mark.parametrize(
    ("minor", "currency", "shown"),
    [
        (-450, "EUR", "-4.50"),
        (-5, "EUR", "-0.05"),
        (30483, "EUR", "304.83"),
        (-1_234_567, "JPY", "-1,234,567"),
        (-1_500, "KWD", "-1.500"),
        (12_345, "CLF", "1.2345"),
    ],
)
def test_an_amount_has_its_sign_and_decimals(minor: int, currency: str, shown: str):
    assert amount(minor, currency) == shown
    assert f">{shown} {currency}<" in format_money(minor, currency)


def read(shown: str) -> Decimal:
    return Decimal(shown.replace(",", ""))


@given(CURRENCIES, st.lists(MINOR, max_size=5))
def test_displayed_amounts_add_up_to_the_displayed_sum(currency: str, amounts: list[int]):
    assert sum(read(amount(each, currency)) for each in amounts) == read(amount(sum(amounts), currency))
