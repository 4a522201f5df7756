"""The double-entry ledger and the wallets' balances; each function handles a batch in a few statements.

Functions that move money lock the wallets first, in sorted order, so that competing batches do not deadlock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import orjson
from sqlalchemy import text
from sqlalchemy.orm import Session

from ordersaga.batch import SagaId
from ordersaga.sql import array
from workers.payments.models import Kind
from workers.signals import Currency, Customer, OrderNumber

SALES = "sales"
FUNDING = "funding"
WALLET = "wallet:"

LOCK = text("""
    SELECT customer, currency, balance, blocked, order_limit FROM wallet
    WHERE customer = ANY(:customers) ORDER BY customer FOR UPDATE
""")
# Rows are one JSON parameter, which PostgreSQL reads in half the time of arrays.
POST = text("""
    WITH given AS MATERIALIZED (
        SELECT nextval('ledger_transaction_id_seq') AS id, row.* FROM json_to_recordset(:rows)
        AS row (saga uuid, "order" text, source text, target text, currency text, amount bigint)
    ), posted AS (
        INSERT INTO ledger_transaction (id, saga_id, kind, order_number) OVERRIDING SYSTEM VALUE
        SELECT id, saga, :kind, "order" FROM given
    )
    INSERT INTO ledger_entry (transaction_id, account, currency, amount) SELECT id, account, currency, change
    FROM given CROSS JOIN LATERAL (VALUES (source, -amount), (target, amount)) AS entry (account, change)
    WHERE amount > 0
""")
BALANCE = text("""
    UPDATE wallet SET balance = balance + n
    FROM json_to_recordset(:rows) AS row (customer text, currency text, n bigint)
    WHERE wallet.customer = row.customer AND wallet.currency = row.currency AND balance + n >= 0
    RETURNING wallet.customer
""")
# The bounds do not change the result: they make PostgreSQL use the index without statistics of the table.
CHARGES = text("""
    SELECT CAST(saga_id AS text), order_number, source, target, currency, amount
    FROM ledger_transaction AS charge CROSS JOIN LATERAL (
        SELECT coalesce(min(account) FILTER (WHERE amount < 0), '') AS source,
               coalesce(min(account) FILTER (WHERE amount > 0), '') AS target,
               coalesce(min(currency), '') AS currency, coalesce(max(amount), 0) AS amount
        FROM ledger_entry WHERE transaction_id = charge.id
    ) AS moved
    WHERE saga_id = ANY(CAST(:sagas AS uuid[])) AND saga_id BETWEEN :first AND :last AND kind = 'charge'
    ORDER BY saga_id
""")


class WalletSnapshot(NamedTuple):
    """A wallet at the time of its lock; money is in integer minor units of ``currency``."""

    customer: Customer
    currency: Currency
    balance: int
    blocked: bool
    order_limit: int | None


@dataclass(frozen=True, slots=True)
class Transfer:
    """A ledger transaction: ``amount`` minor units move from ``source`` to ``target``.

    A transfer of 0 is a transaction without entries; its accounts and currency have no effect.
    """

    saga: SagaId | None
    order: OrderNumber | None
    source: str
    target: str
    currency: Currency
    amount: int


class LedgerError(Exception):
    """The ledger or a wallet is not in the state that a step needs; nothing was changed."""


class NotCharged(LedgerError):
    """Sagas without a charge cannot be refunded.

    :ivar sagas: their ids.
    """

    def __init__(self, sagas: Collection[SagaId]) -> None:
        super().__init__(f"{len(sagas)} saga(s) have no charge to refund: {', '.join(sorted(sagas)[:3])}")
        self.sagas = frozenset(sagas)


class WalletUnfit(LedgerError):
    """A wallet is missing, has too little money, or has another currency.

    :ivar customers: the owners of such wallets.
    """

    def __init__(self, customers: Collection[Customer]) -> None:
        super().__init__(
            f"{len(customers)} wallet(s) cannot take an entry: {', '.join(sorted(customers)[:3])}"
        )
        self.customers = frozenset(customers)


def lock(session: Session, customers: Iterable[Customer]) -> dict[Customer, WalletSnapshot]:
    """Lock these customers' wallets until the transaction ends; return those that exist."""
    rows = session.execute(LOCK, {"customers": sorted(set(customers))})
    return {row.customer: WalletSnapshot(*row) for row in rows}


def post(session: Session, kind: Kind, transfers: Sequence[Transfer]) -> None:
    """Insert the transactions with their entries, and change the balances of wallets, which must be locked.

    :raises WalletUnfit: when a wallet cannot take its entries.
    """
    if not transfers:
        return
    session.execute(POST, {"kind": kind.value, "rows": _json(transfers)})
    changes: dict[tuple[str, Currency], int] = defaultdict(int)
    for transfer in transfers:
        changes[transfer.source, transfer.currency] -= transfer.amount
        changes[transfer.target, transfer.currency] += transfer.amount
    rows = [
        {"customer": account.removeprefix(WALLET), "currency": currency, "n": n}
        for (account, currency), n in changes.items()
        if n and account.startswith(WALLET)
    ]
    changed = set(session.scalars(BALANCE, {"rows": _json(rows)}))
    if unchanged := {str(row["customer"]) for row in rows} - changed:
        raise WalletUnfit(unchanged)


def charges(session: Session, sagas: Collection[SagaId]) -> list[Transfer]:
    """The charges of these sagas in the order of their ids.

    :raises NotCharged: when a saga has no charge.
    """
    if not sagas:
        return []
    ids = sorted(sagas)
    rows = session.execute(CHARGES, {"sagas": array(ids), "first": ids[0], "last": ids[-1]})
    found = [Transfer(*row) for row in rows]
    if missing := set(ids) - {charge.saga for charge in found}:
        raise NotCharged(missing)
    return found


def _json(rows: object) -> str:
    return orjson.dumps(rows).decode()
