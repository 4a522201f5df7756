"""The inventory database refuses invalid rows."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from tests.workers.factories import add_stock, order_placed, saga_id
from workers.inventory import stock

HELD = f"FROM reservation WHERE saga_id = '{saga_id(1)}'"


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("UPDATE product SET on_hand = -1, held = held + on_hand + 1", "product_on_hand_not_negative"),
        ("UPDATE product SET held = -1, on_hand = on_hand + held + 1", "product_held_not_negative"),
        ("UPDATE product SET sold = -1, on_hand = on_hand + sold + 1", "product_sold_not_negative"),
        ("UPDATE product SET on_hand = on_hand - 1", "product_nothing_lost"),
        ("UPDATE product SET received = received + 1", "product_nothing_lost"),
        ("DELETE FROM product", "reservation_sku_known"),
        ("UPDATE movement SET quantity = 1", "movements are only ever added"),
        ("DELETE FROM movement", "movements are only ever added"),
        ("TRUNCATE movement", "movements are only ever added"),
        (
            "INSERT INTO movement (sku, kind, quantity) VALUES ('tea', 'held', 1)",
            "movement_receipts_have_no_saga",
        ),
        ("INSERT INTO movement (sku, kind, quantity) VALUES ('tea', 'lent', 1)", "movement_kind_known"),
        (
            "INSERT INTO movement (sku, kind, quantity) VALUES ('tea', 'received', 0)",
            "movement_quantity_positive",
        ),
        (
            f"INSERT INTO movement (saga_id, sku, kind, quantity) SELECT saga_id, sku, 'held', 1 {HELD}",
            "movement_once",
        ),
        (
            f"INSERT INTO movement (saga_id, sku, kind, quantity) SELECT saga_id, sku, 'released', 1 {HELD}",
            "movement_once",
        ),
        ("UPDATE reservation SET state = 'held'", "only goes from held to released or shipped"),
        ("UPDATE reservation SET quantity = 1", "only goes from held to released or shipped"),
        ("DELETE FROM reservation", "kept when it has ended"),
        ("TRUNCATE reservation", "kept when it has ended"),
        (
            f"INSERT INTO reservation SELECT saga_id, 0, 'O', sku, 1 {HELD}",
            "reservation_line_counts_from_one",
        ),
        (f"INSERT INTO reservation SELECT saga_id, 2, 'O', sku, 0 {HELD}", "reservation_quantity_positive"),
        (f"INSERT INTO reservation SELECT saga_id, 2, 'O', 'unicorn', 1 {HELD}", "reservation_sku_known"),
        (f"INSERT INTO reservation SELECT saga_id, 1, 'O', sku, 1 {HELD}", "reservation_key"),
        (
            f"INSERT INTO reservation SELECT saga_id, 2, 'O', sku, 1, 'lost' {HELD}",
            "reservation_state_known",
        ),
    ],
)
def test_the_database_refuses_an_invalid_statement(
    inventory_session: Session, statement: str, rule: str
) -> None:
    add_stock(inventory_session, tea=5)
    stock.hold(inventory_session, {saga_id(1): order_placed(("tea", 2))})
    stock.ship(inventory_session, [saga_id(1)])
    with pytest.raises(DBAPIError, match=rule):
        inventory_session.execute(text(statement))
