"""Corruptions of single rows, each with the violations that ``reconcile`` must report."""

from __future__ import annotations

from typing import NamedTuple

STRANGER = "00000000-0000-7000-8000-000000000000"


class Corruption(NamedTuple):
    """A statement in one database, and the violations it causes for an order.

    ``%(saga)s`` and ``%(order)s`` are the order's.
    """

    what: str
    database: str
    order: str
    sql: str
    codes: str
    evidence: str = ""
    """A text that the evidence of the first code must contain."""


CORRUPTIONS = [
    # orders and sagas
    Corruption(
        "a saga is gone",
        "orders",
        "confirmed",
        "DELETE FROM ordersaga_saga WHERE id = %(saga)s",
        "order-without-saga orphan-in-orders orphan-in-inventory orphan-in-payments",
        "order 1",
    ),
    Corruption(
        "an order is gone",
        "orders",
        "declined",
        "DELETE FROM orders_order WHERE id = %(order)s",
        "saga-without-order",
        "ROLLED_BACK",
    ),
    Corruption(
        "a line costs more",
        "orders",
        "confirmed",
        "UPDATE orders_orderline SET amount = amount + 1 WHERE order_id = %(order)s AND number = 1",
        "order-not-its-lines",
        "wallet:ann 1350 EUR",
    ),
    Corruption(
        "an order costs more",
        "orders",
        "confirmed",
        "UPDATE orders_order SET amount = amount + 1 WHERE id = %(order)s",
        "charge-not-as-ordered order-not-its-lines",
        "1351 charged 1350",
    ),
    Corruption(
        "an order is another customer's",
        "orders",
        "confirmed",
        "UPDATE orders_order SET customer = 'bob' WHERE id = %(order)s",
        "charge-not-as-ordered",
        "wallet:bob wallet:ann",
    ),
    Corruption(
        "a confirmed saga is pending again",
        "orders",
        "confirmed",
        "UPDATE ordersaga_saga SET status = 'PENDING', ended_at = NULL WHERE id = %(saga)s",
        "status-disagrees journal-without-effect",
        "PENDING orders.confirm_order done",
    ),
    Corruption(
        "a refused saga is confirmed",
        "orders",
        "out of stock",
        "UPDATE ordersaga_saga SET status = 'CONFIRMED', refusal = NULL, refused_by = NULL"
        " WHERE id = %(saga)s",
        "confirmed-not-charged confirmed-not-shipped effect-without-journal refused-though-confirmed"
        " status-disagrees audit-incomplete",
        "CONFIRMED no charge",
    ),
    Corruption(
        "a confirmation is gone",
        "orders",
        "confirmed",
        "UPDATE orders_order SET confirmed_at = NULL WHERE id = %(order)s",
        "journal-without-effect",
        "not confirmed",
    ),
    Corruption(
        "a declined order is confirmed",
        "orders",
        "declined",
        "UPDATE orders_order SET confirmed_at = now() WHERE id = %(order)s",
        "effect-without-journal",
        "confirmed barred",
    ),
    Corruption(
        "a participant is struck from a saga's list",
        "orders",
        "declined",
        "UPDATE ordersaga_saga SET participants = array_remove(participants, 'payments') WHERE id = %(saga)s",
        "participant-not-listed",
        "orders inventory payments",
    ),
    Corruption(
        "an open saga lists its initiator only",
        "orders",
        "waiting",
        "UPDATE ordersaga_saga SET participants = '{orders}' WHERE id = %(saga)s",
        "participant-not-listed",
        "inventory payments",
    ),
    *(
        Corruption(
            f"the refusal of a {order} order is called {name}",
            "orders",
            order,
            f"UPDATE ordersaga_saga SET refusal = '{name}' WHERE id = %(saga)s",
            "refusal-renamed",
            f"{name} {emitted}",
        )
        for order, name, emitted in (
            ("out of stock", "StepFailed", "OutOfStock"),
            ("declined", "OutOfStock", "PaymentDeclined"),
            ("expired", "OrderCancelled", "OrderExpired"),
            ("unshippable", "OutOfStock", "StepFailed"),
        )
    ),
    Corruption(
        "a refusal is another participant's",
        "orders",
        "declined",
        "UPDATE ordersaga_saga SET refused_by = 'inventory' WHERE id = %(saga)s",
        "refusal-without-refuser audit-incomplete",
        "PaymentDeclined by inventory",
    ),
    Corruption(
        "a refusal is a stranger's",
        "orders",
        "declined",
        "UPDATE ordersaga_saga SET refused_by = 'loyalty' WHERE id = %(saga)s",
        "audit-incomplete",
        "loyalty!",
    ),
    # deadlines, answers, cancellations
    *(
        Corruption(
            f"a {order} order still has its {timer}",
            "orders",
            order,
            "INSERT INTO ordersaga_outbox"
            " (participant, kind, topic, recipient, saga_id, signals, payload, due_at) VALUES"
            f" ('orders', '{timer}', '{timer}', 'orders', %(saga)s, 1, '{{}}', now() + interval '1 h')",
            "timer-left",
            f"{timer} ended",
        )
        for order in ("confirmed", "declined")
        for timer in ("deadline", "watchdog")
    ),
    Corruption(
        "a pending saga is past its deadline",
        "orders",
        "waiting",
        "UPDATE ordersaga_saga SET deadline_at = now() - interval '1 h', moved_at = now() - interval '2 h'"
        " WHERE id = %(saga)s",
        "overdue",
        "PENDING 3,600",
    ),
    Corruption(
        "a rolled back saga is rolling back for hours",
        "orders",
        "declined",
        "UPDATE ordersaga_saga SET status = 'ROLLING_BACK', ended_at = NULL,"
        " deadline_at = now() - interval '1 h', moved_at = now() - interval '2 h' WHERE id = %(saga)s",
        "overdue",
        "ROLLING_BACK",
    ),
    Corruption(
        "a confirmed saga never ended",
        "orders",
        "confirmed",
        "UPDATE ordersaga_saga SET ended_at = NULL, deadline_at = now() - interval '1 h',"
        " moved_at = now() - interval '2 h' WHERE id = %(saga)s",
        "overdue journal-without-effect",
        "CONFIRMED open",
    ),
    Corruption(
        "an answer is gone",
        "orders",
        "declined",
        "DELETE FROM ordersaga_answer WHERE saga_id = %(saga)s AND participant = 'payments'",
        "answer-missing",
        "payments",
    ),
    Corruption(
        "a cancel request was never answered",
        "orders",
        "cancelled at once",
        "UPDATE orders_cancelrequest SET outcome = NULL, answered_at = NULL WHERE order_id = %(order)s",
        "cancel-unanswered",
        "refused",
    ),
    Corruption(
        "a late request has the outcome cancelled",
        "orders",
        "confirmed",
        "UPDATE orders_cancelrequest SET outcome = 'cancelled' WHERE order_id = %(order)s",
        "cancel-told-wrong",
        "void",
    ),
    # the audit trail
    *(
        Corruption(
            f"the trail of a {order} order lacks {name}",
            "orders",
            order,
            f"DELETE FROM audit_sagaevent WHERE saga_id = %(saga)s AND name = '{name}'",
            "audit-incomplete",
            missing,
        )
        for order, name, missing in (
            ("confirmed", "OrderPlaced", "orders.OrderPlaced"),
            ("confirmed", "StockReserved", "inventory.StockReserved"),
            ("confirmed", "PaymentCharged", "payments.PaymentCharged"),
            ("confirmed", "OrderConfirmed", "orders.OrderConfirmed"),
            ("confirmed", "StockShipped", "inventory.StockShipped"),
            ("confirmed", "complete", "orders.complete"),
            ("declined", "PaymentDeclined", "payments!"),
            ("declined", "StockReleased", "inventory.StockReleased"),
            ("declined", "rolled back", "orders.rolled back"),
            ("declined", "answer", "orders.answer inventory.answer payments.answer"),
            ("declined", "barred", "orders.barred inventory.barred"),
            ("out of stock", "barred", "orders.barred inventory.barred payments.barred"),
            ("out of stock", "OutOfStock", "inventory!"),
            ("expired", "OrderExpired", "orders!"),
            ("unshippable", "StepFailed", "inventory!"),
            ("unshippable", "PaymentRefunded", "payments.PaymentRefunded"),
            ("unshippable", "undone", "orders.undone"),
        )
    ),
    # journals
    Corruption(
        "the journal forgot the confirmation",
        "orders",
        "confirmed",
        "DELETE FROM ordersaga_journal WHERE saga_id = %(saga)s AND step = 'orders.confirm_order'",
        "effect-without-journal status-disagrees",
        "no row",
    ),
    Corruption(
        "the journal forgot the completion",
        "orders",
        "confirmed",
        "DELETE FROM ordersaga_journal WHERE saga_id = %(saga)s AND step = 'orders.complete_order'",
        "effect-without-journal",
        "complete no row",
    ),
    Corruption(
        "the journal forgot the cancellation",
        "orders",
        "cancelled at once",
        "DELETE FROM ordersaga_journal WHERE saga_id = %(saga)s AND step = 'orders.cancel'",
        "refusal-without-refuser cancel-told-wrong step-not-barred",
        "OrderCancelled by orders",
    ),
    Corruption(
        "the journal forgot the reservation",
        "inventory",
        "confirmed",
        "DELETE FROM ordersaga_journal WHERE saga_id = %(saga)s AND step = 'inventory.reserve_stock'",
        "effect-without-journal",
        "shipped no row",
    ),
    Corruption(
        "the journal forgot the shipping",
        "inventory",
        "confirmed",
        "DELETE FROM ordersaga_journal WHERE saga_id = %(saga)s AND step = 'inventory.ship_stock'",
        "effect-without-journal",
        "shipped no row",
    ),
    Corruption(
        "the journal forgot that it released",
        "inventory",
        "declined",
        "UPDATE ordersaga_journal SET state = 'done'"
        " WHERE saga_id = %(saga)s AND step = 'inventory.reserve_stock'",
        "effect-without-journal",
        "released done",
    ),
    Corruption(
        "the journal forgot the charge",
        "payments",
        "confirmed",
        "DELETE FROM ordersaga_journal WHERE saga_id = %(saga)s AND step = 'payments.charge'",
        "effect-without-journal",
        "charged no row",
    ),
    Corruption(
        "the journal forgot who refused",
        "payments",
        "declined",
        "UPDATE ordersaga_journal SET state = 'barred', pack_id = NULL"
        " WHERE saga_id = %(saga)s AND step = 'payments.charge'",
        "refusal-without-refuser audit-incomplete",
        "PaymentDeclined by payments",
    ),
    Corruption(
        "a participant has not received the refusal",
        "inventory",
        "declined",
        "DELETE FROM ordersaga_journal WHERE saga_id = %(saga)s AND step = 'inventory.refusal'",
        "refusal-not-heard",
        "inventory",
    ),
    *(
        Corruption(
            f"a rolled back order's {step} is not barred",
            step.partition(".")[0],
            "out of stock",
            "DELETE FROM ordersaga_journal"
            f" WHERE saga_id = %(saga)s AND step = '{step}' AND state = 'barred'",
            "step-not-barred",
            f"{step} no row",
        )
        for step in (
            "orders.cancel",
            "orders.complete_order",
            "orders.confirm_order",
            "orders.expire_order",
            "inventory.ship_stock",
            "payments.charge",
        )
    ),
    Corruption(
        "a participant received a refusal of a confirmed saga",
        "payments",
        "confirmed",
        "INSERT INTO ordersaga_journal (saga_id, step, state) VALUES (%(saga)s, 'payments.refusal', 'heard')",
        "refused-though-confirmed",
        "payments.refusal",
    ),
    Corruption(
        "a step is retried after the end",
        "orders",
        "confirmed",
        "INSERT INTO ordersaga_journal (saga_id, step, state, attempts)"
        " VALUES (%(saga)s, 'orders.expire_order', 'retrying', 1)",
        "journal-left-open",
        "orders.expire_order retrying",
    ),
    Corruption(
        "an undo hangs after the end",
        "payments",
        "unshippable",
        "UPDATE ordersaga_journal SET state = 'undoing'"
        " WHERE saga_id = %(saga)s AND step = 'payments.charge'",
        "journal-left-open effect-without-journal",
        "payments.charge undoing",
    ),
    Corruption(
        "an outside call hangs after the end",
        "payments",
        "confirmed",
        "UPDATE ordersaga_journal SET state = 'intent' WHERE saga_id = %(saga)s AND step = 'payments.charge'",
        "journal-left-open",
        "payments.charge intent",
    ),
    # money
    Corruption(
        "a charge is gone",
        "payments",
        "confirmed",
        "DELETE FROM ledger_transaction WHERE saga_id = %(saga)s AND kind = 'charge'",
        "confirmed-not-charged journal-without-effect",
        "CONFIRMED 1350 no charge",
    ),
    Corruption(
        "a refund is gone",
        "payments",
        "cancelled when charged",
        "DELETE FROM ledger_transaction WHERE saga_id = %(saga)s AND kind = 'refund'",
        "charged-not-confirmed journal-without-effect",
        "ROLLED_BACK charged wallet:ann 1350 EUR",
    ),
    Corruption(
        "money went back for a confirmed order",
        "payments",
        "confirmed",
        "INSERT INTO ledger_transaction (saga_id, kind, order_number) VALUES (%(saga)s, 'refund', %(order)s)",
        "confirmed-and-refunded refund-not-as-charged effect-without-journal",
        "refunded",
    ),
    Corruption(
        "money went back that was never taken",
        "payments",
        "out of stock",
        "INSERT INTO ledger_transaction (saga_id, kind, order_number) VALUES (%(saga)s, 'refund', %(order)s)",
        "refund-without-charge effect-without-journal",
        "refunded",
    ),
    Corruption(
        "an order was charged twice",
        "payments",
        "confirmed",
        "ALTER TABLE ledger_transaction DROP CONSTRAINT ledger_transaction_once;"
        "INSERT INTO ledger_transaction (saga_id, kind, order_number) VALUES (%(saga)s, 'charge', %(order)s)",
        "charged-twice",
        "2 times",
    ),
    Corruption(
        "more was charged than ordered",
        "payments",
        "confirmed",
        "UPDATE ledger_entry SET amount = amount + sign(amount) FROM ledger_transaction t"
        " WHERE t.id = transaction_id AND saga_id = %(saga)s;"
        "UPDATE wallet SET balance = balance - 1 WHERE customer = 'ann'",
        "charge-not-as-ordered",
        "1350 1351",
    ),
    Corruption(
        "the charge names another order",
        "payments",
        "confirmed",
        "UPDATE ledger_transaction SET order_number = '77' WHERE saga_id = %(saga)s",
        "ledger-names-other-order",
        "77",
    ),
    # stock
    Corruption(
        "a line is still held",
        "inventory",
        "confirmed",
        "UPDATE reservation SET state = 'held' WHERE saga_id = %(saga)s AND line = 1",
        "held-after-end journal-without-effect movements-disagree product-not-its-reservations",
        "1 line(s) held",
    ),
    Corruption(
        "the reservations are gone",
        "inventory",
        "confirmed",
        "DELETE FROM reservation WHERE saga_id = %(saga)s",
        "confirmed-not-shipped journal-without-effect movements-disagree product-not-its-reservations",
        "nothing reserved",
    ),
    Corruption(
        "a rolled back order's line is shipped",
        "inventory",
        "declined",
        "UPDATE reservation SET state = 'shipped' WHERE saga_id = %(saga)s AND line = 2",
        "shipped-not-confirmed effect-without-journal movements-disagree product-not-its-reservations",
        "1 line(s) shipped",
    ),
    Corruption(
        "more was shipped than ordered",
        "inventory",
        "confirmed",
        "UPDATE reservation SET quantity = 9 WHERE saga_id = %(saga)s AND line = 1",
        "goods-not-as-ordered movements-disagree product-not-its-reservations",
        "TEA*2 TEA*9",
    ),
    Corruption(
        "the reservation names another order",
        "inventory",
        "confirmed",
        "UPDATE reservation SET order_number = '77' WHERE saga_id = %(saga)s",
        "reservation-names-other-order",
        "77",
    ),
    Corruption(
        "a movement is gone",
        "inventory",
        "confirmed",
        "DELETE FROM movement WHERE saga_id = %(saga)s AND sku = 'CUP' AND kind = 'shipped'",
        "movements-disagree product-not-its-movements",
        "shipped:TEA*2",
    ),
    Corruption(
        "a movement is of another SKU",
        "inventory",
        "free",
        "UPDATE movement SET sku = 'POT' WHERE saga_id = %(saga)s",
        "movements-disagree product-not-its-movements",
        "held:POT*1",
    ),
    # totals
    Corruption(
        "a unit is lost",
        "inventory",
        "",
        "ALTER TABLE product DROP CONSTRAINT product_nothing_lost;"
        "UPDATE product SET on_hand = on_hand - 1 WHERE sku = 'TEA'",
        "stock-lost",
        "TEA 999",
    ),
    Corruption(
        "a unit came from nowhere",
        "inventory",
        "",
        "UPDATE product SET on_hand = on_hand + 1, received = received + 1 WHERE sku = 'TEA'",
        "product-not-its-movements",
        "TEA 1001",
    ),
    Corruption(
        "a unit sold is on hand again",
        "inventory",
        "",
        "UPDATE product SET on_hand = on_hand + 1, sold = sold - 1 WHERE sku = 'TEA'",
        "product-not-its-reservations product-not-its-movements",
        "TEA",
    ),
    Corruption(
        "an entry is worth more",
        "payments",
        "confirmed",
        "UPDATE ledger_entry SET amount = amount + 1 FROM ledger_transaction t"
        " WHERE t.id = transaction_id AND saga_id = %(saga)s AND account = 'sales'",
        "transaction-unbalanced",
        "1 EUR",
    ),
    *(
        Corruption(
            f"{entry} is booked to another account",
            "payments",
            order,
            "UPDATE ledger_entry SET account = CASE account WHEN 'sales' THEN 'funding' ELSE 'sales' END"
            f" FROM ledger_transaction t WHERE t.id = transaction_id AND kind = '{kind}'"
            f" AND account IN ('sales', 'funding') AND saga_id {saga}",
            "ledger-account-wrong",
            f"{kind} {account}",
        )
        for entry, kind, order, saga, account in (
            ("a sale", "charge", "confirmed", "= %(saga)s", "funding"),
            ("a refund", "refund", "unshippable", "= %(saga)s", "funding"),
            ("every top-up", "top_up", "", "IS NULL", "sales"),
        )
    ),
    Corruption(
        "a sale goes to an unknown account",
        "payments",
        "confirmed",
        "UPDATE ledger_entry SET account = 'safe' FROM ledger_transaction t"
        " WHERE t.id = transaction_id AND saga_id = %(saga)s AND account = 'sales'",
        "ledger-account-wrong",
        "safe 1350",
    ),
    Corruption(
        "a wallet is richer",
        "payments",
        "",
        "UPDATE wallet SET balance = balance + 1 WHERE customer = 'eve'",
        "wallet-not-its-entries",
        "wallet:eve 101 100",
    ),
    Corruption(
        "a wallet is gone",
        "payments",
        "",
        "DELETE FROM wallet WHERE customer = 'eve'",
        "wallet-not-its-entries",
        "wallet:eve",
    ),
    # packs
    *(
        Corruption(
            f"the pack of {step} is gone from a {order} order",
            step.partition(".")[0],
            order,
            "DELETE FROM ordersaga_pack WHERE id = (SELECT pack_id FROM ordersaga_journal"
            f" WHERE saga_id = %(saga)s AND step = '{step}') AND topic LIKE '{topic}%%'",
            "pack-missing",
            topic,
        )
        for order, step, topic in (
            ("confirmed", "inventory.reserve_stock", "signal.StockReserved"),
            ("confirmed", "inventory.ship_stock", "signal.StockShipped"),
            ("confirmed", "payments.charge", "signal.PaymentCharged"),
            ("unshippable", "payments.charge", "signal.PaymentCharged"),
            ("confirmed", "orders.confirm_order", "signal.OrderConfirmed"),
            ("declined", "payments.charge", "refusal."),
            ("expired", "orders.expire_order", "refusal."),
        )
    ),
    Corruption(
        "an open saga's first pack is gone",
        "orders",
        "waiting",
        "DELETE FROM ordersaga_pack WHERE id = (SELECT pack_id FROM ordersaga_saga WHERE id = %(saga)s)",
        "pack-missing",
        "orders signal.OrderPlaced",
    ),
    Corruption(
        "a young saga's first pack is gone",
        "orders",
        "confirmed",
        "DELETE FROM ordersaga_pack WHERE id = (SELECT pack_id FROM ordersaga_saga WHERE id = %(saga)s)",
        "pack-missing",
        "orders signal.OrderPlaced",
    ),
    Corruption(
        "an outbox row's pack is gone",
        "payments",
        "",
        "INSERT INTO ordersaga_outbox (participant, topic, signals, pack_id, due_at)"
        " VALUES ('payments', 'signal.Thing', 1, -1, now() + interval '1 h')",
        "pack-missing",
        "payments signal.Thing 1",
    ),
    # outboxes
    *(
        Corruption(
            f"the relay of {database} sleeps",
            database,
            "",
            "INSERT INTO ordersaga_outbox (participant, topic, signals, payload, due_at)"
            f" VALUES ('{database}', 'signal.Thing', 1, '[]', now() - interval '1 h')",
            "outbox-stalled",
            f"{database} signal.Thing 1",
        )
        for database in ("orders", "inventory", "payments")
    ),
]

