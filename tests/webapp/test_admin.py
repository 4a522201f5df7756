"""The admin: staff may view but not edit, and a search finds an order by any id that a customer has."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.urls import reverse

from ordersaga.ids import new_id
from webapp.audit.models import DeadLetter, SagaEvent
from webapp.orders.models import Order, Product
from webapp.orders.pricing import Item
from webapp.orders.services import place_order, send_cancel_request

OURS = [
    m
    for label in ("orders", "audit")
    for m in apps.get_app_config(label).get_models()
    if m in admin.site._registry
]


@pytest.fixture
def order(orders_database: str) -> Order:
    Product.objects.create(sku="TEA", name="Tea", price=450, currency="EUR")
    for n in range(3):
        place_order(customer=f"other-{n}", lines=[Item("TEA", 1)], idempotency_key=f"other-{n}")
    order = place_order(customer="ann", lines=[Item("TEA", 2)], idempotency_key="k")
    send_cancel_request(order, "ann")
    return order


@pytest.fixture
def staff(orders_database: str) -> Client:
    return client_of(User.objects.create_user("root", is_staff=True, is_superuser=True))


def client_of(user: User) -> Client:
    client = Client(SERVER_NAME="localhost")
    client.force_login(user)
    return client


def page(client: Client, model: type, **query: str) -> str:
    answer = client.get(reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"), query)  # type: ignore[attr-defined]
    assert answer.status_code == 200
    return answer.content.decode()


def test_without_login_there_is_only_the_login_page(orders_database: str) -> None:
    answer = Client(SERVER_NAME="localhost").get("/admin/orders/order/")
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/admin/login/")


def test_a_user_without_permission_sees_nothing(order: Order) -> None:
    client = client_of(User.objects.create_user("guest", is_staff=True))
    assert client.get("/admin/orders/order/").status_code == 403


def test_a_user_with_view_permission_sees_orders(order: Order) -> None:
    user = User.objects.create_user("desk", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    assert "ann" in page(client_of(user), Order)


READ_ONLY = [model for model in OURS if model is not Product]


@pytest.mark.parametrize("model", READ_ONLY, ids=lambda model: model.__name__)
def test_adding_changing_and_deleting_are_forbidden(model: type, order: Order, staff: Client) -> None:
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"  # type: ignore[attr-defined]
    assert page(staff, model)
    assert staff.get(reverse(f"{name}_add")).status_code == 403
    thing = model._default_manager.first()  # type: ignore[attr-defined]
    if thing is not None:
        assert staff.get(reverse(f"{name}_change", args=[thing.pk])).status_code == 200
        assert staff.post(reverse(f"{name}_change", args=[thing.pk]), {}).status_code == 403
        assert staff.post(reverse(f"{name}_delete", args=[thing.pk]), {"post": "yes"}).status_code == 403


def test_an_order_shows_lines_status_and_cancel_request(order: Order, staff: Client) -> None:
    shown = staff.get(f"/admin/orders/order/{order.id}/change/").content.decode()
    assert "TEA" in shown
    assert "9.00 EUR" in shown
    assert "ann, " in shown
    assert "pending" in page(staff, Order)


@pytest.mark.parametrize("by", ["number", "customer", "saga"])
@pytest.mark.parametrize("listed", ["order", "saga"])
def test_an_order_and_its_saga_are_found_by_any_id(by: str, listed: str, order: Order, staff: Client) -> None:
    term = {"number": str(order.id), "customer": "ann", "saga": str(order.saga_id)}[by]
    found = page(staff, Order if listed == "order" else type(order.saga), q=term)
    assert (f"/admin/orders/order/{order.id}/change/" if listed == "order" else str(order.saga_id)) in found
    assert "1 result" in found


@pytest.mark.parametrize(
    "term", ["nobody", "999999", "9" * 40, "0d7f3c52-1111-4222-8333-444455556666", "%", "' OR 1=1 --"]
)
def test_a_search_without_a_match_finds_nothing(term: str, order: Order, staff: Client) -> None:
    for model in (Order, type(order.saga), SagaEvent, DeadLetter):
        assert "0 results" in page(staff, model, q=term)


def test_sagas_are_filtered_by_status_open_and_attention(order: Order, staff: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE ordersaga_saga SET status = 'CONFIRMED', ended_at = now() WHERE id = %s", [order.saga_id]
        )
        cursor.execute("UPDATE ordersaga_saga SET attention = 'stuck' WHERE id = %s", [order.saga_id])
    saga, other = str(order.saga_id), str(Order.objects.get(customer="other-1").saga_id)
    for query in ({"status": "CONFIRMED"}, {"open": "no"}, {"attention": "yes"}):
        found = page(staff, type(order.saga), **query)
        assert saga in found, query
        assert other not in found, query
    assert saga not in page(staff, type(order.saga), open="yes")


def test_an_undecodable_dead_letter_is_shown_unchanged(staff: Client) -> None:
    dead_letter = DeadLetter.objects.create(
        source="broker", key="k", participant="inventory", topic="", error="", message="", traceback="",
        body=b"\xff<script>", digest="d" * 64, headers={}, attempts=1,
    )  # fmt: skip
    shown = staff.get(f"/admin/audit/deadletter/{dead_letter.id}/change/").content.decode()
    assert "\\xff&lt;script&gt;" in shown


def test_events_are_found_by_the_orders_number(order: Order, staff: Client) -> None:
    SagaEvent.objects.create(
        event_id=new_id(),
        saga_id=order.saga_id,
        kind="signal",
        name="StockReserved",
        participant="inventory",
        again=False,
        said_at=order.placed_at,
        data={},
    )
    assert "StockReserved" in page(staff, SagaEvent, q=str(order.id))
