"""Orders written by SQL are as good as placed ones: new orders settle beside them."""

from __future__ import annotations

from ordersaga.testing import Rehearsal
from tests.support import bulk_data
from tests.support.databases import OWNERS, Databases
from tests.support.db_override import participants_at
from tests.support.db_probe import DatabaseProbe
from tests.support.order_factory import ASLEEP, OrderFactory

ORDERS = 1_000


def test_new_orders_settle_beside_bulk_data_and_reconcile(databases: Databases) -> None:
    bulk_data.fill(ORDERS, [getattr(databases, owner) for owner in OWNERS])
    factory, probe = OrderFactory(databases, watchdog=ASLEEP), DatabaseProbe(databases)
    with participants_at(databases) as choreography:
        factory.seed()
        kept = [factory.place("SKU-7", "SKU-8", customer="customer-7"), factory.place("TEA")]
        rolled_back = [
            factory.place("GONE"),
            factory.place("TEA", customer="poor"),
            factory.place("SKU-7", customer="nobody"),
        ]
        cancelled = factory.place("SKU-7", customer="customer-1")
        factory.cancel(cancelled)
        Rehearsal(choreography).run()
    probe.wait_until_confirmed(kept)
    probe.wait_until_rolled_back(rolled_back)
    probe.wait_until_ended([cancelled])
    probe.wait_until_clean()
    numbers = probe.query(
        "orders", "SELECT id FROM orders_order WHERE saga_id = ANY(%s::uuid[]) ORDER BY id", kept
    )
    assert [number for (number,) in numbers] == [ORDERS + 1, ORDERS + 2]


def test_the_bulk_audit_trail_is_one_tree_for_each_saga(databases: Databases) -> None:
    """Every cause is an event of the same saga, as in a recorded trail."""
    bulk_data.fill_orders(ORDERS, databases.orders)
    probe = DatabaseProbe(databases)
    [(events, beginnings, foreign)] = probe.query(
        "orders",
        """
        SELECT count(*), count(*) FILTER (WHERE e.cause IS NULL),
            count(*) FILTER (WHERE e.cause IS NOT NULL AND c.id IS NULL)
        FROM audit_sagaevent e LEFT JOIN audit_sagaevent c ON c.event_id = e.cause AND c.saga_id = e.saga_id
    """,
    )
    assert events > 6 * ORDERS
    assert beginnings == ORDERS + ORDERS * 3 // 100  # the request to cancel has no cause
    assert foreign == 0
    [(packed,)] = probe.query(
        "orders", "SELECT sum(json_array_length(payload::json->'signals')) FROM ordersaga_pack"
    )
    assert packed == ORDERS + ORDERS * 90 // 100 + ORDERS * 3 // 100
    assert (
        probe.query(
            "orders",
            "SELECT 1 FROM ordersaga_journal j WHERE pack_id IS NOT NULL AND NOT EXISTS ("
            "SELECT FROM ordersaga_pack p WHERE p.id = j.pack_id) AND step <> 'orders.complete_order'",
        )
        == []
    )
