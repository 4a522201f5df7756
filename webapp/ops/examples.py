"""What the real orders under ``examples/`` need before they can be placed: goods, stock, and money for everybody."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from webapp.ops.importing import cdnow
from webapp.ops.importing.record import Record
from webapp.ops.importing.source import opened
from workers.payments.seed import NewWallet

FOLDER = Path(__file__).parent.parent.parent / "examples"
CDNOW = FOLDER / "cdnow" / "cdnow_sample.txt"
PRICE = 1499
"""Of one CD in the catalogue, in cents; each purchase brings an amount of its own."""
STOCK = 20_000
"""CDs; the purchases take 16,479 of them."""


@dataclass(frozen=True)
class Needs:
    """One article, and a wallet for each customer."""

    sku: str
    name: str
    price: int
    currency: str
    stock: int
    wallets: list[NewWallet]


def cdnow_needs(path: Path = CDNOW) -> Needs:
    """For all purchases of the sample: every customer has to the cent what the file charges them.

    :raises FileRefused: when the file is not there.
    """
    spent: Counter[str] = Counter()
    with opened(str(path)) as source:
        for record in cdnow.read(source.lines()):
            if isinstance(record, Record):
                spent[record.customer] += sum(item.amount or 0 for item in record.items)
    wallets = [NewWallet(customer, cdnow.CURRENCY, cents) for customer, cents in sorted(spent.items())]
    return Needs(cdnow.SKU, "A CD", PRICE, cdnow.CURRENCY, STOCK, wallets)


EXAMPLES = {"cdnow": cdnow_needs}
