"""Place orders, read them, wait for them and ask for them to be cancelled."""

# ruff: noqa: ARG001 - every view receives the request

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from typing import Annotated, Any
from uuid import UUID

from django.db import connection
from django.http import Http404, HttpRequest
from django.urls import reverse
from ninja import Header, Path, Query, Router
from ninja.responses import Status

from webapp.api.http import ScopedToken, problem_of
from webapp.api.models import Scope
from webapp.api.schemas import (
    BatchInput,
    BatchOrderInput,
    BatchOutput,
    Key,
    OrderDetail,
    OrderInput,
    OrderOutput,
    OrderPage,
    ProblemOutput,
)
from webapp.api.schemas import Status as SagaStatus
from webapp.audit.models import SagaEvent
from webapp.orders.exceptions import IdempotencyConflict, OrderRefused
from webapp.orders.models import CancelRequest, Order, Saga
from webapp.orders.pricing import Item, NewOrder, PricedOrder, price_each
from webapp.orders.services import place_all, place_priced, send_cancel_request

router = Router(tags=["orders"])
read, write = ScopedToken(Scope.READ_ORDERS), ScopedToken(Scope.WRITE_ORDERS)
ERRORS = {400: ProblemOutput, 401: ProblemOutput, 403: ProblemOutput, 413: ProblemOutput, 415: ProblemOutput,
          422: ProblemOutput, 429: ProblemOutput}  # fmt: skip

MAX_WAIT = 30
"""Seconds for which a request may wait for an order's end."""
WAITING = threading.BoundedSemaphore(2)
"""Threads of a process that may wait at once; the others answer at once."""
POLLS = (0.05, 0.1, 0.2, 0.4)
"""Seconds between looks; the last one repeats."""
PAGE = 50
MAX_EVENTS = 500
"""Events of a timeline that are shown."""
Wait = Annotated[int, Query(ge=0, le=MAX_WAIT, description="seconds to wait for the order's end")]
Number = Annotated[int, Path(ge=1, le=2**63 - 1)]


@router.post("", auth=write, response={201: OrderOutput, 200: OrderOutput, 409: ProblemOutput, **ERRORS})
def place(
    request: HttpRequest,
    payload: OrderInput,
    idempotency_key: Annotated[Key, Header(alias="Idempotency-Key", description="your name for this order")],
    wait: Wait = 0,
) -> Status[Any]:
    """Place one order. The same key with the same order returns that order (200) and places none."""
    placed = place_all([_new_order(payload, idempotency_key)])
    [order] = placed.orders
    if placed.new and not wait:
        return Status(201, _output(order, pending=True))
    wait_for(order.saga_id, wait)
    return Status(201 if placed.new else 200, _output(_found(order.id)))


@router.post("/batch", auth=write, response={200: BatchOutput, 409: ProblemOutput, **ERRORS})
def place_batch(request: HttpRequest, payload: BatchInput) -> dict[str, Any]:
    """Place up to 1,000 orders. Each is judged by itself; with `atomic` all are placed, or none."""
    results: list[dict[str, Any]] = [{"idempotency_key": each.idempotency_key} for each in payload.orders]
    good, known = _price(payload.orders, results)
    if payload.atomic and len(good) < len(results):
        for number in good:
            results[number]["result"] = "not placed"
        good = {}
    orders = place_priced(list(good.values())).orders if good else []
    for number, order in zip(good, orders, strict=True):
        if (before := known.get(order.idempotency_key)) is None:
            results[number] |= {"result": "placed", "order": _output(order, pending=True)}
        else:
            results[number] |= {"result": "known", "order": _output(before)}
    counted = [result["result"] for result in results]
    return {
        "placed": counted.count("placed"),
        "known": counted.count("known"),
        "refused": counted.count("refused") + counted.count("conflict"),
        "results": results,
    }


