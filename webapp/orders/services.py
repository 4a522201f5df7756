"""Placing orders: order, lines and the saga's beginning in one transaction, the caller's if one is open."""

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
from webapp.orders import pricing as drafting
from webapp.orders.exceptions import IdempotencyConflict
from webapp.orders.models import CancelRequest, Order, Saga
from webapp.orders.pricing import Item, NewOrder, PricedOrder
from workers.order_saga import order_operations, order_saga
from workers.signals import CancelAsked, OrderPlaced

# Orders whose keys are free, with their lines, in one statement. A rival's key is waited for, then passed
# over.
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


# One order, unless its key is taken or a price is not that of the draft. The engine adds its own to the
# statement.
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
    """Place one order: recorded with its saga's first signal, or not at all.

    The same key with the same content gives the same order back, however often and from however many
    processes.

    :raises OrderRefused: when the order cannot be placed as it is; the error names the field and the remedy.
    :raises IdempotencyConflict: when the key belongs to an order of other content.
    """
    return place_orders([NewOrder(customer, lines, idempotency_key, currency)])[0]


class Placed(NamedTuple):
    """Orders in the order of their requests; ``new`` of them did not exist before."""

    orders: list[Order]
    new: int


def place_orders(orders: Iterable[NewOrder]) -> list[Order]:
    """As :func:`place_all`, without the number of new orders."""
    return place_all(orders).orders


def place_all(orders: Iterable[NewOrder]) -> Placed:
    """Place all of ``orders``, or none, in a few statements whatever their number.

    One alone takes a single statement, and so one round trip, when this process has sold its articles before.

    :raises OrderRefused: for the first that cannot be placed.
    :raises IdempotencyConflict: for the first whose key belongs to an order of other content.
    """
    wanted = list(orders)
    if len(wanted) == 1:
        wanted = [drafting.with_listed_lines(wanted[0])]
        if order := _place_one(wanted[0]):
            return Placed([order], 1)
    return place_priced(drafting.price_orders(wanted))


def _place_one(order: NewOrder) -> Order | None:
    """One round trip, as far as this process knows the prices; None when the key is taken or a price has just
    changed.
    """
    draft = drafting.price_from_cache(order) or drafting.price_orders([order])[0]
    saga, said = new_id(), draft.signal
    values = {
        "saga": saga,
        "customer": said.customer,
        "currency": said.currency,
        "amount": said.amount,
        "key": draft.key,
        "digest": draft.digest,
        "skus": text_array(line.sku for line in said.lines),
        "prices": array(draft.prices),
        "quantities": array(line.quantity for line in said.lines),
        "amounts": array(line.amount for line in said.lines),
    }
    begun = order_saga.start_with(INSERT_ORDER, values, partial(_with_number, said), db=connection, saga=saga)
    return None if begun is None else _to_order(draft, UUID(saga), *begun)


def place_priced(wanted: Sequence[PricedOrder]) -> Placed:
    """Place what has been checked already: all, or none.

    :raises IdempotencyConflict: for the first whose key belongs to an order of other content.
    """
    with transaction.atomic():
        placed = _insert(wanted)
        new = len(placed)
        if taken := [draft.key for draft in wanted if draft.key not in placed]:
            # the insert has waited for whoever had these keys, so their orders can be read now
            placed |= {
                order.idempotency_key: order for order in Order.objects.filter(idempotency_key__in=taken)
            }
        for draft in wanted:
            if placed[draft.key].content_digest != draft.digest:
                raise IdempotencyConflict(draft.key, placed[draft.key].id)
    return Placed([placed[draft.key] for draft in wanted], new)


def _insert(wanted: Iterable[PricedOrder]) -> dict[str, Order]:
    """Write the orders whose keys are free, with their lines, and begin their sagas; by key."""
    # sorted by key: two processes that place the same orders wait for one another and never deadlock
    drafts = {new_id(): draft for draft in sorted(wanted, key=lambda draft: draft.key)}
    if not drafts:
        return {}
    rows = [
        (saga, d.signal.customer, d.signal.currency, d.signal.amount, d.key, d.digest)
        for saga, d in drafts.items()
    ]
    lines = [
        (saga, number, line.sku, line.quantity, line.amount)
        for saga, draft in drafts.items()
        for number, line in enumerate(draft.signal.lines, start=1)
    ]
    cursor = borrow(connection, planned=True)
    cursor.execute(INSERT_ORDERS, [*_transpose(rows), *_transpose(lines)])
    written = [_to_order(drafts[str(saga)], saga, number, at) for saga, number, at in cursor.fetchall()]
    said = {str(o.saga_id): _with_number(drafts[str(o.saga_id)].signal, str(o.id)) for o in written}
    if said:
        order_saga.start_many(said, db=connection)
    return {order.idempotency_key: order for order in written}


