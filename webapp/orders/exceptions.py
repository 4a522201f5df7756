"""Errors of placing an order.

OrderError
├── OrderRefused            the order cannot be placed as it is; nothing was written
└── IdempotencyConflict     the idempotency key belongs to another order
"""

from __future__ import annotations


class OrderError(Exception):
    """The order was not placed."""


class OrderRefused(OrderError):
    """The order cannot be placed as it is; nothing was written.

    :ivar field: the field at fault (``lines[2].quantity``).
    :ivar fault: what is wrong with it.
    :ivar remedy: how to correct it.
    """

    def __init__(self, field: str, fault: str, remedy: str) -> None:
        super().__init__(f"{field}: {fault}. {remedy}.")
        self.field, self.fault, self.remedy = field, fault, remedy


class IdempotencyConflict(OrderError):
    """The idempotency key belongs to an order with other content.

    :ivar order: the number of that order.
    """

    def __init__(self, key: str, order: int) -> None:
        super().__init__(
            f"idempotency_key: {key!r} belongs to order {order}, which has other content. Use a new key."
        )
        self.key, self.order = key, order
