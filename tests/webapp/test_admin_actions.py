"""Operators act in the admin: each action asks for a reason, runs once, is logged, and reports its result."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.urls import reverse

from ordersaga.ids import new_id
from ordersaga.signing import Keyring
from tests.support import amqp_client
from tests.webapp.sample_orders import create_products, nothing_is_written, place
from webapp.audit.models import DeadLetter
from webapp.orders.models import CancelRequest, Order
from workers.settings import settings

ACTS = {
    "cancel": ("orders_order", "cancel_order"),
    "resume": ("orders_saga", "resume_saga"),
    "replay": ("audit_deadletter", "replay_deadletter"),
    "discard": ("audit_deadletter", "discard_deadletter"),
}
MESSAGE = re.compile(r'<li class="(success|error|warning)">(.*?)</li>', re.DOTALL)
WHY = {"reason": "the worker is fixed"}


@pytest.fixture
def order(orders_database: str) -> Order:
    create_products()
    return place()


@pytest.fixture
def things(order: Order) -> dict[str, Any]:
    """An object for each action; the saga needs attention, so that it can be resumed."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE ordersaga_saga SET attention = 'stuck' WHERE id = %s", [order.saga_id])
    dead_letters = [create_dead_letter(order), create_dead_letter(order)]
    return {"cancel": order, "resume": order.saga, "replay": dead_letters[0], "discard": dead_letters[1]}


def create_dead_letter(order: Order, **changed: Any) -> DeadLetter:
    given = {
        "source": "participant",
        "key": new_id(),
        "participant": "inventory",
        "saga_id": order.saga_id,
        "step": "inventory.reserve_stock",
        "topic": "signal.OrderPlaced",
        "error": "RuntimeError",
        "message": "no shelf",
        "traceback": "Traceback …",
        "body": b"[1,{}]",
        "digest": "d" * 64,
        "headers": {},
        "attempts": 5,
    }
    return DeadLetter.objects.create(**{**given, **changed})


def staff(*permissions: str) -> Client:
    user = User.objects.create_user(f"user-{User.objects.count()}", is_staff=True)
    looks = Permission.objects.filter(codename__startswith="view_")
    user.user_permissions.set(looks | Permission.objects.filter(codename__in=permissions))
    client = Client(SERVER_NAME="localhost")
    client.force_login(user)
    return client


def address(act: str, *things: Any) -> str:
    page = reverse(f"admin:{ACTS[act][0]}_act", args=[act])
    return f"{page}?{'&'.join(f'id={thing.pk}' for thing in things)}"


def result(answer: Any) -> list[str]:
    """Return the messages on the page that the response redirects to."""
    return [f"{level}: {html.unescape(text)}" for level, text in MESSAGE.findall(answer.content.decode())]


