"""``/admin/go/<any id>`` redirects to the order, the saga or the task."""

from __future__ import annotations

import uuid

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from ordersaga.ids import new_id
from tests.webapp.sample_orders import create_products, place
from webapp.audit.models import SagaEvent
from webapp.orders.models import Order

TASK = str(uuid.uuid4())


@pytest.fixture
def order(orders_database: str) -> Order:
    create_products()
    place(idempotency_key="other")
    order = place(idempotency_key="basket 7/a")
    for n in range(2):
        SagaEvent.objects.create(
            event_id=new_id(), saga_id=order.saga_id, kind="signal", name=f"Word{n}", participant="inventory",
            again=False, said_at=order.placed_at, data={}, task_id=TASK,
        )  # fmt: skip
    return order


@pytest.fixture
def staff(orders_database: str) -> Client:
    client = Client(SERVER_NAME="localhost")
    client.force_login(User.objects.create_user("root", is_staff=True, is_superuser=True))
    return client


def leads(client: Client, term: object) -> str:
    answer = client.get(f"/admin/go/{term}")
    assert answer.status_code == 302, answer.content
    return answer.headers["Location"]


def test_an_order_number_and_an_idempotency_key_lead_to_the_order(order: Order, staff: Client) -> None:
    there = f"/admin/orders/order/{order.id}/change/"
    assert leads(staff, order.id) == there
    assert leads(staff, "basket%207/a") == there
    assert staff.get(there).status_code == 200


def test_the_id_of_a_saga_and_of_an_event_lead_to_the_saga(order: Order, staff: Client) -> None:
    there = f"/admin/orders/saga/{order.saga_id}/change/"
    event = SagaEvent.objects.filter(saga_id=order.saga_id).first()
    assert event is not None
    assert [leads(staff, order.saga_id), leads(staff, event.event_id)] == [there, there]
    assert leads(staff, str(order.saga_id).upper()) == there
    assert staff.get(there).status_code == 200


def test_a_task_has_a_page_that_leads_to_flower_and_to_its_sagas(order: Order, staff: Client) -> None:
    page = staff.get(f"/admin/go/{TASK}").content.decode()
    assert f'href="/admin/flower/task/{TASK}"' in page
    assert page.count(f'href="/admin/orders/saga/{order.saga_id}/change/"') == 1
    assert f'href="/admin/orders/order/{order.id}/change/"' in page


@pytest.mark.parametrize(
    "term",
    [
        "0",
        "9" * 40,
        "nobody's",
        "<script>",
        "00000000-0000-4000-8000-000000000000",
        "a/b/c",
        "%00",
        "x" * 3000,
    ],
)
def test_an_unknown_id_lists_what_was_tried(order: Order, staff: Client, term: str) -> None:
    answer = staff.get(f"/admin/go/{term}")
    assert answer.status_code == 404
    assert "order number, saga id, event id, task id, idempotency key" in answer.content.decode()
    assert "<script>" not in answer.content.decode().replace("<script src", "")


def test_look_ups_need_permission_for_orders_and_sagas(order: Order) -> None:
    client = Client(SERVER_NAME="localhost")
    assert (
        client.get(f"/admin/go/{order.id}").headers["Location"] == f"/admin/login/?next=/admin/go/{order.id}"
    )
    user = User.objects.create_user("someone", is_staff=True)
    client.force_login(user)
    assert client.get(f"/admin/go/{order.id}").status_code == 403
    user.user_permissions.set(
        Permission.objects.filter(codename__in=["view_order", "view_saga", "view_sagaevent"])
    )
    assert leads(client, order.id)