@router.get("", auth=read, response={200: OrderPage, **ERRORS})
def list_orders(
    request: HttpRequest,
    status: SagaStatus | None = None,
    customer: Annotated[str | None, Query(max_length=64)] = None,
    after: Annotated[UUID | None, Query(description="`next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE * 4)] = PAGE,
) -> dict[str, Any]:
    """Orders in the order of placing."""
    rows = Order.objects.select_related("saga", "cancel_request").order_by("saga_id")
    if status:
        rows = rows.filter(saga__status=status)
    if customer:
        rows = rows.filter(customer=customer)
    if after:
        rows = rows.filter(saga_id__gt=after)
    found = list(rows[: limit + 1])
    more, found = len(found) > limit, found[:limit]
    return {"orders": [_output(order) for order in found], "next": str(found[-1].saga_id) if more else None}


@router.get("/{number}", auth=read, response={200: OrderDetail, 404: ProblemOutput, **ERRORS})
def read_order(request: HttpRequest, number: Number, wait: Wait = 0) -> dict[str, Any]:
    """One order with its lines and its timeline."""
    order = _found(number)
    if wait and order.saga.ended_at is None:
        wait_for(order.saga_id, wait)
        order = _found(number)
    lines = [
        {"sku": line.product_id, "quantity": line.quantity, "amount": line.amount}
        for line in order.lines.all()
    ]
    events = SagaEvent.objects.filter(saga_id=order.saga_id).order_by("said_at", "id")[:MAX_EVENTS]
    timeline = [
        {"at": e.said_at, "participant": e.participant, "kind": e.kind, "name": e.name, "reason": e.reason}
        for e in events
    ]
    return {**_output(order), "lines": lines, "timeline": timeline}


@router.post("/{number}/cancel", auth=write, response={202: OrderOutput, 404: ProblemOutput, **ERRORS})
def cancel(request: HttpRequest, number: Number) -> Status[Any]:
    """Ask for an order to be cancelled. Its saga decides: `cancellation.outcome` is cancelled or too_late."""
    send_cancel_request(_found(number), request.api_client.recorded_name)  # type: ignore[attr-defined]
    return Status(202, _output(_found(number)))


def wait_for(saga: UUID, seconds: float) -> None:
    """Wait until a saga has ended, without holding a database connection while nothing is asked.

    Returns at once when as many threads of this process wait as may.
    """
    if seconds <= 0 or not WAITING.acquire(blocking=False):
        return
    try:
        deadline, polls = time.monotonic() + seconds, iter(POLLS)
        pause = next(polls)
        while (left := deadline - time.monotonic()) > 0:
            ended = Order.objects.filter(saga_id=saga, saga__ended_at__isnull=False).exists()
            connection.close()
            if ended:
                return
            time.sleep(min(pause, left))
            pause = next(polls, pause)
    finally:
        WAITING.release()


def _new_order(order: OrderInput, key: str) -> NewOrder:
    items = [Item(line.sku, line.quantity, line.amount) for line in order.lines]
    return NewOrder(order.customer, items, key, order.currency)


def _price(
    orders: Sequence[BatchOrderInput], results: list[dict[str, Any]]
) -> tuple[dict[int, PricedOrder], dict[str, Order]]:
    """Price the orders of a batch; write the results of those that cannot be placed.

    :returns: the others by their place in the batch, and by their keys the orders that were placed before.
    """
    good: dict[int, PricedOrder] = {}
    places: dict[str, int] = {}
    verdicts = price_each(_new_order(order, order.idempotency_key) for order in orders)
    for number, (order, priced) in enumerate(zip(orders, verdicts, strict=True)):
        key = order.idempotency_key
        twice = OrderRefused("idempotency_key", f"is that of orders[{places.get(key)}]", "Use another key")
        verdict = twice if key in places else priced
        if isinstance(verdict, OrderRefused):
            results[number] |= {"result": "refused", "problem": problem_of(verdict).as_dict()}
        else:
            good[number] = verdict
        places.setdefault(key, number)
    known = _known(good.values())
    for number, draft in list(good.items()):
        before = known.get(draft.key)
        if before is not None and before.content_digest != draft.digest:
            problem = problem_of(IdempotencyConflict(draft.key, before.id))
            results[number] |= {"result": "conflict", "problem": problem.as_dict()}
            del good[number]
    return good, known


def _known(drafts: Iterable[PricedOrder]) -> dict[str, Order]:
    keys = [draft.key for draft in drafts]
    rows = Order.objects.select_related("saga", "cancel_request").filter(idempotency_key__in=keys)
    return {order.idempotency_key: order for order in rows}


def _found(number: int) -> Order:
    order = Order.objects.select_related("saga", "cancel_request").filter(id=number).first()
    if order is None:
        raise Http404(f"There is no order {number}.")
    return order


def _output(order: Order, *, pending: bool = False) -> dict[str, Any]:
    """An order as the API shows it.

    :param pending: it was placed just now, so its saga need not be read.
    """
    saga = None if pending else order.saga
    asked: CancelRequest | None = None if pending else getattr(order, "cancel_request", None)
    url = reverse("api-1:read_order", args=[order.id])
    return {
        "id": order.id,
        "status": saga.status if saga else "PENDING",
        "ended": bool(saga and saga.ended_at),
        "reason": _reason(saga),
        "needs_attention": bool(saga and saga.attention and not saga.ended_at),
        "customer": order.customer,
        "currency": order.currency,
        "amount": order.amount,
        "placed_at": order.placed_at,
        "ended_at": saga.ended_at if saga else None,
        "saga": str(order.saga_id),
        "cancellation": {"asked_at": asked.asked_at, "outcome": asked.outcome} if asked else None,
        "links": {"self": url, "cancel": f"{url}/cancel"},
    }


def _reason(saga: Saga | None) -> dict[str, Any] | None:
    if saga is None or saga.refusal is None:
        return None
    return {"refusal": saga.refusal, "refused_by": saga.refused_by, "text": saga.reason}
