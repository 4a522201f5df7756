"""The HTTP API: tokens, orders and products, and refused requests."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.urls import reverse

from tests.webapp.sample_orders import create_products, place
from webapp.api import orders as endpoints
from webapp.api.http import MAX_BODY, api
from webapp.api.models import Scope, Token, Usage
from webapp.api.tokens import create_token, revoke_token
from webapp.orders.models import CancelRequest, Order, Product

ORDERS, PRODUCTS = "/api/v1/orders", "/api/v1/products"
TEA = {"customer": "ann", "lines": [{"sku": "TEA", "quantity": 2}]}
END = "UPDATE ordersaga_saga SET status = 'CONFIRMED', ended_at = now() WHERE id = %s"


class Caller:
    """A client of the API with its token."""

    def __init__(self, secret: str) -> None:
        self.client = Client(SERVER_NAME="localhost", HTTP_AUTHORIZATION=f"Bearer {secret}")

    def post(self, path: str, body: Any, key: str | None = None) -> Any:
        """Post ``body``, a text as it is or anything else as JSON; return the response."""
        text = body if isinstance(body, str | bytes) else json.dumps(body)
        headers = {"Idempotency-Key": key} if key else {}
        return self.client.post(path, text, content_type="application/json", headers=headers)

    def put(self, path: str, body: Any) -> Any:
        return self.client.put(path, json.dumps(body), content_type="application/json")

    def get(self, path: str, **query: Any) -> Any:
        return self.client.get(path, query)


@pytest.fixture
def caller(orders_database: str) -> Caller:
    """A token with every scope, and the products TEA and MUG."""
    create_products()
    return Caller(create_token("web shop", Scope.values).secret)


def problem(response: Any, status: int, code: str) -> dict[str, Any]:
    """Return the problem of a response, which must have this status and code."""
    assert response.headers["Content-Type"] == "application/problem+json"
    found = dict(response.json())
    assert (response.status_code, found["status"], found["code"]) == (status, status, code), found
    return found


def test_an_order_is_placed_and_read(caller: Caller):
    placed = caller.post(ORDERS, TEA, key="order-1")
    assert placed.status_code == 201
    order = placed.json()
    assert (order["status"], order["amount"], order["currency"], order["ended"]) == (
        "PENDING",
        900,
        "EUR",
        False,
    )

    read = caller.get(order["links"]["self"])

    assert read.status_code == 200
    assert read.json() == {**order, "lines": [{"sku": "TEA", "quantity": 2, "amount": 900}], "timeline": []}


def test_the_same_key_and_order_give_the_same_order(caller: Caller):
    first, second = (caller.post(ORDERS, TEA, key="order-1") for _ in range(2))

    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    assert Order.objects.count() == 1


def test_the_same_key_with_another_order_is_a_conflict(caller: Caller):
    first = caller.post(ORDERS, TEA, key="order-1").json()

    other = caller.post(ORDERS, {**TEA, "customer": "bob"}, key="order-1")

    assert problem(other, 409, "conflict")["order"] == first["id"]
    assert Order.objects.count() == 1


def test_a_whole_number_may_have_a_decimal_point(caller: Caller):
    order = {**TEA, "lines": [{"sku": "TEA", "quantity": 2.0, "amount": 800.0}]}

    assert caller.post(ORDERS, order, key="order-1").json()["amount"] == 800


def test_an_empty_body_is_refused(caller: Caller):
    found = problem(caller.post(ORDERS, "", key="order-1"), 422, "invalid")

    assert found["errors"] == [{"field": "body", "fault": "Field required", "remedy": "Add it"}]


def test_an_order_without_a_key_is_refused(caller: Caller):
    found = problem(caller.post(ORDERS, TEA), 422, "invalid")

    assert "Idempotency-Key" in found["errors"][0]["field"]
    assert not Order.objects.exists()


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"lines": []}, "lines"),
        ({"lines": [{"sku": "TEA", "quantity": 0}]}, "lines[0].quantity"),
        ({"lines": [{"sku": "TEA", "quantity": "2"}]}, "lines[0].quantity"),
        ({"lines": [{"sku": "TEA", "quantity": 2.5}]}, "lines[0].quantity"),
        ({"lines": [{"sku": "TEA", "quantity": 1, "price": 1}]}, "lines[0].price"),
        ({"customer": "no spaces"}, "customer"),
        ({"customer": None}, "customer"),
        ({"currency": "euro"}, "currency"),
        ({"colour": "red"}, "colour"),
        ({"lines": [{"sku": "TEA", "quantity": 1, "amount": 10**30}]}, "lines[0].amount"),
    ],
)
def test_a_wrong_field_is_named(caller: Caller, changed: dict[str, Any], field: str):
    found = problem(caller.post(ORDERS, {**TEA, **changed}, key="order-1"), 422, "invalid")

    assert found["errors"][0]["field"] == field
    assert found["errors"][0]["remedy"]
    assert not Order.objects.exists()


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ([{"sku": "COFFEE", "quantity": 1}], "COFFEE is not in the catalogue"),
        ([{"sku": "HAT", "quantity": 1}], "HAT is sold in GBP"),
        ([{"sku": "TEA", "quantity": 1}, {"sku": "TEA", "quantity": 1}], "TEA"),
    ],
)
def test_an_order_that_cannot_be_placed_is_refused(caller: Caller, lines: list[Any], fault: str):
    found = problem(caller.post(ORDERS, {**TEA, "lines": lines}, key="order-1"), 422, "refused")

    assert fault in found["detail"]
    assert not Order.objects.exists()


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("{", 400, "not-json"),
        (b"\xff\xfe", 400, "not-json"),
        ("[" * 5000, 400, "not-json"),
        ("x" * (MAX_BODY + 1), 413, "too-large"),
    ],
)
def test_a_body_that_is_not_json_is_refused(caller: Caller, body: Any, status: int, code: str):
    problem(caller.post(ORDERS, body, key="order-1"), status, code)


def test_another_content_type_is_refused(caller: Caller):
    answer = caller.client.post(ORDERS, "a=b", content_type="text/plain", HTTP_IDEMPOTENCY_KEY="k")

    problem(answer, 415, "unsupported-media-type")


def batch(*orders: dict[str, Any], **options: Any) -> dict[str, Any]:
    return {
        "orders": [{"idempotency_key": f"order-{n}", **order} for n, order in enumerate(orders)],
        **options,
    }


def test_each_order_of_a_batch_is_judged_by_itself(caller: Caller):
    caller.post(ORDERS, TEA, key="order-0")
    caller.post(ORDERS, TEA, key="order-1")
    bad = {**TEA, "lines": [{"sku": "COFFEE", "quantity": 1}]}

    done = caller.post(f"{ORDERS}/batch", batch(TEA, {**TEA, "customer": "bob"}, bad, TEA)).json()

    assert (done["placed"], done["known"], done["refused"]) == (1, 1, 2)
    results = [(each["result"], (each["problem"] or {}).get("code")) for each in done["results"]]
    assert results == [("known", None), ("conflict", "conflict"), ("refused", "refused"), ("placed", None)]
    assert Order.objects.count() == 3


def test_an_atomic_batch_is_placed_whole_or_not_at_all(caller: Caller):
    bad = {**TEA, "lines": [{"sku": "COFFEE", "quantity": 1}]}

    done = caller.post(f"{ORDERS}/batch", batch(TEA, bad, atomic=True)).json()
    assert [each["result"] for each in done["results"]] == ["not placed", "refused"]
    assert not Order.objects.exists()

    done = caller.post(f"{ORDERS}/batch", batch(TEA, TEA, atomic=True)).json()
    assert done["placed"] == Order.objects.count() == 2


def test_a_key_twice_in_a_batch_is_refused(caller: Caller):
    same = [{"idempotency_key": "k", **TEA}, {"idempotency_key": "k", **TEA}]

    done = caller.post(f"{ORDERS}/batch", {"orders": same}).json()

    assert [each["result"] for each in done["results"]] == ["placed", "refused"]


def test_a_list_is_read_page_by_page(caller: Caller):
    numbers = [place(idempotency_key=f"k{n}", customer="ann" if n % 2 else "bob").id for n in range(5)]
    seen: list[int] = []
    after: str | None = None
    while True:
        page = caller.get(ORDERS, limit=2, **({"after": after} if after else {})).json()
        seen += [order["id"] for order in page["orders"]]
        if (after := page["next"]) is None:
            break

    assert seen == numbers
    assert [o["id"] for o in caller.get(ORDERS, customer="bob").json()["orders"]] == numbers[::2]
    assert caller.get(ORDERS, status="CONFIRMED").json()["orders"] == []


def test_a_cancellation_is_asked_for_once(caller: Caller):
    order = caller.post(ORDERS, TEA, key="order-1").json()

    answers = [caller.post(order["links"]["cancel"], "") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json()["cancellation"]["outcome"] is None
    assert CancelRequest.objects.get().asked_by.startswith("api token ")


def test_an_order_that_does_not_exist_is_a_problem(caller: Caller):
    assert "order 7" in problem(caller.get(f"{ORDERS}/7"), 404, "not-found")["detail"]
    problem(caller.post(f"{ORDERS}/7/cancel", ""), 404, "not-found")


def test_a_request_waits_for_the_end(caller: Caller):
    order = caller.post(ORDERS, TEA, key="order-1").json()

    def end() -> None:
        with connection.cursor() as cursor:
            cursor.execute(END, [order["saga"]])
        connection.close()

    timer = threading.Timer(0.3, end)
    timer.start()
    waited = caller.get(order["links"]["self"], wait=20).json()
    timer.join()

    assert (waited["status"], waited["ended"]) == ("CONFIRMED", True)


def test_a_request_waits_no_longer_than_asked(caller: Caller, monkeypatch: pytest.MonkeyPatch):
    order = caller.post(f"{ORDERS}?wait=1", TEA, key="order-1").json()
    assert order["ended"] is False

    monkeypatch.setattr(endpoints, "WAITING", threading.BoundedSemaphore(1))
    with endpoints.WAITING:  # no thread is free to wait, so the response comes at once
        assert caller.get(order["links"]["self"], wait=30).json()["ended"] is False


@pytest.fixture
def tokens(orders_database: str) -> dict[str, str]:
    """Invalid tokens, by the reason."""
    expired = create_token("old", Scope.values, lifetime=timedelta(seconds=-1))
    revoked = create_token("gone", Scope.values)
    assert revoke_token(revoked.token.pk)
    assert not revoke_token(revoked.token.pk)
    return {"expired": expired.secret, "revoked": revoked.secret, "unknown": "osk_x", "empty": ""}


@pytest.mark.parametrize("reason", ["expired", "revoked", "unknown", "empty"])
def test_a_token_that_is_not_valid_is_refused(tokens: dict[str, str], reason: str):
    answer = Caller(tokens[reason]).get(ORDERS)

    problem(answer, 401, "unauthorized")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_scope_allows_its_own_endpoints_only(caller: Caller):
    reader = Caller(create_token("reader", [Scope.READ_ORDERS]).secret)

    assert reader.get(ORDERS).status_code == 200
    assert "orders:write" in problem(reader.post(ORDERS, TEA, key="k"), 403, "forbidden")["detail"]
    problem(reader.get(PRODUCTS), 403, "forbidden")
    problem(reader.put(f"{PRODUCTS}/TEA", {"name": "Tea", "price": 1}), 403, "forbidden")


def test_a_budget_is_shared_and_told(caller: Caller):
    busy = Caller(create_token("busy", [Scope.READ_ORDERS], per_minute=2).secret)
    Usage.objects.all().delete()
    answers = [busy.get(ORDERS) for _ in range(3)]
    if len({answer.headers["RateLimit-Remaining"] for answer in answers}) == 3:  # the minute ended in between
        answers = [busy.get(ORDERS) for _ in range(3)]

    assert [answer.status_code for answer in answers[:2]] == [200, 200]
    assert answers[0].headers["RateLimit-Limit"] == "2"
    assert [answer.headers["RateLimit-Remaining"] for answer in answers] == ["1", "0", "0"]
    problem(answers[2], 429, "too-many-requests")
    assert 0 < int(answers[2].headers["Retry-After"]) <= 60


def test_only_a_digest_of_a_token_is_stored(caller: Caller):
    made = create_token("shop", [Scope.READ_ORDERS])
    Caller(made.secret).get(ORDERS)
    row = Token.objects.get(pk=made.token.pk)

    assert made.secret not in json.dumps([str(value) for value in vars(row).values()])
    assert made.secret.startswith(row.prefix)
    assert row.last_used_at is not None


def test_a_token_is_made_listed_and_revoked_by_command(
    orders_database: str, capsys: pytest.CaptureFixture[str]
):
    call_command("api_token", "create", "web shop", "--scope", "orders:read", "--days", "30")
    secret = capsys.readouterr().out.strip()
    assert Caller(secret).get(ORDERS).status_code == 200

    call_command("api_token", "list")
    assert "web shop" in capsys.readouterr().out
    call_command("api_token", "list", "--json")
    [listed] = json.loads(capsys.readouterr().out)["tokens"]
    assert (listed["name"], listed["scopes"], listed["revoked_at"]) == ("web shop", ["orders:read"], None)
    assert secret not in json.dumps(listed)

    call_command("api_token", "revoke", str(listed["id"]))
    assert Caller(secret).get(ORDERS).status_code == 401


def test_a_token_is_made_and_revoked_in_the_admin(orders_database: str):
    user = User.objects.create_user("root", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="api"))
    admin = Client(SERVER_NAME="localhost")
    admin.force_login(user)
    form = {"name": "web shop", "scopes": ["orders:read"], "per_minute": "60"}

    page = admin.post(reverse("admin:api_token_add"), form, follow=True).content.decode()
    secret = page.partition("The token is osk_")[2].split()[0]
    assert Caller(f"osk_{secret}").get(ORDERS).status_code == 200
    assert f"osk_{secret}" not in admin.get(reverse("admin:api_token_changelist")).content.decode()

    token = Token.objects.get()
    chosen = {"action": "revoke", "_selected_action": [token.pk]}
    page = admin.post(reverse("admin:api_token_changelist"), chosen, follow=True).content.decode()
    assert "1 of 1 tokens revoked" in page
    assert Caller(f"osk_{secret}").get(ORDERS).status_code == 401


def test_products_are_listed_changed_and_withdrawn(caller: Caller):
    assert [each["sku"] for each in caller.get(PRODUCTS, limit=2).json()["products"]] == ["FREE", "GOLD"]
    assert caller.put(f"{PRODUCTS}/CAKE", {"name": "Cake", "price": 350}).json()["active"] is True

    assert caller.put(f"{PRODUCTS}/TEA", {"name": "Tea", "price": 500, "active": False}).status_code == 200

    assert caller.get(f"{PRODUCTS}/TEA").json()["price"] == 500
    assert "no longer sold" in problem(caller.post(ORDERS, TEA, key="k"), 422, "refused")["detail"]
    problem(caller.get(f"{PRODUCTS}/NONE"), 404, "not-found")
    assert Product.objects.get(sku="CAKE").price == 350


def test_the_documentation_needs_no_other_server(orders_database: str):
    anyone = Client(SERVER_NAME="localhost")

    page = anyone.get("/api/v1/docs").content.decode()
    document = anyone.get("/api/v1/openapi.json").json()

    assert "http://" not in page
    assert "https://" not in page
    assert document["openapi"].startswith("3.1")
    refused = document["paths"][ORDERS]["post"]["responses"]["409"]["content"]
    assert list(refused) == ["application/problem+json"]
    assert set(document["paths"]) == {
        ORDERS, f"{ORDERS}/batch", f"{ORDERS}/{{number}}", f"{ORDERS}/{{number}}/cancel",
        PRODUCTS, f"{PRODUCTS}/{{sku}}",
    }  # fmt: skip
    assert api.version == "1"
