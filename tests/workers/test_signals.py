"""Signals refuse invalid content, wherever it comes from."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from workers.signals import MAX_LINES, MAX_QUANTITY, OrderPlaced

TEA = {"sku": "TEA", "quantity": 1, "amount": 450}
ORDER: dict[str, Any] = {"order": "1", "customer": "ann", "currency": "EUR", "amount": 450, "lines": [TEA]}


def test_a_valid_order_is_accepted() -> None:
    assert OrderPlaced.model_validate(ORDER).lines[0].sku == "TEA"


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("lines", [TEA, {**TEA, "quantity": 2}]),
        ("lines", []),
        ("lines", [{**TEA, "sku": f"SKU-{number}"} for number in range(MAX_LINES + 1)]),
        ("lines", [{**TEA, "quantity": 0}]),
        ("lines", [{**TEA, "quantity": -1}]),
        ("lines", [{**TEA, "quantity": MAX_QUANTITY + 1}]),
        ("lines", [{**TEA, "amount": -1}]),
        ("lines", [{**TEA, "sku": "NUL\0"}]),
        ("lines", [{**TEA, "sku": "\ud800"}]),
        ("lines", [{**TEA, "sku": "S" * 65}]),
        ("customer", "Jürgen"),
        ("customer", "c" * 65),
        ("currency", "euro"),
        ("amount", -1),
        ("spam", 1),
    ],
)
def test_an_invalid_order_names_its_field(field: str, wrong: object) -> None:
    with pytest.raises(ValidationError) as refused:
        OrderPlaced.model_validate({**ORDER, field: wrong})
    assert {error["loc"][0] for error in refused.value.errors()} == {field}
