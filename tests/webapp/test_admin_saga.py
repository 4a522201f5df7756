"""A saga's page: its status, what it waits for, and its timeline, with each event below its cause."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from ordersaga.ids import new_id
from tests.webapp.sample_orders import create_products, place
from webapp.audit.models import DeadLetter, SagaEvent
from webapp.orders.models import Order
from webapp.orders.progress import success_path


@pytest.fixture
def order(orders_database: str) -> Order:
    create_products()
    return place()


@pytest.fixture
def staff(orders_database: str) -> Client:
    client = Client(SERVER_NAME="localhost")
    client.force_login(User.objects.create_user("anna", is_staff=True, is_superuser=True))
    return client


def record_event(order: Order, name: str, cause: UUID | None = None, **changed: Any) -> UUID:
    """Record an event in the audit; return its id."""
    given: dict[str, Any] = {
        "event_id": UUID(new_id()), "saga_id": order.saga_id, "cause": cause, "kind": "signal", "name": name,
        "participant": "inventory", "again": False, "data": {}, "attempt": 1,
        "said_at": order.placed_at + timedelta(milliseconds=SagaEvent.objects.count()),
    }  # fmt: skip
    return SagaEvent.objects.create(**{**given, **changed}).event_id


def move(order: Order, columns: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE ordersaga_saga SET {columns} WHERE id = %s", [order.saga_id])


def page(client: Client, order: Order) -> str:
    answer = client.get(f"/admin/orders/saga/{order.saga_id}/change/")
    assert answer.status_code == 200
    return answer.content.decode()


def field(html: str, name: str) -> str:
    found = re.search(rf'field-{name}".*?<div class="readonly">(.*?)</div>', html, re.DOTALL)
    assert found, name
    return re.sub(r"<.*?>", "", found[1]).strip()


def test_the_progress_steps_match_the_choreography() -> None:
    assert success_path() == {
        "OrderPlaced": "inventory.reserve_stock",
        "StockReserved": "payments.charge",
        "PaymentCharged": "orders.confirm_order",
        "OrderConfirmed": "inventory.ship_stock",
        "StockShipped": "orders.complete_order",
    }


def test_a_pending_saga_waits_for_the_next_step_until_its_deadline(order: Order, staff: Client) -> None:
    html = page(staff, order)
    assert field(html, "waits_for") == "inventory.reserve_stock"
    assert "Check that the audit pool is running" in html
    record_event(order, "StockReserved", record_event(order, "OrderPlaced", participant="orders"))
    html = page(staff, order)
    assert field(html, "reached") == "StockReserved"
    assert field(html, "waits_for") == "payments.charge"
    assert field(html, "until").startswith(f"{order.saga.deadline_at:%d %b %Y %H:%M:%S}")
    assert field(html, "reminder").startswith(
        f"{order.saga.started_at + timedelta(seconds=30):%d %b %Y %H:%M}"[:11]
    )
    assert field(html, "its_order") == f"order {order.id} of ann, 21.00 EUR"


def test_a_saga_rolling_back_waits_for_missing_answers(order: Order, staff: Client) -> None:
    move(
        order,
        "status = 'ROLLING_BACK', refusal = 'PaymentDeclined', refused_by = 'payments', reason = 'no money'",
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO ordersaga_answer VALUES (%s, 'orders'), (%s, 'payments')", [order.saga_id] * 2
        )
    html = page(staff, order)
    assert field(html, "waits_for") == "the answer of inventory"
    assert field(html, "reached").endswith("then PaymentDeclined by payments")
    assert field(html, "reason") == "no money"


def test_an_ended_saga_waits_for_nothing(order: Order, staff: Client) -> None:
    move(order, "status = 'CONFIRMED', ended_at = started_at + interval '125 s'")
    html = page(staff, order)
    assert field(html, "waits_for") == "nothing: the saga has ended"
    assert field(html, "age") == "2 min 5 s"


def test_the_timeline_is_in_causal_order_with_attempts_and_users(order: Order, staff: Client) -> None:
    by = User.objects.create_user("berta")
    placed = record_event(order, "OrderPlaced", participant="orders")
    other = record_event(
        order,
        "resumed",
        kind="notice",
        participant="orders",
        reason="looked at it",
        data={"by": f"staff {by.pk}"},
    )
    failed = record_event(
        order,
        "failed",
        placed,
        kind="notice",
        reason="RuntimeError: no shelf",
        attempt=2,
        step="inventory.reserve_stock",
    )
    record_event(order, "StockReserved", placed, attempt=3, task_id="5c3b1e70-9f34-4f5e-8d3c-3b8f3a0c2d11")
    html = page(staff, order)
    result = re.findall(r'padding-left: ([\d.]+)em"><span class="name">(.*?)</span>', html)
    assert [name for _, name in result] == ["OrderPlaced", "failed", "StockReserved", "resumed"]
    assert [float(indent) > 1 for indent, _ in result] == [False, True, True, False]
    assert "RuntimeError: no shelf" in html
    assert f"staff {by.pk} (berta)" in html
    assert "/admin/flower/task/5c3b1e70-9f34-4f5e-8d3c-3b8f3a0c2d11" in html
    assert failed != other


def test_notices_come_before_the_signals_of_their_transaction(order: Order, staff: Client) -> None:
    placed, at = (
        record_event(order, "OrderPlaced", participant="orders"),
        order.placed_at + timedelta(seconds=1),
    )
    for kind, name in [
        ("answer", "answer"),
        ("notice", "dead letter"),
        ("notice", "failed"),
        ("refusal", "StepFailed"),
    ]:
        record_event(order, name, placed, kind=kind, said_at=at)  # as the trail stores them: by kind and name
    assert names(page(staff, order)) == ["OrderPlaced", "failed", "dead letter", "StepFailed", "answer"]


def test_a_saga_is_rolled_back_after_the_last_answer_of_its_initiator(order: Order, staff: Client) -> None:
    refused, at = (
        record_event(order, "PaymentDeclined", kind="refusal"),
        order.placed_at + timedelta(seconds=1),
    )
    for kind, name in [("answer", "answer"), ("notice", "rolled back"), ("notice", "undone")]:
        record_event(order, name, refused, kind=kind, said_at=at, participant="orders")
    assert names(page(staff, order)) == ["PaymentDeclined", "undone", "answer", "rolled back"]


@pytest.mark.parametrize(
    ("milliseconds", "after"), [(-5, ["+0.000 s", "+0.105 s"]), (5, ["+0.005 s", "+0.100 s"])]
)
def test_the_timeline_starts_with_the_first_signal_or_row(
    order: Order, staff: Client, capsys: pytest.CaptureFixture[str], milliseconds: int, after: list[str]
) -> None:
    began = order.saga.started_at
    placed = record_event(
        order, "OrderPlaced", participant="orders", said_at=began + timedelta(milliseconds=milliseconds)
    )
    record_event(order, "StockReserved", placed, said_at=began + timedelta(milliseconds=100))
    assert re.findall(r"[+-]\d\.\d{3} s", page(staff, order)) == after
    call_command("saga", str(order.saga_id))
    assert re.findall(r"[+-]+\d\.\d{3} s", capsys.readouterr().out) == after


def names(html: str) -> list[str]:
    return re.findall(r'<span class="name">(.*?)</span>', html)


def test_repeated_events_are_grouped(order: Order, staff: Client) -> None:
    placed = record_event(order, "OrderPlaced", participant="orders")
    for n in range(1, 31):
        record_event(order, "undo failed", placed, kind="notice", reason="stuck", data={"attempt": n})
        record_event(order, "attention", placed, kind="attention", reason="keeps failing")
    html = page(staff, order)
    assert (
        html.count('<span class="name">undo failed</span>')
        == html.count('<span class="name">attention</span>')
        == 5
    )
    assert html.count("25 more times, last at +0.0") == 2
    assert re.findall(r"<td>(\d+)</td>\s*<td class=\"event-text\">stuck", html) == ["1", "2", "3", "4", "5"]


def test_the_saga_list_shows_progress_and_deadline(order: Order, staff: Client) -> None:
    turned, ended, pruned = (place(idempotency_key=key) for key in ("turned", "ended", "pruned"))
    record_event(order, "StockReserved", record_event(order, "OrderPlaced", participant="orders"))
    record_event(turned, "OrderPlaced", participant="orders")
    for name in (
        "StockShipped",
        "OrderPlaced",
        "StockReserved",
        "PaymentCharged",
        "OrderConfirmed",
    ):  # in no order
        record_event(ended, name)
    record_event(ended, "complete", kind="notice")
    move(
        turned,
        "status = 'ROLLING_BACK', refusal = 'PaymentDeclined', refused_by = 'payments', reason = 'no money'",
    )
    for each in (ended, pruned):
        move(each, "status = 'CONFIRMED', ended_at = now()")
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO ordersaga_answer VALUES (%s, 'orders')", [turned.saga_id])
    html = staff.get("/admin/orders/saga/").content.decode()
    cells = re.findall(r'<td class="field-status_and_stand">(.*?)</td>', html)
    deadline = f"{order.saga.deadline_at:%d %b %Y| |%H:%M:%S}"
    refused = "reached: OrderPlaced, then PaymentDeclined by payments"
    assert sorted(re.sub(r"(<[^>]*>)+", "|", cell).strip("|") for cell in cells) == [
        "confirmed|reached: StockShipped",
        "confirmed|reached: not in the audit trail",
        f"pending|reached: StockReserved|waits for payments.charge until |{deadline}",
        f"rolling back|{refused}|waits for the answer of inventory, payments",
    ]


def test_the_page_lists_the_sagas_dead_letters(order: Order, staff: Client) -> None:
    dead_letter = dead(saga_id=order.saga_id)
    html = page(staff, order)
    assert f"/admin/audit/deadletter/{dead_letter.pk}/change/" in html
    assert "RuntimeError: no shelf" in html


def test_a_saga_is_found_by_the_task_that_handled_it(order: Order, staff: Client) -> None:
    task = new_id()
    record_event(order, "StockReserved", task_id=task)
    other = place(idempotency_key="k2")
    for listed in ("saga", "order"):
        html = staff.get(f"/admin/orders/{listed}/", {"q": task}).content.decode()
        assert "1 result" in html
        assert str(other.saga_id) not in html


def test_a_superuser_cannot_change_the_audit_trail(order: Order, staff: Client) -> None:
    record_event(order, "OrderPlaced")
    event = SagaEvent.objects.get()
    where = f"/admin/audit/sagaevent/{event.pk}/"
    for address in ("/admin/audit/sagaevent/add/", f"{where}delete/"):
        assert staff.get(address).status_code == staff.post(address, {"post": "yes"}).status_code == 403
    assert staff.get(f"{where}change/").status_code == 200
    assert staff.post(f"{where}change/", {"name": "Forged"}).status_code == 403
    staff.post(
        "/admin/audit/sagaevent/",
        {"action": "delete_selected", "_selected_action": [event.pk], "post": "yes"},
    )
    assert SagaEvent.objects.get().name == "OrderPlaced"


# -- dead letters ----------------------------------------------------------------------------------------


def dead(**changed: Any) -> DeadLetter:
    given = {
        "source": "participant",
        "key": new_id(),
        "participant": "inventory",
        "step": "inventory.reserve_stock",
        "topic": "signal.OrderPlaced",
        "error": "RuntimeError",
        "message": "no shelf",
        "traceback": "Traceback:\n  line 1",
        "body": b'[1,{"order":"7"}]',
        "digest": "d" * 64,
        "headers": {"task": "x"},
        "attempts": 5,
    }
    return DeadLetter.objects.create(**{**given, **changed})


def test_open_dead_letters_are_grouped_with_links(staff: Client, orders_database: str) -> None:
    for _ in range(3):
        dead()
    dead(error="delivery_limit", source="broker", step=None, participant="payments")
    settled = dead(error="ValueError")
    DeadLetter.objects.filter(pk=settled.pk).update(
        outcome="discarded", settled_at=timezone.now(), settled_by="staff 1", settled_why="known"
    )
    html = staff.get("/admin/audit/deadletter/groups/").content.decode()
    rows = [
        re.sub(r"<.*?>|\s+", " ", row).split()[:4]
        for row in re.findall(r'<tr><th scope="row"[^>]*>.*?</tr>', html, re.DOTALL)
    ]
    assert rows[0] == ["RuntimeError", "inventory.reserve_stock", "inventory", "3"]
    assert rows[1][:3] == ["delivery_limit", "payments", "1"]
    assert "ValueError" not in html
    links = re.findall(r'<th scope="row"[^>]*><a href="(.*?)">', html)
    assert [
        staff.get(link.replace("&amp;", "&")).content.decode().count('class="action-select"')
        for link in links
    ] == [3, 1]


def test_the_dead_letter_list_shows_open_ones_by_default(staff: Client, orders_database: str) -> None:
    dead(message="still open")
    settled = dead(message="long settled")
    DeadLetter.objects.filter(pk=settled.pk).update(
        outcome="discarded", settled_at=timezone.now(), settled_by="staff 1", settled_why="known"
    )
    listed = {
        value: staff.get("/admin/audit/deadletter/", {"outcome": value}).content.decode()
        for value in ("all", "discarded")
    }
    listed["default"] = staff.get("/admin/audit/deadletter/").content.decode()
    shown = {name: ("still open" in html, "long settled" in html) for name, html in listed.items()}
    assert shown == {"default": (True, False), "discarded": (False, True), "all": (True, True)}


def test_a_dead_letter_shows_its_traceback_and_payload(staff: Client, orders_database: str) -> None:
    html = staff.get(f"/admin/audit/deadletter/{dead().pk}/change/").content.decode()
    assert "Traceback:\n  line 1</pre>" in html
    assert "    &quot;order&quot;: &quot;7&quot;\n" in html


def test_dead_letter_groups_need_the_view_permission(orders_database: str) -> None:
    client = Client(SERVER_NAME="localhost")
    client.force_login(User.objects.create_user("guest", is_staff=True))
    assert client.get("/admin/audit/deadletter/groups/").status_code == 403