def _with_number(said: OrderPlaced, number: str) -> OrderPlaced:
    return said.model_copy(update={"order": number})


def _transpose(rows: Iterable[tuple[object, ...]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _to_order(draft: PricedOrder, saga: UUID, number: int, placed_at: datetime) -> Order:
    """The row just written, without reading it again."""
    order = Order(
        id=number,
        saga_id=saga,
        customer=draft.signal.customer,
        currency=draft.signal.currency,
        amount=draft.signal.amount,
        placed_at=placed_at,
        idempotency_key=draft.key,
        content_digest=draft.digest,
    )
    order._state.adding, order._state.db = False, connection.alias
    return order


def cancel_order(order: Order, asked_by: str) -> CancelRequest:
    """Ask for ``order`` to be cancelled; the answer will stand in the request's ``outcome``: cancelled, or
    too late.

    Asking again gives the same request back; while it is unanswered, its signal is said once more, which is
    harmless.

    :param asked_by: who asks, at most 150 characters; the first to ask is kept.
    """
    with transaction.atomic():
        request, _ = CancelRequest.objects.get_or_create(order=order, defaults={"asked_by": asked_by})
        if request.outcome is None:
            order_saga.send(str(order.saga_id), CancelAsked(order=str(order.id)), db=connection)
    return request


def resume_saga(saga: UUID, *, by: str, reason: str) -> None:
    """Take the flag off and remind the saga of what it waits for; told in its story.

    :param by: who does it, without personal data, such as ``staff 3``: it travels with the notice.
    :raises ActRefused: when the saga needs no attention (any more), or no reason is given.
    """
    reason = required_reason(reason)
    with transaction.atomic():
        if order_operations.resume(str(saga), db=connection, by=by, reason=reason):
            return
    found = Saga.objects.filter(id=saga).first()
    if found is None:
        raise ActionRefused(f"There is no saga {saga}.")
    state = "has ended" if found.ended_at else "needs no attention"
    raise ActionRefused(f"Saga {saga} {state} ({found.get_status_display()}): nothing to resume.")


def request_cancellation(order: int, *, by: str, reason: str) -> str:
    """Ask for an order to be cancelled; gives a sentence that says so. Its saga decides, and may find it too
    late.

    :param by: who does it, without personal data, such as ``staff 3``: it travels with the notice.
    :raises ActRefused: when the saga is no longer pending, or no reason is given.
    """
    reason = required_reason(reason)
    found = Order.objects.select_related("saga").filter(id=order).first()
    if found is None:
        raise ActionRefused(f"There is no order {order}.")
    if found.saga.status != Saga.Status.PENDING:
        raise ActionRefused(f"Order {order} is {found.saga.get_status_display()}: too late to cancel it.")
    with transaction.atomic():
        asked_before = CancelRequest.objects.filter(order=found).first()
        if asked_before is not None and asked_before.outcome is not None:
            raise ActionRefused(
                f"Order {order}: cancelling was answered before, {asked_before.get_outcome_display()}."
            )
        cancel_order(found, by)
        order_operations.note(str(found.saga_id), "cancel asked", db=connection, by=by, reason=reason)
    if asked_before is not None:
        return f"Order {order}: {asked_before.asked_by} had asked for it to be cancelled; asked once more."
    return f"Order {order}: asked for it to be cancelled. Its saga decides; look at it again in a moment."


def place_test_order(order: NewOrder, *, by: str, reason: str) -> tuple[Order, bool]:
    """Place an order to try the house; the order, and whether this call placed it: the same key gives the
    same order back.

    :raises OrderError: when it cannot be placed as it is.
    :raises ActRefused: when no reason is given.
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
    """As :func:`resume_saga`; gives a sentence that says what was done."""
    resume_saga(saga, by=by, reason=reason)  # type: ignore[arg-type]
    return f"Saga {saga} is reminded now of what it waits for."
