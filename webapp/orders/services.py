"""Place orders, request their cancellation, and resume their sagas.

An order, its lines and its saga are written in one transaction, the caller's if one is open.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple
from uuid import UUID

from django.db import connection, transaction

from ordersaga.database import borrow
from ordersaga.ids import new_id
from ordersaga.sql import array, text_array
from webapp.operators import ActionRefused, required_reason
from webapp.orders import pricing
from webapp.orders.exceptions import IdempotencyConflict
from webapp.orders.models import CancelRequest, Order, Saga
from webapp.orders.pricing import Item, NewOrder, PricedOrder
from workers.order_saga import order_operations, order_saga
from workers.signals import CancelAsked, OrderPlaced

# Inserts the orders whose keys are free, with their lines. It waits for a concurrent transaction that inserts
# the same key, and then skips that order.
INSERT_ORDERS = """
    WITH placed AS (
        INSERT INTO orders_order (saga_id, customer, currency, amount, idempotency_key, content_digest)
        SELECT * FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::bigint[], %s::text[], %s::text[])
        ON CONFLICT (idempotency_key) DO NOTHING
        RETURNING saga_id, id, placed_at
    ), lines AS (
        INSERT INTO orders_orderline (order_id, number, sku, quantity, amount)
        SELECT placed.id, line.number, line.sku, line.quantity, line.amount
        FROM unnest(%s::uuid[], %s::int[], %s::text[], %s::int[], %s::bigint[])
            AS line (saga_id, number, sku, quantity, amount)
        JOIN placed USING (saga_id)
    )
    SELECT saga_id, id, placed_at FROM placed
"""


# Inserts one order, unless its key is taken or a price has changed. The engine completes the statement with
# the insert of the saga.
INSERT_ORDER = """
    begun AS (
        INSERT INTO orders_order (saga_id, customer, currency, amount, idempotency_key, content_digest)
        SELECT %(saga)s::uuid, %(customer)s, %(currency)s::text, %(amount)s, %(key)s, %(digest)s
        WHERE NOT EXISTS (
            SELECT FROM unnest(%(skus)s::text[], %(prices)s::bigint[]) AS line (sku, price)
            WHERE line.price IS DISTINCT FROM (
                SELECT price FROM orders_product AS product
                WHERE product.sku = line.sku AND product.currency = %(currency)s::text AND product.active
            )
        )
        ON CONFLICT (idempotency_key) DO NOTHING
        RETURNING id AS number, placed_at
    ), lines AS (
        INSERT INTO orders_orderline (order_id, number, sku, quantity, amount)
        SELECT begun.number, line.number, line.sku, line.quantity, line.amount
        FROM begun, unnest(%(skus)s::text[], %(quantities)s::int[], %(amounts)s::bigint[])
            WITH ORDINALITY AS line (sku, quantity, amount, number)
    )
