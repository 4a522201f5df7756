"""The goods and customers of the demonstration, and what the real orders under ``examples/`` need."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from webapp.ops.order_import import cdnow
from webapp.ops.order_import.record import Record
from webapp.ops.order_import.source import open_source
from workers.payments.seed import NewWallet

CURRENCY = "EUR"
SCARCE_ARTICLES = 3
"""How many articles the shop lists and never has."""
DECLINED_CUSTOMERS = 10
"""How many customers of each kind that is declined: poor, blocked, limited."""
ORDER_LIMIT = 100
"""The most a limited customer may spend on one order, in minor units: less than any article costs."""


def stocked_skus(count: int) -> list[str]:
    """``SKU-0001`` and on: articles in stock."""
    return [f"SKU-{number:04}" for number in range(1, count + 1)]


def scarce_skus() -> list[str]:
    """``SCARCE-0001`` and on: articles that are out of stock."""
    return [f"SCARCE-{number:04}" for number in range(1, SCARCE_ARTICLES + 1)]


def price_of(sku: str) -> int:
    """Of one, in minor units: between 1.99 and 99.99."""
    return 199 + int(sku.rpartition("-")[2]) * 3137 % 9801


def customer_names(kind: str, count: int = DECLINED_CUSTOMERS) -> list[str]:
    """``customer-0001`` and on, or another kind: ``poor``, ``blocked``, ``limited``."""
    return [f"{kind}-{number:04}" for number in range(1, count + 1)]


FOLDER = Path(__file__).parent.parent.parent / "examples"
CDNOW = FOLDER / "cdnow" / "cdnow_sample.txt"
PRICE = 1499
"""Of one CD in the catalogue, in cents; each purchase brings an amount of its own."""
STOCK = 20_000
"""CDs; the purchases take 16,479 of them."""


@dataclass(frozen=True)
class ExampleData:
    """One article, and a wallet for each customer."""

    sku: str
    name: str
    price: int
    currency: str
    stock: int
    wallets: list[NewWallet]


def read_cdnow_example(path: Path = CDNOW) -> ExampleData:
    """For all purchases of the sample: every customer has to the cent what the file charges them.

    :raises FileRefused: when the file is not there.
    """
    spent: Counter[str] = Counter()
    with open_source(str(path)) as source:
        for record in cdnow.read(source.lines()):
            if isinstance(record, Record):
                spent[record.customer] += sum(item.amount or 0 for item in record.items)
    wallets = [NewWallet(customer, cdnow.CURRENCY, cents) for customer, cents in sorted(spent.items())]
    return ExampleData(cdnow.SKU, "A CD", PRICE, cdnow.CURRENCY, STOCK, wallets)


EXAMPLES = {"cdnow": read_cdnow_example}
