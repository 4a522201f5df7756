"""Products are imported from files, edited in the admin, and withdrawn."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from tests.webapp.sample_orders import create_products, nothing_is_written, place
from webapp.orders.exceptions import OrderRefused
from webapp.orders.models import Order, Product
from webapp.orders.pricing import Item

HEADER = "sku,name,price,currency,active\n"


@pytest.fixture(autouse=True)
def _database(orders_database: str) -> None:
    """Every test has an empty orders database."""


def write(folder: Path, text: str, name: str = "products.csv") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def import_products(*arguments: str) -> dict[str, Any]:
    """Return the JSON output of the command."""
    out = io.StringIO()
    call_command("import_products", *arguments, "--json", stdout=out)
    return dict(json.loads(out.getvalue()))


def import_refused(*arguments: str) -> str:
    """Return the message with which the command refuses the file."""
    err = io.StringIO()
    with pytest.raises((SystemExit, CommandError)) as ended:
        call_command("import_products", *arguments, stderr=err)
    if isinstance(ended.value, CommandError):
        assert ended.value.returncode == 2
        return str(ended.value)
    assert isinstance(ended.value, SystemExit)
    assert ended.value.code == 2
    return err.getvalue()


def columns(sku: str) -> tuple[object, ...]:
    return Product.objects.values_list("name", "price", "currency", "active").get(sku=sku)


def test_a_file_adds_and_changes_products(tmp_path: Path):
    create_products()
    file = write(tmp_path, HEADER + "TEA,Tea,500,,\nMUG,Mug,1200,EUR,yes\nCAKE,Cake,350,GBP,no\n")

    found = import_products(file)

    assert (found["new"], found["changed"], found["unchanged"]) == (1, 1, 1)
    assert columns("TEA") == ("Tea", 500, "EUR", True)
    assert columns("CAKE") == ("Cake", 350, "GBP", False)
    assert columns("HAT") == ("Hat", 2500, "GBP", True), "products that the file does not name stay"
    assert import_products(file)["unchanged"] == 3


def test_json_lines_say_the_same(tmp_path: Path):
    row = {"sku": "TEA", "name": "Grüner Tee", "price": 450, "active": False}
    import_products(write(tmp_path, json.dumps(row), "products.jsonl"))

    assert columns("TEA") == ("Grüner Tee", 450, "EUR", False)


def test_a_dry_run_writes_nothing(tmp_path: Path):
    create_products()
    found = import_products(write(tmp_path, HEADER + "TEA,Tea,500,,\nCAKE,Cake,350,,\n"), "--dry-run")

    assert found == {"written": False, "new": 1, "changed": 1, "unchanged": 0, "examples": ["CAKE", "TEA"]}
    assert columns("TEA") == ("Tea", 450, "EUR", True)
    assert not Product.objects.filter(sku="CAKE").exists()


@pytest.mark.parametrize(
    ("price", "currency", "minor"),
    [("4.50", "EUR", 450), ("7", "EUR", 700), ("1.234", "KWD", 1234), ("9", "JPY", 9)],
)
def test_decimal_prices_become_minor_units(tmp_path: Path, price: str, currency: str, minor: int):
    import_products(
        write(tmp_path, f"sku,name,price,currency\nTEA,Tea,{price},{currency}\n"), "--decimal-prices"
    )

    assert columns("TEA")[1] == minor


@pytest.mark.parametrize(
    ("row", "options", "words"),
    [
        (
            "TEA,Tea,4.50,,",
            (),
            "line 2: price: 4.50 has a decimal point, but prices are in minor units",
        ),
        ("TEA,Tea,4.505,,", ("--decimal-prices",), "line 2: price: has more decimals than EUR (2)"),
        ("TEA,Tea,cheap,,", (), "line 2: price: 'cheap' is not a price. Write minor units"),
        ("TEA,Tea,-1,,", (), "line 2: price: '-1' is not a price"),
        ("TEA,,450,,", (), "line 2: name: is not valid"),
        ("-TEA,Tea,450,,", (), "line 2: sku: is not valid"),
        ("TEA,Tea,450,euro,", (), "line 2: currency: is not valid"),
        ("TEA,Tea,450,EUR,maybe", (), "line 2: active: is not valid"),
        ("TEA,Tea,9999999999999,EUR,", (), "line 2: price: is not valid"),
        ("TEA,Tea", (), "line 2: line: has 2 values for 5 columns"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_written(
    tmp_path: Path, row: str, options: tuple[str, ...], words: str
):
    output = import_refused(write(tmp_path, f"{HEADER}{row}\nCAKE,Cake,350,,\n"), *options)

    assert words in output
    assert "One line is bad, and nothing was written." in output
    assert not Product.objects.exists()


def test_every_bad_line_is_counted(tmp_path: Path):
    output = import_refused(write(tmp_path, HEADER + "TEA,Tea,x,,\n" * 30))

    assert "30 lines are bad" in output
    assert "… and 10 more" in output


def test_a_product_in_two_lines_is_refused(tmp_path: Path):
    output = import_refused(write(tmp_path, HEADER + "TEA,Tea,450,,\nTEA,Tea,500,,\n"))

    assert "line 3: sku: TEA is in line 2 already. Keep one of the two lines." in output


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        ("", "products.csv", "is empty"),
        (HEADER, "products.csv", "names no product"),
        ("sku;name;price\n", "products.csv", "separates the columns with semicolons"),
        ("sku,name\n", "products.csv", "lacks the column price"),
        (HEADER, "products.xls", "--format csv or jsonl"),
    ],
)
def test_a_file_that_is_not_a_list_is_refused(tmp_path: Path, text: str, name: str, words: str):
    assert words in import_refused(write(tmp_path, text, name))


def test_a_line_that_is_not_an_object_is_refused(tmp_path: Path):
    output = import_refused(write(tmp_path, '[1]\n{"sku": "TEA", "colour": "red"}\n', "products.jsonl"))

    assert "line 1: line: is not a JSON object" in output
    assert "line 2: colour: is an unknown field" in output


def test_a_new_price_holds_for_later_orders_only(tmp_path: Path):
    create_products()
    before = place(idempotency_key="before")
    import_products(write(tmp_path, HEADER + "TEA,Tea,500,,\n"))

    after = place(idempotency_key="after")

    assert (before.amount, after.amount) == (2 * 450 + 1200, 2 * 500 + 1200)
    assert Order.objects.get(pk=before.pk).amount == before.amount
    assert place(idempotency_key="before").pk == before.pk


@pytest.mark.parametrize("known", [True, False], ids=["price remembered", "price unknown"])
def test_a_withdrawn_product_cannot_be_ordered(known: bool):
    create_products()
    if known:
        place(idempotency_key="before")
        place(idempotency_key="again")
    orders = Order.objects.count()
    Product.objects.filter(sku="TEA").update(active=False)

    with pytest.raises(OrderRefused, match="TEA is no longer sold"):
        place(idempotency_key="after")

    assert Order.objects.count() == orders
    assert known or nothing_is_written()
    assert place(lines=[Item("MUG", 1)], idempotency_key="other").amount == 1200


def staff(*permissions: str) -> Client:
    user = User.objects.create_user("keeper", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client(SERVER_NAME="localhost")
    client.force_login(user)
    return client


def test_a_price_is_edited_in_units_of_the_currency():
    create_products()
    client = staff("view_product", "change_product")
    url = reverse("admin:orders_product_change", args=["TEA"])
    shown = client.get(url).content.decode()

    done = client.post(url, {"name": "Tea", "price": "5.25", "currency": "EUR", "active": "on"})

    assert 'value="4.50"' in shown
    assert done.status_code == 302
    assert columns("TEA") == ("Tea", 525, "EUR", True)
    assert LogEntry.objects.filter(object_id="TEA", action_flag=2).count() == 1
    assert "5.25 EUR" in client.get(reverse("admin:orders_product_changelist")).content.decode()


def test_a_product_is_added_and_withdrawn():
    client = staff("view_product", "add_product", "change_product")
    new = {"sku": "CAKE", "name": "Cake", "price": "3.5", "currency": "EUR", "active": "on"}

    assert client.post(reverse("admin:orders_product_add"), new).status_code == 302
    url = reverse("admin:orders_product_change", args=["CAKE"])
    assert client.post(url, {**new, "active": ""}).status_code == 302

    assert columns("CAKE") == ("Cake", 350, "EUR", False)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"price": "4.505"}, "has more decimals than EUR (2)"),
        ({"price": "-1"}, "greater than or equal to 0"),
        ({"currency": "eur"}, "String should match pattern"),
        ({"sku": "no spaces"}, "String should match pattern"),
        ({"price": "99999999999"}, "less than or equal to"),
    ],
)
def test_the_admin_refuses_what_a_file_may_not_bring(changed: dict[str, str], words: str):
    client = staff("view_product", "add_product")
    new = {"sku": "CAKE", "name": "Cake", "price": "3.5", "currency": "EUR", "active": "on", **changed}

    answer = client.post(reverse("admin:orders_product_add"), new)

    assert answer.status_code == 200
    assert words in answer.content.decode()
    assert not Product.objects.exists()


def test_nobody_deletes_a_product_or_changes_its_sku():
    create_products()
    client = staff("view_product", "change_product", "delete_product")

    assert (
        client.post(reverse("admin:orders_product_delete", args=["TEA"]), {"post": "yes"}).status_code == 403
    )
    url = reverse("admin:orders_product_change", args=["TEA"])
    client.post(url, {"sku": "COFFEE", "name": "Tea", "price": "4.5", "currency": "EUR", "active": "on"})

    assert not Product.objects.filter(sku="COFFEE").exists()


def test_who_may_only_look_changes_nothing():
    create_products()
    client = staff("view_product")
    url = reverse("admin:orders_product_change", args=["TEA"])

    assert "4.50 EUR" in client.get(url).content.decode()
    assert client.post(url, {"name": "Tea", "price": "1", "currency": "EUR"}).status_code == 403
    assert columns("TEA")[1] == 450
