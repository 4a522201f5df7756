"""``manage.py seed_orders``: its refusals, its orders, and its summary."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import psycopg2
import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from tests.support.databases import Databases
from tests.support.polling import eventually
from tests.support.processes import ROOT, Process
from tests.support.time_scale import scaled
from webapp.ops import demo_data
from webapp.ops.loadgen import Catalog, Mix, Planned, Stats, plan
from webapp.ops.management.commands import seed_orders
from webapp.orders.models import CancelRequest, Order, OrderLine, Product

SHELF = Catalog(demo_data.stocked_skus(8), demo_data.scarce_skus())


def manage(env: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, check=False, timeout=scaled(60),
    )  # fmt: skip


def planned(seed: int, **mix: Any) -> list[Planned]:
    return list(plan(Mix(**{"count": 200, **mix}), SHELF, seed=seed, run="r-"))


@pytest.fixture
def shop(orders_database: str) -> None:
    Product.objects.bulk_create(
        [
            Product(sku=s, name=s, price=demo_data.price_of(s), currency="EUR")
            for s in (*SHELF.stocked, *SHELF.scarce)
        ]
    )


# -- options ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"), [("0", 0), ("0.1", 0.1), ("10%", 0.1), (" 2.5 % ", 0.025), ("1", 1), ("100%", 1)]
)
def test_a_share_is_a_fraction_or_a_percentage(text: str, value: float) -> None:
    assert seed_orders.share(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["10", "-0.1", "101%", "nan", "a tenth", "", "%"])
def test_an_invalid_share_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match=r"for a tenth write 0\.1 or 10%"):
        seed_orders.share(text)


@pytest.mark.parametrize(
    ("words", "output"),
    [
        (["--count", "0"], "'0' is not a whole number from 1 to 10,000,000"),
        (["--batch", "many"], "'many' is not a whole number from 1 to 1,000"),
        (["--rate=-1"], "'-1' is not a number from 0 to"),
        (["--decline", "60%", "--free", "0.5"], "add up to 1.1, more than 1"),
        (["--timeout", "5"], "--timeout needs --wait"),
    ],
)
def test_an_invalid_option_is_refused_with_a_reason(words: list[str], output: str) -> None:
    with pytest.raises(CommandError, match=r".") as refused:
        call_command("seed_orders", *words)
    assert output in str(refused.value)


# -- plan ------------------------------------------------------------------------------------------------


def test_the_same_seed_plans_the_same_orders() -> None:
    shares = {"decline": 0.1, "out_of_stock": 0.1, "free": 0.1, "cancel": 0.1}
    assert planned(7, **shares) == planned(7, **shares)
    assert planned(7, **shares) != planned(8, **shares)


def test_a_plan_has_the_requested_number_of_each_kind() -> None:
    orders = planned(3, decline=0.1, out_of_stock=0.05, free=0.02, cancel=0.25)
    lines = [list(each.order.lines) for each in orders]
    assert sum(not each.order.customer.startswith("customer-") for each in orders) == 20
    assert sum(any(line.sku in SHELF.scarce for line in items) for items in lines) == 10
    assert sum(all(line.amount == 0 for line in items) for items in lines) == 4
    assert sum(each.cancel_after is not None for each in orders) == 50


def test_a_plan_of_one_kind_alone_is_all_of_that_kind() -> None:
    assert all(not each.order.customer.startswith("customer-") for each in planned(1, decline=1))


def test_kinds_are_shuffled() -> None:
    outcomes = Mix(1000, decline=0.5).outcomes(random.Random(1))
    assert 400 < sum(a != b for a, b in pairwise(outcomes)) < 600


# -- placing ---------------------------------------------------------------------------------------------


def run_seed_orders(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    call_command("seed_orders", "--json", *words)
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


@pytest.mark.usefixtures("shop")
def test_a_seed_places_the_same_orders_again_as_new_ones(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        result = run_seed_orders(
            capsys, "--count=45", "--seed=7", "--decline=10%", "--free=10%", "--out-of-stock=10%"
        )
        assert (result["placed"], result["open"], result["settled"]) == (45, {"PENDING": 45}, 0)
    content = [
        (order.customer, order.amount, list(order.lines.values_list("product_id", "quantity", "amount")))
        for order in Order.objects.order_by("id")
    ]
    # In one transaction, numbers follow the order of the keys.
    assert sorted(content[:45]) == sorted(content[45:])
    assert sum(amount == 0 for _, amount, _ in content) == 8


@pytest.mark.usefixtures("shop")
def test_cancellations_follow_the_placing(capsys: pytest.CaptureFixture[str]) -> None:
    result = run_seed_orders(capsys, "--count=30", "--cancel=20%", "--seed=1")
    assert result["cancels"] == {"unanswered": 6}
    assert CancelRequest.objects.filter(asked_by="seed_orders", outcome=None).count() == 6


@pytest.mark.usefixtures("shop")
def test_a_rate_is_respected(capsys: pytest.CaptureFixture[str]) -> None:
    result = run_seed_orders(capsys, "--count=11", "--rate=20", "--seed=1")
    assert result["placed"] == 11
    assert result["placing"] >= 0.5


@pytest.mark.usefixtures("shop")
def test_orders_not_settled_in_time_are_named_with_a_hint(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seed_orders, "explain_waiting", lambda: "No pool answers.")
    with pytest.raises(SystemExit) as ended:
        call_command("seed_orders", "--count=5", "--wait", "--timeout=0.1")
    output = capsys.readouterr()
    assert ended.value.code == 1
    assert "5 of 5 orders have not settled in time. No pool answers." in " ".join(output.err.split())
    assert "open, pending" in output.out


@pytest.mark.usefixtures("orders_database")
def test_an_empty_catalogue_names_the_command_to_run() -> None:
    with pytest.raises(CommandError, match=r"catalogue is empty.*manage\.py seed_catalog") as refused:
        call_command("seed_orders")
    assert refused.value.returncode == 2


# -- summary ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("shop")
def test_the_summary_counts_orders_and_reasons_of_roll_back(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_seed_orders(capsys, "--count=3", "--seed=1")  # other orders
    run_seed_orders(capsys, "--count=10", "--seed=1")
    ids = sorted(Order.objects.values_list("id", flat=True))[3:]
    settle = """
        UPDATE ordersaga_saga s SET status = %s, refusal = %s, reason = %s, ended_at = now(), attention = %s
        FROM orders_order o WHERE o.saga_id = s.id AND o.id = ANY(%s)
    """
    with connection.cursor() as cursor:
        cursor.execute("UPDATE ordersaga_saga SET status = 'ROLLING_BACK', refusal = 'x' WHERE id IN "
                       "(SELECT saga_id FROM orders_order WHERE id = ANY(%s))", [ids[:3]])  # fmt: skip
        cursor.execute(settle, ["ROLLED_BACK", "PaymentDeclined", "Payment declined: blocked", None, ids[:2]])
        cursor.execute(settle, ["CONFIRMED", None, None, None, ids[4:]])
        cursor.execute("UPDATE ordersaga_saga SET attention = 'stuck' WHERE status = 'ROLLING_BACK'")
    key = Order.objects.get(id=ids[0]).idempotency_key
    tally = Stats(key.rpartition("-")[0] + "-", ids[0])
    figures = tally.figures()
    assert (figures.placed, figures.confirmed, figures.rolled_back) == (10, 6, 2)
    assert figures.reasons == {"Payment declined: blocked": 2}
    assert figures.open == {"ROLLING_BACK": 1, "PENDING": 1}
    assert figures.attention == 1
    assert tally.open() == 2
    assert figures.settling >= figures.slowest >= figures.median > 0


# -- as a user meets it ----------------------------------------------------------------------------------


def test_an_unreachable_database_is_named_with_its_address() -> None:
    refused = manage(
        {"ORDERSAGA_ORDERS_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nowhere"}, "seed_orders"
    )
    assert refused.returncode == 2
    assert "does not answer at 127.0.0.1:1/nowhere" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_missing_tables_name_the_command_to_run(postgres: Any) -> None:
    bare = postgres.create_database("bare", "orders")
    refused = manage({"ORDERSAGA_ORDERS_DATABASE_URL": bare}, "seed_orders")
    assert refused.returncode == 2
    assert "Run: manage.py migrate" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_without_pools_it_names_those_to_start(environment: dict[str, str]) -> None:
    assert manage(environment, "seed_catalog", "--products=3", "--stock=9", "--customers=1").returncode == 0
    ended = manage(environment, "seed_orders", "--count=2", "--customers=1", "--wait", "--timeout=0")
    output = " ".join(ended.stderr.split())
    assert ended.returncode == 1, ended.stderr
    assert (
        "No pool answers for orders, inventory, payments. Start: celery -A workers.orders worker and"
        in output
    )


def test_ctrl_c_leaves_no_partial_transaction(databases: Databases, spawn: Callable[..., Process]) -> None:
    assert manage(databases.env, "seed_catalog", "--products=3", "--stock=9", "--customers=1").returncode == 0
    process = spawn(
        "seed", [sys.executable, "manage.py", "seed_orders", "--rate=40", "--batch=3", "--cancel=50%"]
    )
    link = psycopg2.connect(databases.orders)
    link.autocommit = True

    def count(statement: str) -> int:
        with link.cursor() as cursor:
            cursor.execute(statement)
            return int((cursor.fetchone() or [0])[0])

    eventually(lambda: count("SELECT count(*) FROM orders_order") > 10, 20, "some orders")
    process.send(2)
    assert process.wait(10) == 130
    placed = count("SELECT count(*) FROM orders_order")
    assert f"{placed} of 1,000 orders were placed." in process.logs()
    assert "Traceback" not in process.logs()
    assert count("SELECT count(*) FROM ordersaga_saga") == placed
    assert count("SELECT count(DISTINCT order_id) FROM orders_orderline") == placed
    assert count("SELECT sum(signals) FROM ordersaga_outbox WHERE topic = 'signal.OrderPlaced'") == placed
    link.close()


@pytest.mark.usefixtures("shop")
def test_an_out_of_stock_order_has_one_such_line(capsys: pytest.CaptureFixture[str]) -> None:
    run_seed_orders(capsys, "--count=20", "--out-of-stock=100%", "--seed=5")
    short = OrderLine.objects.filter(product__sku__startswith="SCARCE-").count()
    assert short == 20