"""


def place_order(
    *, customer: str, lines: Iterable[Item], idempotency_key: str, currency: str = "EUR"
) -> Order:
    """Place one order together with its saga's first signal, or nothing.

    The same key with the same content returns the same order, in any process and any number of times.

    :raises OrderRefused: when the order cannot be placed as it is; the error names the field and the remedy.
    :raises IdempotencyConflict: when the key belongs to an order with other content.
    """
    return place_orders([NewOrder(customer, lines, idempotency_key, currency)])[0]


class Placed(NamedTuple):
    """The orders in the sequence of the request; ``new`` of them were placed by this call."""

    orders: list[Order]
    new: int


def place_orders(orders: Iterable[NewOrder]) -> list[Order]:
    """Call :func:`place_all`; return only the orders."""
    return place_all(orders).orders


def place_all(orders: Iterable[NewOrder]) -> Placed:
    """Place all of ``orders``, or none, in a few statements; the result keeps their order.

    A single order takes one statement, and so one round trip, once this process has cached its products.

    :raises OrderRefused: for the first that cannot be placed.
    :raises IdempotencyConflict: for the first whose key belongs to an order with other content.
    """
    wanted = list(orders)
    if len(wanted) == 1:
        wanted = [pricing.with_listed_lines(wanted[0])]
        if order := _place_one(wanted[0]):
            return Placed([order], 1)
    return place_priced(pricing.price_orders(wanted))


def _place_one(order: NewOrder) -> Order | None:
    """Place an order in one round trip; None when its key is taken or a cached price is out of date."""
    priced = pricing.price_from_cache(order) or pricing.price_orders([order])[0]
    saga, signal = new_id(), priced.signal
    values = {
        "saga": saga,
        "customer": signal.customer,
        "currency": signal.currency,
        "amount": signal.amount,
        "key": priced.key,
        "digest": priced.digest,
        "skus": text_array(line.sku for line in signal.lines),
        "prices": array(priced.prices),
        "quantities": array(line.quantity for line in signal.lines),
        "amounts": array(line.amount for line in signal.lines),
    }
    started = order_saga.start_with(
        INSERT_ORDER, values, partial(_with_number, signal), db=connection, saga=saga
    )
    return None if started is None else _to_order(priced, UUID(saga), *started)


def place_priced(wanted: Sequence[PricedOrder]) -> Placed:
    """Place validated orders: all, or none.

    :raises IdempotencyConflict: for the first whose key belongs to an order with other content.
    """
    with transaction.atomic():
        placed = _insert(wanted)
        new = len(placed)
        if taken := [priced.key for priced in wanted if priced.key not in placed]:
            # the insert has waited for the transactions with these keys, so their orders are visible now
            placed |= {
                order.idempotency_key: order for order in Order.objects.filter(idempotency_key__in=taken)
            }
        for priced in wanted:
            if placed[priced.key].content_digest != priced.digest:
                raise IdempotencyConflict(priced.key, placed[priced.key].id)
    return Placed([placed[priced.key] for priced in wanted], new)


def _insert(wanted: Iterable[PricedOrder]) -> dict[str, Order]:
    """Write the orders whose keys are free and start their sagas; return them by key."""
    # sorted by key: two processes that place the same orders wait for each other and never deadlock
    priced_by_saga = {new_id(): priced for priced in sorted(wanted, key=lambda priced: priced.key)}
    if not priced_by_saga:
        return {}
    rows = [
        (saga, p.signal.customer, p.signal.currency, p.signal.amount, p.key, p.digest)
        for saga, p in priced_by_saga.items()
    ]
    lines = [
        (saga, number, line.sku, line.quantity, line.amount)
        for saga, priced in priced_by_saga.items()
        for number, line in enumerate(priced.signal.lines, start=1)
    ]
    cursor = borrow(connection, planned=True)
    cursor.execute(INSERT_ORDERS, [*_transpose(rows), *_transpose(lines)])
    written = [
        _to_order(priced_by_saga[str(saga)], saga, number, at) for saga, number, at in cursor.fetchall()
    ]
    signals = {
        str(o.saga_id): _with_number(priced_by_saga[str(o.saga_id)].signal, str(o.id)) for o in written
    }
    if signals:
        order_saga.start_many(signals, db=connection)
    return {order.idempotency_key: order for order in written}


def _with_number(signal: OrderPlaced, number: str) -> OrderPlaced:
    return signal.model_copy(update={"order": number})


def _transpose(rows: Iterable[tuple[object, ...]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _to_order(priced: PricedOrder, saga: UUID, number: int, placed_at: datetime) -> Order:
    """Return the row just written, without reading it."""
    order = Order(
        id=number,
        saga_id=saga,
        customer=priced.signal.customer,
        currency=priced.signal.currency,
        amount=priced.signal.amount,
        placed_at=placed_at,
        idempotency_key=priced.key,
        content_digest=priced.digest,
    )
    order._state.adding, order._state.db = False, connection.alias
    return order


def send_cancel_request(order: Order, asked_by: str) -> CancelRequest:
    """Send the saga of ``order`` a request to cancel; it sets ``outcome`` to cancelled or too late.

    A repeated call returns the same request and, while it has no outcome, sends its signal again.

    :param asked_by: at most 150 characters; the first value is kept.
    """
    with transaction.atomic():
        request, _ = CancelRequest.objects.get_or_create(order=order, defaults={"asked_by": asked_by})
        if request.outcome is None:
            order_saga.send(str(order.saga_id), CancelAsked(order=str(order.id)), db=connection)
    return request


def resume_saga(saga: UUID, *, by: str, reason: str) -> None:
    """Clear the mark *needs attention*, re-send what the saga waits for, and record it in the timeline.

    :param by: the operator without personal data, such as ``staff 3``; it is sent with the notice.
    :raises ActionRefused: when the saga does not need attention, or no reason is given.
    """
    reason = required_reason(reason)
    with transaction.atomic():
        if order_operations.resume(str(saga), db=connection, by=by, reason=reason):
            return
    found = Saga.objects.filter(id=saga).first()
    if found is None:
        raise ActionRefused(f"There is no saga {saga}.")
    state = "has ended" if found.ended_at else "does not need attention"
    raise ActionRefused(f"Saga {saga} {state} ({found.get_status_display()}): there is nothing to resume.")


def request_cancellation(order: int, *, by: str, reason: str) -> str:
    """Request a cancellation as an operator; return a sentence about what was done.

    :param by: the operator without personal data, such as ``staff 3``; it is sent with the notice.
    :raises ActionRefused: when the saga is no longer pending, or no reason is given.
    """
    reason = required_reason(reason)
    found = Order.objects.select_related("saga").filter(id=order).first()
    if found is None:
        raise ActionRefused(f"There is no order {order}.")
    if found.saga.status != Saga.Status.PENDING:
        raise ActionRefused(
            f"Order {order} is {found.saga.get_status_display()}: it is too late to cancel it."
        )
    with transaction.atomic():
        asked_before = CancelRequest.objects.filter(order=found).first()
        if asked_before is not None and asked_before.outcome is not None:
            raise ActionRefused(
                f"Order {order}: an earlier request was answered: {asked_before.get_outcome_display()}."
            )
        send_cancel_request(found, by)
        order_operations.note(str(found.saga_id), "cancel asked", db=connection, by=by, reason=reason)
    if asked_before is not None:
        return f"Order {order}: the cancel request of {asked_before.asked_by} was sent again."
    return f"Order {order}: a cancel request was sent. The saga decides; reload the page in a moment."


def place_test_order(order: NewOrder, *, by: str, reason: str) -> tuple[Order, bool]:
    """Place a test order; return it, and whether this call placed it, as a known key returns its order.

    :raises OrderError: when it cannot be placed as it is.
    :raises ActionRefused: when no reason is given.
    """
    reason = required_reason(reason)
    with transaction.atomic():
        known = Order.objects.filter(idempotency_key=order.idempotency_key).exists()
        [placed] = place_orders([order])
        if not known:
            order_operations.note(
                str(placed.saga_id), "test order placed", db=connection, by=by, reason=reason
            )
    return placed, not known


def resume(saga: object, *, by: str, reason: str) -> str:
    """Call :func:`resume_saga`; return a sentence about what was done."""
    resume_saga(saga, by=by, reason=reason)  # type: ignore[arg-type]
    return f"Saga {saga} is resumed: the signal that it waits for is sent again."
