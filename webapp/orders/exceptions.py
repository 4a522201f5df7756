"""Why an order is not placed.

OrderError
├── OrderRefused            the order cannot be placed as it is; nothing was written
└── IdempotencyConflict     the idempotency key belongs to another order
"""

from __future__ import annotations


class OrderError(Exception):
    """An order that is not placed."""


class OrderRefused(OrderError):
    """The order cannot be placed as it is; nothing was written.

    :ivar field: what is wrong, by name (``lines[2].quantity``).
    :ivar fault: what is wrong with it.
    :ivar remedy: what to do.
    """

    def __init__(self, field: str, fault: str, remedy: str) -> None:
        super().__init__(f"{field}: {fault}. {remedy}.")
        self.field, self.fault, self.remedy = field, fault, remedy


class IdempotencyConflict(OrderError):
    """The idempotency key belongs to an order of other content.

    :ivar key: the key.
    :ivar order: the number of the order that has it.
    """

    def __init__(self, key: str, order: int) -> None:
        super().__init__(
            f"idempotency_key: {key!r} belongs to order {order}, whose content differs. Use a new key."
        )
        self.key, self.order = key, order