ORPHANS = [
    (
        "orders",
        "INSERT INTO ordersaga_journal (saga_id, step, state) VALUES (%(saga)s, 'orders.refusal', 'heard')",
    ),
    ("orders", "INSERT INTO ordersaga_answer (saga_id, participant) VALUES (%(saga)s, 'payments')"),
    (
        "orders",
        (
            "INSERT INTO audit_sagaevent (event_id, saga_id, kind, name, participant, again, said_at, data)"
            " VALUES (gen_random_uuid(), %(saga)s, 'signal', 'OrderPlaced', 'orders', false, now(), '{}')"
        ),
    ),
    (
        "orders",
        (
            "INSERT INTO ordersaga_outbox"
            " (participant, kind, topic, recipient, saga_id, signals, payload, due_at) VALUES"
            " ('orders', 'watchdog', 'watchdog', 'orders', %(saga)s, 1, '{}', now() + interval '1 h')"
        ),
    ),
    (
        "inventory",
        """INSERT INTO ordersaga_journal (saga_id, step, state)
           VALUES (%(saga)s, 'inventory.refusal', 'heard')""",
    ),
    (
        "inventory",
        (
            "INSERT INTO reservation VALUES (%(saga)s, 1, '77', 'TEA', 1, 'released', now());"
            "INSERT INTO movement (sku, saga_id, kind, quantity)"
            " VALUES ('TEA', %(saga)s, 'held', 1), ('TEA', %(saga)s, 'released', 1)"
        ),
    ),
    (
        "payments",
        "INSERT INTO ordersaga_journal (saga_id, step, state) VALUES (%(saga)s, 'payments.refusal', 'heard')",
    ),
    (
        "payments",
        "INSERT INTO ledger_transaction (saga_id, kind, order_number) VALUES (%(saga)s, 'charge', '77')",
    ),
]
