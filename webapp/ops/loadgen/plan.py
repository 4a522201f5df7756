"""What is to be ordered, and by whom: decided before the first order is placed, from the seed alone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from webapp.ops import demo_data
from webapp.orders.models import Product
from webapp.orders.pricing import Item, NewOrder

CANCEL_WITHIN_SECONDS = 1.0
"""Customers who cancel do so within so many seconds of placing: some in time, some too late."""
MAX_LINES = 3
MAX_UNITS = 3
SHARES = ("decline", "out_of_stock", "free", "cancel")


class EmptyCatalogue(Exception):
    """There is nothing to order; the message says what is missing."""


class Outcome(IntEnum):
    """What an order meets on its way, as far as it is planned."""

    PAID = 0
    DECLINED = 1
    SHORT = 2
    FREE = 3


@dataclass(frozen=True, slots=True)
class Mix:
    """How many orders, and the shares of them (0 to 1) that are declined, short of stock, free of charge,
    cancelled.

    The first three exclude one another; anybody may cancel.
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
                f"decline, out_of_stock and free exclude one another, and add up to {together:g}: more than 1"
            )

    def outcomes(self, dice: random.Random) -> bytearray:
        """One :class:`Outcome` for each order: as many of each as the shares say, in a random order."""
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
        """1 for each order that will be cancelled."""
        asked = round(self.count * self.cancel)
        cancels = bytearray(b"\1" * asked + b"\0" * (self.count - asked))
        dice.shuffle(cancels)
        return cancels


@dataclass(frozen=True, slots=True)
class Catalog:
    """The articles that may be ordered, by what becomes of it."""

    stocked: list[str]
    scarce: list[str]

    @classmethod
    def read(cls) -> Catalog:
        """From the catalogue of the orders database."""
        known = (
            Product.objects.filter(currency=demo_data.CURRENCY).order_by("sku").values_list("sku", "price")
        )
        scarce = set(demo_data.scarce_skus())
        return cls(
            [s for s, price in known if price and s not in scarce], [s for s, _ in known if s in scarce]
        )

    def check(self, mix: Mix) -> None:
        """:raises EmptyCatalogue: when ``mix`` asks for what is not there."""
        if not self.stocked:
            raise EmptyCatalogue("The catalogue is empty: there is nothing to order.")
        if mix.out_of_stock and not self.scarce:
            raise EmptyCatalogue(
                f"The catalogue lacks the articles that are out of stock ({demo_data.scarce_skus()[0]} …)."
            )


@dataclass(frozen=True, slots=True)
class Planned:
    """An order to be placed, and after how many seconds its customer wants it cancelled, if at all."""

    order: NewOrder
    cancel_after: float | None


def plan(mix: Mix, shelf: Catalog, *, seed: int, run: str, customers: int = 100) -> Iterator[Planned]:
    """The orders of ``seed``: the same customers, articles and amounts every time; ``run`` makes their keys
    new ones.

    :param customers: how many of ``customer-0001`` and on there are to choose from.
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
