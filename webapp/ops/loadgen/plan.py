"""Plan random orders from a seed, before the first one is placed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from webapp.ops import demo_data
from webapp.orders.models import Product
from webapp.orders.pricing import Item, NewOrder

CANCEL_WITHIN_SECONDS = 1.0
"""Cancel requests are sent within this time after placing, so that some are too late."""
MAX_LINES = 3
MAX_UNITS = 3
SHARES = ("decline", "out_of_stock", "free", "cancel")


class EmptyCatalogue(Exception):
    """The catalogue lacks products for the plan; the message names them."""


class Outcome(IntEnum):
    """The planned outcome of an order."""

    PAID = 0
    DECLINED = 1
    SHORT = 2
    FREE = 3


@dataclass(frozen=True, slots=True)
class Mix:
    """The number of orders, and the shares (0 to 1) that are declined, out of stock, free of charge,
    cancelled.

    The first three exclude each other.
    """

    count: int
    decline: float = 0
    out_of_stock: float = 0
    free: float = 0
    cancel: float = 0

    def __post_init__(self) -> None:
        for name in SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share from 0 to 1, not {getattr(self, name)}")
        if (together := self.decline + self.out_of_stock + self.free) > 1 + 1e-9:
            raise ValueError(
                f"decline, out_of_stock and free exclude each other, but add up to {together:g}, more than 1"
            )

    def outcomes(self, dice: random.Random) -> bytearray:
        """Return an :class:`Outcome` for each order, in the given shares and in random order."""
        outcomes = bytearray(self.count)
        start = 0
        for outcome, share in (
            (Outcome.DECLINED, self.decline),
            (Outcome.SHORT, self.out_of_stock),
            (Outcome.FREE, self.free),
        ):
            end = min(start + round(self.count * share), self.count)
            outcomes[start:end] = bytes([outcome]) * (end - start)
            start = end
        dice.shuffle(outcomes)
        return outcomes

    def cancellations(self, dice: random.Random) -> bytearray:
        """Return 1 for each order that is cancelled, otherwise 0."""
        asked = round(self.count * self.cancel)
        cancels = bytearray(b"\1" * asked + b"\0" * (self.count - asked))
        dice.shuffle(cancels)
        return cancels


@dataclass(frozen=True, slots=True)
class Catalog:
    """The SKUs that can be ordered, with and without stock."""

    stocked: list[str]
    scarce: list[str]

    @classmethod
    def read(cls) -> Catalog:
        """Read the catalogue of the orders database."""
        known = (
            Product.objects.filter(currency=demo_data.CURRENCY).order_by("sku").values_list("sku", "price")
        )
        scarce = set(demo_data.scarce_skus())
        return cls(
            [s for s, price in known if price and s not in scarce], [s for s, _ in known if s in scarce]
        )

    def check(self, mix: Mix) -> None:
        """:raises EmptyCatalogue: when ``mix`` needs missing products."""
        if not self.stocked:
            raise EmptyCatalogue("The catalogue is empty.")
        if mix.out_of_stock and not self.scarce:
            raise EmptyCatalogue(
                f"The catalogue lacks the products without stock ({demo_data.scarce_skus()[0]} …)."
            )


@dataclass(frozen=True, slots=True)
class Planned:
    """An order to place, and the seconds until its cancel request; None without one."""

    order: NewOrder
    cancel_after: float | None


def plan(mix: Mix, shelf: Catalog, *, seed: int, run: str, customers: int = 100) -> Iterator[Planned]:
    """Yield the orders of ``seed``: always the same customers, products and amounts.

    :param run: the prefix of their idempotency keys, new for each run.
    :param customers: how many customers ``customer-0001`` … exist.
    """
    dice = random.Random(seed)
    outcomes, cancels = mix.outcomes(dice), mix.cancellations(dice)
    payers = demo_data.customer_names("customer", customers)
    declined = [name for kind in ("poor", "blocked", "limited") for name in demo_data.customer_names(kind)]
    for number, (outcome, cancel) in enumerate(zip(outcomes, cancels, strict=True)):
        customer = dice.choice(declined if outcome == Outcome.DECLINED else payers)
        skus = dice.sample(shelf.stocked, dice.randint(1, min(MAX_LINES, len(shelf.stocked))))
        if outcome == Outcome.SHORT:
            skus.append(dice.choice(shelf.scarce))
        amount = 0 if outcome == Outcome.FREE else None
        items = [Item(sku, dice.randint(1, MAX_UNITS), amount) for sku in skus]
        after = dice.uniform(0, CANCEL_WITHIN_SECONDS) if cancel else None
        yield Planned(NewOrder(customer, items, f"{run}{number}", demo_data.CURRENCY), after)
