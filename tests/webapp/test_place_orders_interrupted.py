"""``manage.py place_orders`` places a file once, although it is repeated, interrupted or changed."""

from __future__ import annotations

import hashlib
import os
import signal
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.webapp.place_orders_command import GOOD, CommandRun, run, write
from tests.webapp.sample_orders import create_products, nothing_is_written
from webapp.ops import demo_data
from webapp.ops.cli.graceful_stop import StopRequest
from webapp.ops.management.commands import place_orders
from webapp.ops.order_import import load, source, validate
from webapp.ops.order_import.record import FileRefused
from webapp.ops.order_import.source import READERS
from webapp.orders import services
from webapp.orders.models import Order, OrderLine, Product

__all__ = ["run", "write"]


@pytest.fixture(autouse=True)
def _products(orders_database: str) -> None:
    create_products()


# -- twice -----------------------------------------------------------------------------------------------


def test_the_same_file_again_places_nothing(
    run: Callable[..., CommandRun], write: Callable[..., str]
) -> None:
    path = write(GOOD)
    assert "3 placed" in run(path).out
    Product.objects.filter(sku="TEA").update(price=1)  # placed orders do not change
    again = run(path)
    assert again.status == 0
    assert "0 placed, 3 were placed before" in again.out
    digest = hashlib.sha256(GOOD.encode()).hexdigest()
    assert set(Order.objects.values_list("idempotency_key", flat=True)) == {
        f"{digest}:{line}" for line in (2, 3, 4)
    }


def test_a_file_under_another_name_is_another_batch(
    run: Callable[..., CommandRun], write: Callable[..., str]
) -> None:
    path = write(GOOD)
    assert [run(path, "--batch", name).status for name in ("monday", "tuesday", "monday")] == [0, 0, 0]
    assert Order.objects.count() == 6


def test_a_placed_line_must_not_change_in_its_batch(
    run: Callable[..., CommandRun], write: Callable[..., str]
) -> None:
    assert run(write(GOOD), "--batch=monday").status == 0
    number = Order.objects.get(idempotency_key="monday:3").id
    changed = GOOD.replace("bob,MUG,1", "bob,MUG,7") + "eve,TEA,1\n"
    refused = run(write(changed), "--batch=monday")
    assert refused.status == 2
    assert (
        f"line 3: line: was already placed in this batch with other content, as order {number}. "
        in refused.err
    )
    assert Order.objects.count() == 3
    assert run(write(changed), "--batch=monday", "--skip-bad").status == 1
    assert Order.objects.count() == 4


def test_an_interrupted_file_continues(run: Callable[..., CommandRun], write: Callable[..., str]) -> None:
    rows = "".join(f"c-{n},TEA,1\n" for n in range(50))
    path = write(f"customer,sku,quantity\n{rows}")
    assert run(path, "--batch=b").status == 0
    Order.objects.filter(idempotency_key__in=[f"b:{line}" for line in range(10, 40)]).delete()
    again = run(path, "--batch=b", "--json", "--at-once=7").result
    assert (again["placed"], again["placed_before"]) == (30, 20)
    assert Order.objects.count() == OrderLine.objects.count() == 50


# -- while it happens ------------------------------------------------------------------------------------


