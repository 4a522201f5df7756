"""Products, reservations, movements, and the engine's tables."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP, UUID

from ordersaga.sql import schema

revision = "0001"
down_revision = None

REFUSE = """
CREATE FUNCTION inventory_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%: % refused, %', TG_TABLE_NAME, lower(TG_OP), TG_ARGV[0]
        USING ERRCODE = 'restrict_violation';
END $$
"""

APPEND_ONLY = """
CREATE TRIGGER movement_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON movement
    FOR EACH STATEMENT EXECUTE FUNCTION inventory_refuse('movements are only ever added')
"""

ENDS_ONCE = """
CREATE TRIGGER reservation_ends_once BEFORE UPDATE ON reservation FOR EACH ROW
    WHEN (OLD.state <> 'held' OR (OLD.saga_id, OLD.line, OLD.order_number, OLD.sku, OLD.quantity)
                     IS DISTINCT FROM (NEW.saga_id, NEW.line, NEW.order_number, NEW.sku, NEW.quantity))
    EXECUTE FUNCTION inventory_refuse('a reservation only goes from held to released or shipped')
"""

KEPT = """
CREATE TRIGGER reservation_kept BEFORE DELETE OR TRUNCATE ON reservation
    FOR EACH STATEMENT EXECUTE FUNCTION inventory_refuse('a reservation is kept when it has ended')
"""


def upgrade() -> None:
    for statement in schema.create("inventory"):
        op.execute(statement)
    op.create_table(
        "product",
        sa.Column("sku", sa.Text, nullable=False),
        sa.Column("received", sa.BigInteger, server_default=sa.text("0"), nullable=False),
        sa.Column("on_hand", sa.BigInteger, server_default=sa.text("0"), nullable=False),
        sa.Column("held", sa.BigInteger, server_default=sa.text("0"), nullable=False),
        sa.Column("sold", sa.BigInteger, server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("sku", name=op.f("product_key")),
        sa.CheckConstraint("received >= 0", op.f("product_received_not_negative")),
        sa.CheckConstraint("on_hand >= 0", op.f("product_on_hand_not_negative")),
        sa.CheckConstraint("held >= 0", op.f("product_held_not_negative")),
        sa.CheckConstraint("sold >= 0", op.f("product_sold_not_negative")),
        sa.CheckConstraint("on_hand + held + sold = received", op.f("product_nothing_lost")),
        postgresql_with={"fillfactor": 50},
    )
    op.create_table(
        "reservation",
        sa.Column("saga_id", UUID, nullable=False),
        sa.Column("line", sa.SmallInteger, autoincrement=False, nullable=False),
        sa.Column("order_number", sa.Text, nullable=False),
        sa.Column("sku", sa.Text, nullable=False),
        sa.Column("quantity", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, server_default="held", nullable=False),
        sa.Column("at", TIMESTAMP(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("saga_id", "line", name=op.f("reservation_key")),
        sa.ForeignKeyConstraint(["sku"], ["product.sku"], name=op.f("reservation_sku_known")),
        sa.CheckConstraint("line > 0", op.f("reservation_line_counts_from_one")),
        sa.CheckConstraint("quantity > 0", op.f("reservation_quantity_positive")),
        sa.CheckConstraint("state IN ('held', 'released', 'shipped')", op.f("reservation_state_known")),
        postgresql_with={"fillfactor": 50},
    )
    op.create_table(
        "movement",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("sku", sa.Text, nullable=False),
        sa.Column("saga_id", UUID, nullable=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("quantity", sa.Integer, nullable=False),
        sa.Column("at", TIMESTAMP(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("movement_key")),
        sa.CheckConstraint(
            "kind IN ('received', 'held', 'released', 'shipped')", op.f("movement_kind_known")
        ),
        sa.CheckConstraint("(kind = 'received') = (saga_id IS NULL)", op.f("movement_receipts_have_no_saga")),
        sa.CheckConstraint("quantity > 0", op.f("movement_quantity_positive")),
    )
    op.execute(
        "CREATE UNIQUE INDEX movement_once ON movement (saga_id, sku, (kind = 'held'))"
        " WHERE saga_id IS NOT NULL"
    )
    for statement in (REFUSE, APPEND_ONLY, ENDS_ONCE, KEPT):
        op.execute(statement)


def downgrade() -> None:
    for table in ("movement", "reservation", "product"):
        op.drop_table(table)
    op.execute("DROP FUNCTION inventory_refuse()")
    for statement in schema.drop():
        op.execute(statement)
