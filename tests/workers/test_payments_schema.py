"""The payments database refuses invalid rows."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from tests.workers.factories import (
    charge_of,
    charge_wallets,
    saga_id,
)

CHARGE = "(SELECT id FROM ledger_transaction WHERE kind = 'charge' AND order_number = 'O-1')"
FREE = "(SELECT id FROM ledger_transaction WHERE kind = 'charge' AND order_number = 'O-2')"


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        (f"INSERT INTO ledger_entry VALUES ({FREE}, 'sales', 'EUR', 5)", "out of balance by 5 EUR"),
        (
            f"INSERT INTO ledger_entry VALUES ({FREE}, 'sales', 'EUR', 5), ({FREE}, 'wallet:ada', 'EUR', -4)",
            "out of balance by 1 EUR",
        ),
        (
            f"INSERT INTO ledger_entry VALUES ({FREE}, 'sales', 'EUR', 5), ({FREE}, 'wallet:ada', 'USD', -5)",
            "out of balance by -?5",
        ),
        (
            f"INSERT INTO ledger_entry VALUES ({FREE}, 'sales', 'EUR', 5), ({CHARGE}, 'funding', 'EUR', -5)",
            "out of balance by -?5 EUR",
        ),
        (
            f"""INSERT INTO ledger_entry
                VALUES ({CHARGE}, 'sales', 'EUR', 5), ({CHARGE}, 'wallet:ada', 'EUR', -5)""",
            "ledger_entry_key",
        ),
        (f"INSERT INTO ledger_entry VALUES ({FREE}, 'sales', 'EUR', 0)", "ledger_entry_amount_not_zero"),
        (
            "INSERT INTO ledger_entry VALUES (-1, 'sales', 'EUR', 5), (-1, 'funding', 'EUR', -5)",
            "ledger_entry_transaction_id_known",
        ),
        ("UPDATE ledger_entry SET amount = amount * 2", "only ever added to"),
        ("DELETE FROM ledger_entry", "only ever added to"),
        ("TRUNCATE ledger_entry", "only ever added to"),
        ("UPDATE ledger_transaction SET order_number = 'O-9'", "only ever added to"),
        ("DELETE FROM ledger_transaction", "only ever added to"),
        ("TRUNCATE ledger_transaction CASCADE", "only ever added to"),
        ("INSERT INTO ledger_transaction (kind) VALUES ('charge')", "ledger_transaction_top_ups_have_no"),
        (
            f"INSERT INTO ledger_transaction (saga_id, kind) VALUES ('{saga_id(9)}', 'top_up')",
            "ledger_transaction_top_ups_have_no_saga",
        ),
        (
            f"""INSERT INTO ledger_transaction (saga_id, kind, order_number)
                VALUES ('{saga_id(9)}', 'gift', 'O')""",
            "ledger_transaction_kind_known",
        ),
        ("UPDATE wallet SET balance = -1", "wallet_balance_not_negative"),
        ("UPDATE wallet SET order_limit = -1", "wallet_order_limit_not_negative"),
        ("UPDATE wallet SET currency = 'euro'", "wallet_currency_is_a_code"),
    ],
)
def test_the_database_refuses_an_invalid_statement(
    payments_session: Session, statement: str, rule: str
) -> None:
    charge_wallets(payments_session, charge_of(1, 30), charge_of(2, 0))
    with pytest.raises(DBAPIError, match=rule):
        payments_session.execute(text(statement))


def test_an_excess_cent_in_800_entries_is_found(payments_session: Session) -> None:
    charge_wallets(payments_session, *(charge_of(n, 0) for n in range(1, 401)))
    some = payments_session.scalars(
        text("SELECT id FROM ledger_transaction WHERE saga_id = :saga"), {"saga": saga_id(200)}
    ).one()
    entries = text("""
        INSERT INTO ledger_entry SELECT id, account, 'EUR', amount + (id = :some AND account = 'sales')::int
        FROM ledger_transaction
        CROSS JOIN (VALUES ('sales', 7), ('wallet:ada', -7)) AS entry (account, amount)
        WHERE kind = 'charge' AND at = now()
    """)
    with pytest.raises(DBAPIError, match=f"transaction {some} is out of balance by 1 EUR"):
        payments_session.execute(entries, {"some": some})
