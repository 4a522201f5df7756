"""What requests and responses of the API look like. Money is an integer number of minor units."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from ninja import Schema
from pydantic import BeforeValidator, ConfigDict, Field

from webapp.orders.models import KEY_LENGTH, NAME_LENGTH
from workers.signals import MAX_LINES, MAX_QUANTITY, Currency, Customer, Money, Sku

MAX_BATCH = 1000
Key = Annotated[str, Field(min_length=1, max_length=KEY_LENGTH, pattern=r"^[\x21-\x7e]+$")]
Status = Literal["PENDING", "CONFIRMED", "ROLLING_BACK", "ROLLED_BACK"]


def _whole(value: object) -> object:
    """JSON has one kind of number: 2.0 is the whole number 2."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = BeforeValidator(_whole)


class Input(Schema):
    """A part of a request: unknown fields and values of other types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class LineInput(Input):
    sku: Sku
    quantity: Annotated[int, Field(ge=1, le=MAX_QUANTITY), Whole]
    amount: Annotated[
        Money | None,
        Field(description="minor units for the whole line; price × quantity unless given"),
        Whole,
    ] = None


class OrderInput(Input):
    customer: Customer
    currency: Currency = "EUR"
    lines: Annotated[list[LineInput], Field(min_length=1, max_length=MAX_LINES)]


class BatchOrderInput(OrderInput):
    idempotency_key: Key


class BatchInput(Input):
    orders: Annotated[list[BatchOrderInput], Field(min_length=1, max_length=MAX_BATCH)]
    atomic: Annotated[bool, Field(description="place all orders or none")] = False


class ProductInput(Input):
    name: Annotated[str, Field(min_length=1, max_length=NAME_LENGTH)]
    price: Annotated[Money, Field(description="minor units, for one"), Whole]
    currency: Currency = "EUR"
    active: Annotated[bool, Field(description="whether it can be ordered")] = True


class ProductOutput(Schema):
    sku: str
    name: str
    price: int
    currency: str
    active: bool


class ProductPage(Schema):
    products: list[ProductOutput]
    next: Annotated[str | None, Field(description="`after` of the next page; null on the last")]


class LineOutput(Schema):
    sku: str
    quantity: int
    amount: int


class Reason(Schema):
    refusal: Annotated[str, Field(description="OutOfStock, PaymentDeclined, OrderExpired, OrderCancelled …")]
    refused_by: str | None
    text: str | None


class Cancellation(Schema):
    asked_at: datetime
    outcome: Literal["cancelled", "too_late"] | None


class TimelineEntry(Schema):
    at: datetime
    participant: str
    kind: str
    name: str
    reason: str | None


class OrderOutput(Schema):
    id: int
    status: Status
    ended: Annotated[bool, Field(description="whether the status is final")]
    reason: Annotated[Reason | None, Field(description="why the order is rolled back")]
    needs_attention: bool
    customer: str
    currency: str
    amount: int
    placed_at: datetime
    ended_at: datetime | None
    saga: str
    cancellation: Cancellation | None
    links: dict[str, str]


class OrderDetail(OrderOutput):
    lines: list[LineOutput]
    timeline: list[TimelineEntry]


class OrderPage(Schema):
    orders: list[OrderOutput]
    next: Annotated[str | None, Field(description="`after` of the next page; null on the last")]


class FieldError(Schema):
    field: str
    fault: str
    remedy: str


class ProblemOutput(Schema):
    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: list[FieldError]


class BatchResult(Schema):
    idempotency_key: str
    result: Literal["placed", "known", "refused", "conflict", "not placed"]
    order: OrderOutput | None = None
    problem: ProblemOutput | None = None


class BatchOutput(Schema):
    placed: int
    known: int
    refused: int
    results: list[BatchResult]