def test_ctrl_c_leaves_whole_transactions_and_says_how_to_continue(
    run: Callable[..., CommandRun], write: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    really = services.place_priced

    def and_ctrl_c(drafts: Any) -> Any:
        done = really(drafts)
        os.kill(os.getpid(), signal.SIGINT)
        return done

    monkeypatch.setattr(load, "place_priced", and_ctrl_c)
    path = write("customer,sku,quantity\n" + "ann,TEA,1\n" * 30)
    stopped = run(path, "--at-once=10")
    assert stopped.status == 130
    assert "Stopped. 10 of 30 orders are placed. Run the same command again" in stopped.err
    assert Order.objects.count() == OrderLine.objects.count() == 10
    monkeypatch.undo()
    assert run(path).status == 0
    assert Order.objects.count() == 30


def test_orders_not_settled_in_time_are_reported_with_a_hint(
    run: Callable[..., CommandRun], write: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place_orders, "explain_waiting", lambda: "No pool answers.")
    ended = run(write(GOOD), "--wait", "--timeout=0.1")
    assert ended.status == 1
    assert "3 of 3 orders have not settled in time. No pool answers." in ended.err
    assert "open, pending" in ended.out


def test_a_file_that_changes_meanwhile_is_not_placed(
    run: Callable[..., CommandRun], write: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, really = write(GOOD), validate.validate

    def and_change(*args: Any) -> Any:
        found = really(*args)
        write(GOOD.replace("ann", "eve"))
        return found

    monkeypatch.setattr(place_orders, "validate", and_change)
    assert "was changed while it was read" in run(path).err
    assert nothing_is_written()


def test_a_product_removed_between_readings_stops_at_its_line(
    run: Callable[..., CommandRun], write: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    really = validate.validate

    def and_forget(*args: Any) -> Any:
        found = really(*args)
        Product.objects.filter(sku="MUG").delete()
        return found

    monkeypatch.setattr(place_orders, "validate", and_forget)
    stopped = run(write(GOOD), "--at-once=1")
    assert stopped.status == 2
    assert (
        "1 of 3 orders are placed. Then an order was refused. line 3: sku: MUG is not in the catalogue."
        in stopped.err
    )
    assert "Run the same command again" in stopped.err
    assert Order.objects.count() == 1


def test_a_long_file_needs_no_more_memory_than_a_short_one(
    write: Callable[..., str], orders_database: str
) -> None:
    def peak_memory(path: str) -> int:
        tracemalloc.start()
        try:
            with source.open_source(path) as found:
                validate.validate(validate.Job(found, READERS["csv"], "b"), StopRequest())
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    def of(count: int) -> str:
        rows = "".join(f"customer-{n},{'NONE' if n % 3 else 'TEA'},1\n" for n in range(count))
        return write(f"customer,sku,quantity\n{rows}", f"{count}.csv")

    short, long = of(2_000), of(20_000)
    peak_memory(short)  # imports and caches what both runs need
    assert peak_memory(long) < 1.2 * peak_memory(short) + 100_000


# -- real orders -----------------------------------------------------------------------------------------


def test_the_real_orders_are_unchanged_and_valid(run: Callable[..., CommandRun]) -> None:
    needs = demo_data.read_cdnow_example()
    assert len(needs.wallets) == 2357
    assert sum(wallet.balance for wallet in needs.wallets) == 24_409_194
    Product.objects.create(sku=needs.sku, name=needs.name, price=needs.price, currency=needs.currency)
    done = run(str(demo_data.CDNOW), "--format", "cdnow", "--json")
    assert done.status == 0, done.err
    assert done.result["sha256"] == "6fae10155c0b0ba363c2c386e30f77990d22328220efd862a5edd1443420d94a"
    assert (done.result["placed"], done.result["money"]) == (6919, {"USD": 24_409_194})
    assert Order.objects.filter(amount=0).count() == 8
    quantities = OrderLine.objects.filter(product_id=needs.sku).values_list("quantity", "amount")
    assert sum(quantity for quantity, _ in quantities) == 16_479
    assert sum(amount % quantity > 0 for quantity, amount in quantities) == 1808
    lines = Counter(demo_data.CDNOW.read_bytes().splitlines())
    assert sum(count > 1 for count in lines.values()) == 19


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (
            "00004 0001 19970101 2 29.3",
            "line 1: amount: '29.3' is not a number. Write an amount with two decimals",
        ),
        ("00004 0001 19970101 2 -29.33", "line 1: amount: Input should be greater than or equal to 0"),
        ("00004 0001 19970101 2", "line 1: line: has 4 values, not 5"),
        ("4x 0001 19970101 2 29.33", "line 1: customer: '4x' is not a number"),
        ("4 0001 1997-01-01 2 29.33", "line 1: date: '1997-01-01' is not a date"),
    ],
)
def test_a_bad_purchase_is_named(
    run: Callable[..., CommandRun], write: Callable[..., str], line: str, fault: str
) -> None:
    Product.objects.create(sku="CDNOW-CD", name="A CD", price=1, currency="USD")
    assert fault in run(write(line, "purchases.txt"), "--format=cdnow").err


def test_a_missing_example_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileRefused, match="cannot be read: No such file"):
        demo_data.read_cdnow_example(tmp_path / "gone.txt")
