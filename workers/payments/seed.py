"""Create sample wallets."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass

import orjson
from sqlalchemy import text
from sqlalchemy.orm import Session

from workers.payments import ledger
from workers.payments.ledger import FUNDING, WALLET, Transfer
from workers.payments.models import Kind
from workers.signals import Currency, Customer

OPEN = text("""
    INSERT INTO wallet (customer, currency, blocked, order_limit)
    SELECT customer, currency, blocked, order_limit
    FROM json_to_recordset(:rows) AS row (customer text, currency text, blocked boolean, order_limit bigint)
    ORDER BY customer
    ON CONFLICT (customer) DO UPDATE SET blocked = excluded.blocked, order_limit = excluded.order_limit
""")


@dataclass(frozen=True, slots=True)
class NewWallet:
    """A wallet to open; money is in integer minor units of ``currency``."""

    customer: Customer
    currency: Currency
    balance: int
    blocked: bool = False
    order_limit: int | None = None


def open_wallets(session: Session, wallets: Collection[NewWallet]) -> int:
    """Open each wallet and top it up to ``balance``; return the number of wallets that were topped up.

    Idempotent; a larger balance is not reduced. For an existing wallet, ``blocked`` and ``order_limit`` are
    updated. The money comes from the account ``funding``.

    :raises workers.payments.ledger.WalletUnfit: when a wallet exists in another currency.
    """
    session.execute(OPEN, {"rows": orjson.dumps([asdict(wallet) for wallet in wallets]).decode()})
    opened = ledger.lock(session, (wallet.customer for wallet in wallets))
    if other := {w.customer for w in wallets if opened[w.customer].currency != w.currency}:
        raise ledger.WalletUnfit(other)
    top_ups = [
        Transfer(None, None, FUNDING, WALLET + w.customer, w.currency, missing)
        for w in wallets
        if (missing := w.balance - opened[w.customer].balance) > 0
    ]
    ledger.post(session, Kind.TOP_UP, top_ups)
    return len(top_ups)
