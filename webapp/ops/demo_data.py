"""The products and customers of test orders, and what the orders in ``examples/`` need."""

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
"""The number of products without stock."""
DECLINED_CUSTOMERS = 10
"""The number of customers of each kind that is declined: poor, blocked, limited."""
ORDER_LIMIT = 100
"""The limit per order of a limited customer, in minor units: less than any price."""


def stocked_skus(count: int) -> list[str]:
    """Return ``SKU-0001`` …: products in stock."""
    return [f"SKU-{number:04}" for number in range(1, count + 1)]


def scarce_skus() -> list[str]:
    """Return ``SCARCE-0001`` …: products out of stock."""
    return [f"SCARCE-{number:04}" for number in range(1, SCARCE_ARTICLES + 1)]


def price_of(sku: str) -> int:
    """Return the price of one unit in minor units: between 1.99 and 99.99."""
    return 199 + int(sku.rpartition("-")[2]) * 3137 % 9801


def customer_names(kind: str, count: int = DECLINED_CUSTOMERS) -> list[str]:
    """Return ``customer-0001`` …, or another kind: ``poor``, ``blocked``, ``limited``."""
    return [f"{kind}-{number:04}" for number in range(1, count + 1)]


FOLDER = Path(__file__).parent.parent.parent / "examples"
CDNOW = FOLDER / "cdnow" / "cdnow_sample.txt"
PRICE = 1499
"""The price of a CD in the catalogue, in cents; each purchase has a separate amount."""
STOCK = 20_000
"""CDs in stock; the purchases need 16,479."""


@dataclass(frozen=True)
class ExampleData:
    """A product with stock, and a wallet for each customer."""

    sku: str
    name: str
    price: int
    currency: str
    stock: int
    wallets: list[NewWallet]


def read_cdnow_example(path: Path = CDNOW) -> ExampleData:
    """Return what the purchases of the sample need: each wallet holds exactly the sum of its purchases.

    :raises FileRefused: when the file does not exist.
    """
    spent: Counter[str] = Counter()
    with open_source(str(path)) as source:
        for record in cdnow.read(source.lines()):
            if isinstance(record, Record):
                spent[record.customer] += sum(item.amount or 0 for item in record.items)
    wallets = [NewWallet(customer, cdnow.CURRENCY, cents) for customer, cents in sorted(spent.items())]
    return ExampleData(cdnow.SKU, "A CD", PRICE, cdnow.CURRENCY, STOCK, wallets)


EXAMPLES = {"cdnow": read_cdnow_example}
