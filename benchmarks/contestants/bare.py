"""An upper bound for Python: a loop for each domain on py-amqp and psycopg2, with packs of 400 orders.

``python -m benchmarks.contestants.bare inventory``. A message is a pack; each takes one transaction of
set-based SQL, one publish with confirm and one acknowledgement. There is no guard against duplicates, no undo
and no audit.
"""

from __future__ import annotations

import signal
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from os import environ
from typing import Any

import amqp
import orjson

from benchmarks.contestants import effects
from benchmarks.contestants.amqp_url import connect

PACK = 400
NEXT = {"inventory": "payments", "payments": "orders"}

HOLD = """
WITH line AS (
    SELECT * FROM json_to_recordset(%s) AS row (saga uuid, number text, line smallint, sku text, quantity int)
), reserved AS (
    INSERT INTO reservation (saga_id, line, order_number, sku, quantity)
    SELECT saga, line, number, sku, quantity FROM line
), moved AS (
    INSERT INTO movement (saga_id, sku, kind, quantity) SELECT saga, sku, 'held', quantity FROM line
)
UPDATE product SET on_hand = on_hand - n, held = held + n
FROM (SELECT sku, sum(quantity) AS n FROM line GROUP BY sku) AS wanted
WHERE wanted.sku = product.sku AND on_hand >= n
"""
CHARGE = """
WITH given AS MATERIALIZED (
    SELECT nextval('ledger_transaction_id_seq') AS id, row.*
    FROM json_to_recordset(%s) AS row (saga uuid, number text, customer text, amount bigint)
), posted AS (
    INSERT INTO ledger_transaction (id, saga_id, kind, order_number) OVERRIDING SYSTEM VALUE
    SELECT id, saga, 'charge', number FROM given
), entered AS (
    INSERT INTO ledger_entry (transaction_id, account, currency, amount) SELECT id, account, 'EUR', change
    FROM given
    CROSS JOIN LATERAL (VALUES ('wallet:' || customer, -amount), ('sales', amount)) AS entry (account, change)
)
UPDATE wallet SET balance = balance - n
FROM (SELECT customer, sum(amount) AS n FROM given GROUP BY customer) AS owed
WHERE owed.customer = wallet.customer AND balance >= n
"""
CONFIRM = """
UPDATE orders_order SET confirmed_at = statement_timestamp()
WHERE saga_id = ANY(%s::uuid[]) AND confirmed_at IS NULL
"""

Orders = Sequence[dict[str, Any]]


def hold(cursor: Any, orders: Orders) -> None:
    rows: list[dict[str, Any]] = []
    wanted: defaultdict[str, int] = defaultdict(int)
    for order in orders:
        for line, (sku, quantity) in enumerate(order["lines"], start=1):
            row = {
                "saga": order["saga"],
                "number": order["number"],
                "line": line,
                "sku": sku,
                "quantity": quantity,
            }
            rows.append(row)
            wanted[sku] += quantity
    cursor.execute(HOLD, [orjson.dumps(rows).decode()])
    _all(cursor, wanted)


def charge(cursor: Any, orders: Orders) -> None:
    cursor.execute(CHARGE, [orjson.dumps(orders).decode()])
    _all(cursor, {order["customer"] for order in orders})


def confirm(cursor: Any, orders: Orders) -> None:
    cursor.execute(CONFIRM, [[order["saga"] for order in orders]])


def _all(cursor: Any, wanted: Any) -> None:
    if cursor.rowcount != len(wanted):
        raise effects.Refused("out of stock or money, which the benchmarks' orders never are")


STEPS: dict[str, Callable[[Any, Orders], None]] = {"inventory": hold, "payments": charge, "orders": confirm}


def declare(channel: amqp.Channel) -> None:
    for queue in STEPS:
        channel.queue_declare(queue, durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"})


def publish(channel: amqp.Channel, queue: str, body: bytes) -> None:
    """Publish and wait for the broker's confirm."""
    channel.basic_publish_confirm(amqp.Message(body, delivery_mode=2), routing_key=queue)


def work(domain: str) -> None:
    """Consume a domain's queue until TERM."""
    with connect(environ["ORDERSAGA_BROKER_URL"], confirm_publish=True) as connection:
        channel = connection.channel()
        declare(channel)
        channel.basic_qos(0, 2, False)

        def on_message(message: Any) -> None:
            orders = orjson.loads(message.body)
            with effects.transaction(domain) as cursor:
                STEPS[domain](cursor, orders)
            if domain in NEXT:
                publish(channel, NEXT[domain], message.body)
            channel.basic_ack(message.delivery_tag)

        channel.basic_consume(domain, callback=on_message)
        print("ready.", flush=True)
        while True:
            connection.drain_events()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    work(sys.argv[1])