def notices() -> str:
    """Return the notices in the outbox for the audit."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(string_agg(payload, ' '), '') FROM ordersaga_outbox WHERE payload IS NOT NULL"
        )
        return str(cursor.fetchone()[0])


@pytest.mark.parametrize("act", ACTS)
def test_an_action_requires_a_reason_runs_and_is_logged(act: str, things: dict[str, Any]) -> None:
    client, thing = staff(ACTS[act][1]), things[act]
    asked = client.get(address(act, thing))
    assert asked.status_code == 200
    assert not LogEntry.objects.exists()

    done = client.post(address(act, thing), WHY, follow=True)

    assert done.redirect_chain[-1][0] == reverse(f"admin:{ACTS[act][0]}_change", args=[thing.pk])
    assert [line.split(":")[0] for line in result(done)] == ["success"]
    entry = LogEntry.objects.get()
    assert entry.object_id == str(thing.pk)
    assert "the worker is fixed" in entry.change_message
    assert f'"by":"staff {entry.user_id}"' in notices()
    assert "the worker is fixed" in notices()


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("reason", ["", "   ", "x" * 501, "nul\0"])
def test_an_action_without_a_readable_reason_does_nothing(
    act: str, reason: str, things: dict[str, Any]
) -> None:
    before = notices()
    answer = staff(ACTS[act][1]).post(address(act, things[act]), {"reason": reason})
    assert answer.status_code == 200
    assert "errorlist" in answer.content.decode()
    assert notices() == before
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("act", ACTS)
def test_a_repeated_action_has_one_effect(act: str, things: dict[str, Any]) -> None:
    client, thing = staff(ACTS[act][1]), things[act]
    client.post(address(act, thing), WHY, follow=True)
    again = result(client.post(address(act, thing), WHY, follow=True))
    if act == "cancel":  # its signal may be emitted twice, because the saga decides once
        assert "was sent again" in again[0]
        assert CancelRequest.objects.count() == 1
    else:
        assert again[0].startswith("error: ")
        assert LogEntry.objects.count() == 1


@pytest.mark.parametrize("act", ACTS)
def test_a_user_without_permission_gets_403_and_no_button(act: str, things: dict[str, Any]) -> None:
    others = [permission for name, (_, permission) in ACTS.items() if name != act]
    client, thing = staff(*others), things[act]
    before = notices()
    assert client.get(address(act, thing)).status_code == 403
    assert client.post(address(act, thing), WHY).status_code == 403
    assert (
        address(act, thing)
        not in client.get(reverse(f"admin:{ACTS[act][0]}_change", args=[thing.pk])).content.decode()
    )
    assert f'value="{act}"' not in client.get(reverse(f"admin:{ACTS[act][0]}_changelist")).content.decode()
    assert notices() == before
    allowed = staff(ACTS[act][1])
    assert (
        address(act, thing)
        in allowed.get(reverse(f"admin:{ACTS[act][0]}_change", args=[thing.pk])).content.decode()
    )
    assert f'value="{act}"' in allowed.get(reverse(f"admin:{ACTS[act][0]}_changelist")).content.decode()


def test_a_refusal_says_which_permission_is_missing(things: dict[str, Any]) -> None:
    refused = staff().post(address("resume", things["resume"]), WHY).content.decode()
    assert "lacks the permission <code>orders.resume_saga</code>" in refused
    assert "Nothing was changed." in refused


def test_an_action_needs_a_login(things: dict[str, Any]) -> None:
    for act, thing in things.items():
        assert Client(SERVER_NAME="localhost").post(address(act, thing), WHY).status_code == 302
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("act", ["replay", "discard"])
def test_selected_dead_letters_are_settled_with_one_reason(act: str, order: Order) -> None:
    dead_letters = [create_dead_letter(order) for _ in range(3)]
    client, where = staff(ACTS[act][1]), reverse("admin:audit_deadletter_changelist")
    chosen = client.post(
        where,
        {"action": act, "index": "0", "_selected_action": [row.pk for row in dead_letters[:2]]},
        follow=True,
    )
    assert chosen.redirect_chain
    assert not LogEntry.objects.exists()
    confirm = chosen.redirect_chain[-1][0]
    done = client.post(confirm, WHY, follow=True)
    assert len(result(done)) == 2
    assert list(DeadLetter.objects.filter(outcome=None)) == [dead_letters[2]]
    assert LogEntry.objects.count() == 2


def test_a_settled_dead_letter_does_not_stop_a_selection(order: Order) -> None:
    dead_letters = [create_dead_letter(order) for _ in range(3)]
    client = staff("discard_deadletter")
    client.post(address("discard", dead_letters[1]), WHY, follow=True)
    lines = result(client.post(address("discard", *dead_letters), WHY, follow=True))
    assert sorted(line.split(":")[0] for line in lines) == ["error", "success", "success"]
    assert not DeadLetter.objects.filter(outcome=None).exists()


@pytest.mark.parametrize(("participant", "level"), [("audit", "success"), ("inventory", "error")])
def test_a_dead_letter_of_an_ended_order_goes_to_the_audit_only(
    participant: str, level: str, order: Order
) -> None:
    ended = "UPDATE ordersaga_saga SET status = 'CONFIRMED', ended_at = now() WHERE id = %s"
    with connection.cursor() as cursor:
        cursor.execute(ended, [order.saga_id])
    body, message = (
        amqp_client.envelope_body("signal.OrderPlaced", str(order.saga_id), '{"kept": "as it was"}'),
        new_id(),
    )
    signature = Keyring.parse(settings().signing_keys).sign(message, "signal.OrderPlaced", 1, body)
    headers = {
        "task": "signal.OrderPlaced",
        "id": message,
        "ordersaga-signals": 1,
        "ordersaga-signature": signature,
    }
    dead = create_dead_letter(
        order, source="broker", participant=participant, step=None, body=body, headers=headers
    )
    client, before = staff("replay_deadletter"), notices()
    assert (
        address("replay", dead) in client.get(f"/admin/audit/deadletter/{dead.pk}/change/").content.decode()
    )

    [line] = result(client.post(address("replay", dead), WHY, follow=True))

    assert line.startswith(level)
    assert ("as it was" in notices()) == (level == "success")
    assert level == "success" or notices() == before


@pytest.mark.parametrize(
    "query", ["", "id=", "id=nonsense", "id=999999", "id=" + "9" * 40, "&".join(f"id={n}" for n in range(51))]
)
def test_an_action_on_a_missing_object_gets_404(query: str, order: Order) -> None:
    client = staff("discard_deadletter")
    assert (
        client.post(f"{reverse('admin:audit_deadletter_act', args=['discard'])}?{query}", WHY).status_code
        == 404
    )
    assert client.get(reverse("admin:audit_deadletter_act", args=["burn"])).status_code == 404


def test_a_confirmed_order_is_too_late_to_cancel(order: Order) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE ordersaga_saga SET status = 'CONFIRMED' WHERE id = %s", [order.saga_id])
    client = staff("cancel_order")
    assert (
        address("cancel", order) not in client.get(f"/admin/orders/order/{order.id}/change/").content.decode()
    )
    assert result(client.post(address("cancel", order), WHY, follow=True)) == [
        f"error: Order {order.id} is confirmed: it is too late to cancel it."
    ]
    assert not CancelRequest.objects.exists()


# -- a test order ----------------------------------------------------------------------------------------

PLACE = "/admin/orders/order/place/"
FORM = {
    "customer": "ann", "currency": "EUR", "reason": "to see", "key": "test-1",
    "lines-TOTAL_FORMS": "5", "lines-INITIAL_FORMS": "0",
    "lines-0-sku": "TEA", "lines-0-quantity": "2",
}  # fmt: skip


def test_a_test_order_is_placed_once_however_often_it_is_sent(orders_database: str) -> None:
    create_products()
    client = staff("place_order")
    assert "Place a test order" in client.get("/admin/orders/order/").content.decode()
    assert client.get(PLACE).status_code == 200
    first, second = (client.post(PLACE, FORM, follow=True) for _ in range(2))
    order = Order.objects.get()
    assert order.amount == 900
    assert result(first) == [f"success: Order {order.id} was placed."]
    assert result(second) == [f"success: This form has already placed order {order.id}."]
    assert "to see" in LogEntry.objects.get().change_message
    assert notices().count("test order placed") == 1
    assert "9.00 EUR" in second.content.decode()


@pytest.mark.parametrize(
    ("changed", "remedy"),
    [
        ({"lines-0-sku": "NOPE"}, "NOPE is not in the catalogue. Use a SKU from the catalogue."),
        ({"lines-0-sku": "T\0"}, "Null characters are not allowed."),
        ({"lines-0-sku": "T" * 65}, "at most 64 characters"),
        ({"lines-0-quantity": "0"}, "Give a whole number from 1 to 10000"),
        ({"lines-0-quantity": "-1"}, "Give a whole number from 1 to 10000"),
        ({"lines-0-quantity": "9" * 30}, "Give a whole number from 1 to 10000"),
        ({"lines-0-quantity": "9" * 5000}, "whole number"),
        ({"lines-0-quantity": "1.5"}, "whole number"),
        ({"lines-0-sku": "", "lines-0-quantity": "1"}, "This field is required."),
        ({"lines-0-sku": "", "lines-0-quantity": ""}, "lines: are missing. Give 1 to 100 lines."),
        (
            {"lines-1-sku": "TEA", "lines-1-quantity": "1"},
            "TEA is repeated. Add up the quantities in one line.",
        ),
        ({"lines-1-sku": "HAT", "lines-1-quantity": "1"}, "Place one order for each currency."),
        ({"lines-0-sku": "GOLD", "lines-0-quantity": "2"}, "from 0 to 10**12"),
        ({"lines-TOTAL_FORMS": "6"}, "at most 5 forms"),
        ({"lines-TOTAL_FORMS": "x"}, "ManagementForm data is missing"),
        ({"currency": "eur"}, "Use a currency code such as EUR"),
        ({"currency": "USD"}, "TEA is sold in EUR, the order is in USD."),
        ({"customer": "Ann Smith"}, "Use the customer&#x27;s key"),
        ({"customer": "a\ufffd"}, "Use the customer&#x27;s key"),  # Django's replacement of a lone surrogate
        ({"customer": "c" * 65}, "at most 64 characters"),
        ({"reason": " "}, "reason"),
        ({"key": ""}, "This field is required."),
    ],
)  # fmt: skip
def test_a_test_order_that_cannot_be_placed_names_field_and_remedy(
    changed: dict[str, str], remedy: str, orders_database: str
) -> None:
    create_products()
    answer = staff("place_order").post(PLACE, {**FORM, **changed})
    assert answer.status_code == 200
    assert remedy in answer.content.decode()
    assert "was not placed" in answer.content.decode()
    assert nothing_is_written()
    assert not LogEntry.objects.exists()


def test_a_key_of_another_order_is_refused(orders_database: str) -> None:
    create_products()
    client = staff("place_order")
    client.post(PLACE, FORM)
    answer = client.post(PLACE, {**FORM, "lines-0-quantity": "3"})
    assert "belongs to order" in answer.content.decode()
    assert Order.objects.count() == 1


def test_a_user_who_may_not_place_gets_403_and_no_button(orders_database: str) -> None:
    create_products()
    client = staff("cancel_order")
    assert client.get(PLACE).status_code == client.post(PLACE, FORM).status_code == 403
    assert "Place a test order" not in client.get("/admin/orders/order/").content.decode()
    assert nothing_is_written()
