"""A request to cancel is recorded once, and the orders participant answers it."""

from __future__ import annotations

import pytest
from django.db import connection

from ordersaga import Batch, DeadlinePassed
from tests.webapp.sample_orders import create_products, emitted_topics, place
from webapp.orders.models import CancelRequest, Order
from webapp.orders.services import send_cancel_request
from workers.orders import steps
from workers.signals import CancelAsked, OrderCancelled, OrderConfirmed, OrderExpired, PaymentCharged


@pytest.fixture(autouse=True)
def _catalogue(orders_database: str) -> None:
    create_products()


def test_a_cancel_is_recorded_with_its_signal_in_one_transaction() -> None:
    order = place()
    request = send_cancel_request(order, "ann")
    assert (request.asked_by, request.outcome) == ("ann", None)
    assert emitted_topics() == ["signal.OrderPlaced", "signal.CancelAsked"]


def test_two_requests_to_cancel_are_one() -> None:
    order = place()
    assert send_cancel_request(order, "ann") == send_cancel_request(order, "shop")
    assert order.cancel_request.asked_by == "ann"


def test_an_answered_request_emits_no_more_signals() -> None:
    order = place()
    request = send_cancel_request(order, "ann")
    request.outcome, request.answered_at = "too_late", request.asked_at
    request.save()
    send_cancel_request(order, "ann")
    assert emitted_topics().count("signal.CancelAsked") == 1


# -------------------------------------------------------------------------------- the participant's steps


def test_a_timely_cancel_refuses_the_saga() -> None:
    order, other = place(), place(idempotency_key="other")
    for each in (order, other):
        send_cancel_request(each, "ann")
    asked = Batch({str(order.saga_id): CancelAsked(order=str(order.id))})
    assert dict(steps.cancel.function(asked)) == {str(order.saga_id): OrderCancelled(order=str(order.id))}
    assert set(CancelRequest.objects.values_list("order", "outcome")) == {
        (order.id, "cancelled"),
        (other.id, None),
    }


def test_a_late_cancel_gets_its_final_outcome() -> None:
    order = place()
    send_cancel_request(order, "ann")
    asked = Batch({str(order.saga_id): CancelAsked(order=str(order.id))})
    steps.record_too_late(asked)
    steps.cancel.function(asked)
    request = CancelRequest.objects.get()
    assert request.outcome == "too_late"
    assert request.answered_at is not None


def test_undoing_a_confirmation_clears_the_order() -> None:
    order, other = place(), place(idempotency_key="other")
    charged = Batch({str(order.saga_id): PaymentCharged(order=str(order.id), currency="EUR", amount=1)})
    confirmed = steps.confirm_order.function(charged, connection)
    assert dict(confirmed) == {str(order.saga_id): OrderConfirmed(order=str(order.id))}
    assert list(Order.objects.filter(confirmed_at=None)) == [other]
    steps.revoke_confirmation.function(confirmed)
    assert Order.objects.filter(confirmed_at=None).count() == 2


def test_an_expired_order_is_named_in_the_refusal() -> None:
    order = place()
    expired = steps.expire_order.function(Batch({str(order.saga_id): DeadlinePassed()}))
    assert dict(expired) == {str(order.saga_id): OrderExpired(order=str(order.id))}
