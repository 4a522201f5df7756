"""Wallets and the double-entry ledger, and the engine's tables."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP, UUID

from ordersaga.sql import schema

revision = "0001"
down_revision = None

REFUSE = """
CREATE FUNCTION payments_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%: % refused, the ledger is only ever added to', TG_TABLE_NAME, lower(TG_OP)
        USING ERRCODE = 'restrict_violation';
END $$
"""

APPEND_ONLY = """
CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION payments_refuse()
"""

# Entries are never changed, so what each statement adds has only to be balanced in itself: once per statement
# over its own rows, and not once per row over the transaction.
BALANCED = """
CREATE FUNCTION payments_ledger_balanced() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong record;
BEGIN
    SELECT transaction_id, currency, sum(amount) AS amount INTO wrong
    FROM added GROUP BY transaction_id, currency HAVING sum(amount) <> 0 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'ledger_entry: transaction % is out of balance by % %',
            wrong.transaction_id, wrong.amount, wrong.currency
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_entry_balanced', TABLE = 'ledger_entry';
    END IF;
    RETURN NULL;
END $$
"""

BALANCED_TRIGGER = """
CREATE TRIGGER ledger_entry_balanced AFTER INSERT ON ledger_entry REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION payments_ledger_balanced()
"""


def upgrade() -> None:
    for statement in schema.create("payments"):
        op.execute(statement)
    op.create_table(
        "wallet",
        sa.Column("customer", sa.Text, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("balance", sa.BigInteger, server_default=sa.text("0"), nullable=False),
        sa.Column("blocked", sa.Boolean, server_default=sa.text("false"), nullable=False),
        sa.Column("order_limit", sa.BigInteger, nullable=True),
        sa.PrimaryKeyConstraint("customer", name=op.f("wallet_key")),
        sa.CheckConstraint("balance >= 0", op.f("wallet_balance_not_negative")),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", op.f("wallet_currency_is_a_code")),
        sa.CheckConstraint("order_limit >= 0", op.f("wallet_order_limit_not_negative")),
        postgresql_with={"fillfactor": 50},
    )
    op.create_table(
        "ledger_transaction",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("saga_id", UUID, nullable=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("order_number", sa.Text, nullable=True),
        sa.Column("at", TIMESTAMP(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("ledger_transaction_key")),
        sa.UniqueConstraint("saga_id", "kind", name=op.f("ledger_transaction_once")),
        sa.CheckConstraint("kind IN ('top_up', 'charge', 'refund')", op.f("ledger_transaction_kind_known")),
        sa.CheckConstraint(
            "(kind = 'top_up') = (saga_id IS NULL)", op.f("ledger_transaction_top_ups_have_no_saga")
        ),
        sa.CheckConstraint(
            "(kind = 'top_up') = (order_number IS NULL)", op.f("ledger_transaction_top_ups_have_no_order")
        ),
    )
    op.create_table(
        "ledger_entry",
        sa.Column("transaction_id", sa.BigInteger, nullable=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("transaction_id", "account", "currency", name=op.f("ledger_entry_key")),
        sa.ForeignKeyConstraint(
            ["transaction_id"], ["ledger_transaction.id"], name=op.f("ledger_entry_transaction_id_known")
        ),
        sa.CheckConstraint("amount <> 0", op.f("ledger_entry_amount_not_zero")),
    )
    op.execute(REFUSE)
    op.execute(APPEND_ONLY.format(table="ledger_transaction"))
    op.execute(APPEND_ONLY.format(table="ledger_entry"))
    op.execute(BALANCED)
    op.execute(BALANCED_TRIGGER)


def downgrade() -> None:
    for table in ("ledger_entry", "ledger_transaction", "wallet"):
        op.drop_table(table)
    op.execute("DROP FUNCTION payments_refuse()")
    op.execute("DROP FUNCTION payments_ledger_balanced()")
    for statement in schema.drop():
        op.execute(statement)
