"""Writes the payments database."""

from __future__ import annotations

from tests.support.bulk_data.common import KEPT, journal, packs

PACKS = {"payments.charge": 1}
CHARGED = f"CASE WHEN {KEPT} THEN 'done' WHEN ending = 'declined' THEN 'refused' ELSE 'barred' END"

PAYMENTS = (
    """
    INSERT INTO wallet (customer, currency, balance) SELECT 'customer-' || n, 'EUR', 10::bigint^12
    FROM generate_series(0, current_setting('bulk.customers')::int - 1) AS n
    """,
    """
    INSERT INTO ledger_transaction (id, kind) OVERRIDING SYSTEM VALUE
    SELECT -row_number() OVER (ORDER BY customer), 'top_up' FROM wallet
    """,
    """
    INSERT INTO ledger_entry SELECT id, row.account, 'EUR', row.amount
    FROM (SELECT -row_number() OVER (ORDER BY customer) AS id, customer, balance FROM wallet) AS paid_in,
    LATERAL (VALUES ('wallet:' || customer, balance), ('funding', -balance)) AS row (account, amount)
    """,
    f"""
    INSERT INTO ledger_transaction (id, saga_id, kind, order_number, at) OVERRIDING SYSTEM VALUE
    SELECT n, saga, 'charge', n, at FROM priced WHERE {KEPT}
    """,
    "SELECT setval(pg_get_serial_sequence('ledger_transaction', 'id'), max(n)) FROM priced",
    f"""
    INSERT INTO ledger_entry SELECT n, row.account, 'EUR', row.amount FROM priced,
    LATERAL (VALUES ('sales', amount), ('wallet:' || customer, -amount)) AS row (account, amount)
    WHERE {KEPT} AND priced.amount > 0
    """,
    f"""
    UPDATE wallet SET balance = balance - spent FROM (
        SELECT customer, sum(amount) AS spent FROM priced WHERE {KEPT} GROUP BY customer
    ) AS bill WHERE bill.customer = wallet.customer
    """,
    packs("payments", PACKS),
    journal(
        f"('payments.charge', {CHARGED})",
        f"('payments.refusal', CASE WHEN NOT {KEPT} THEN 'heard' END)",
        packs=PACKS,
    ),
    "SELECT setval('ordersaga_pack_id', 10 * max(together) + 10) FROM priced",
)
