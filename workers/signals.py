"""The signals of the order saga.

Money is an integer number of minor units with its currency. ``order`` is the order's number, ``customer`` an
opaque key: signals contain no names or addresses.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field

from ordersaga.signal import Part, Refusal, Signal

Sku = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
OrderNumber = Annotated[str, Field(min_length=1, max_length=32)]
Customer = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$")]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
Money = Annotated[int, Field(ge=0, le=10**12)]
MAX_LINES = 100
MAX_QUANTITY = 10_000


class Line(Part):
    """One line of an order; ``amount`` is for the whole line, as it may not be divisible by the quantity."""

    sku: Sku
    quantity: Annotated[int, Field(ge=1, le=MAX_QUANTITY)]
    amount: Money


def _each_sku_once(lines: tuple[Line, ...]) -> tuple[Line, ...]:
    """Refuse repeated SKUs, which may be a mistake."""
    if len(lines) > 1 and len({line.sku for line in lines}) < len(lines):
        raise ValueError("a SKU is repeated; add its quantities up in one line")
    return lines


class OrderPlaced(Signal):
    order: OrderNumber
    customer: Customer
    currency: Currency
    amount: Money
    lines: Annotated[
        tuple[Line, ...], Field(min_length=1, max_length=MAX_LINES), AfterValidator(_each_sku_once)
    ]


class StockReserved(Signal):
    order: OrderNumber
    customer: Customer
    currency: Currency
    amount: Money


class OutOfStock(Refusal):
    order: OrderNumber
    sku: Sku

    def reason(self) -> str:
        return f"Out of stock: {self.sku}"


class StockReleased(Signal):
    order: OrderNumber


class PaymentCharged(Signal):
    order: OrderNumber
    currency: Currency
    amount: Money


class Decline(StrEnum):
    NO_MONEY = "not enough money"
    BLOCKED = "customer is blocked"
    LIMIT = "over the customer's limit"
    CURRENCY = "wallet holds another currency"


class PaymentDeclined(Refusal):
    order: OrderNumber
    cause: Decline

    def reason(self) -> str:
        return f"Payment declined: {self.cause.value}"


class PaymentRefunded(Signal):
    order: OrderNumber


class OrderConfirmed(Signal):
    order: OrderNumber


class StockShipped(Signal):
    order: OrderNumber


class CancelAsked(Signal):
    """The customer's request to cancel; ``orders`` decides on it."""

    order: OrderNumber


class OrderCancelled(Refusal):
    order: OrderNumber

    def reason(self) -> str:
        return "Cancelled by customer"


class OrderExpired(Refusal):
    order: OrderNumber

    def reason(self) -> str:
        return "Expired: the deadline passed"
