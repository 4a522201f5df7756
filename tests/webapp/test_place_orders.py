"""``manage.py place_orders`` reads CSV and JSON files, and refuses bad lines and files."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.webapp.place_orders_command import GOOD, CommandRun, content, run, write
from tests.webapp.sample_orders import create_products, emitted_topics, nothing_is_written
from webapp.orders.models import Order

__all__ = ["run", "write"]


@pytest.fixture(autouse=True)
def _products(orders_database: str) -> None:
    create_products()


# -- formats ---------------------------------------------------------------------------------------------


def test_a_csv_row_is_an_order_and_equal_rows_are_two(
    run: Callable[..., CommandRun], write: Callable[..., str]
) -> None:
    done = run(write(GOOD))
    assert (done.status, done.err) == (0, "")
    tea = ("ann", "EUR", 900, [("TEA", 2, 900)])
    assert content() == [tea, ("bob", "EUR", 1200, [("MUG", 1, 1200)]), tea]
    assert len(emitted_topics()) > 0


def test_adjacent_rows_are_one_order_with_amount_and_currency(
    run: Callable[..., CommandRun], write: Callable[..., str]
) -> None:
    text = "\ufefforder,currency,customer,sku,quantity,amount\r\n"
    text += 'A,EUR,ann,TEA,1,5\r\nA,,ann,"MUG",2,\r\n\r\nB,GBP,bob,HAT,1,0\r\n'
    assert run(write(text)).status == 0
    assert content() == [
        ("ann", "EUR", 2405, [("TEA", 1, 5), ("MUG", 2, 2400)]),
        ("bob", "GBP", 0, [("HAT", 1, 0)]),
    ]


def test_a_line_of_json_is_an_order(run: Callable[..., CommandRun], write: Callable[..., str]) -> None:
    lines = [
        {
            "customer": "ann",
            "lines": [{"sku": "TEA", "quantity": 1}, {"sku": "MUG", "quantity": 1, "amount": 7}],
        },
        {"customer": "bob", "currency": "GBP", "lines": [{"sku": "HAT", "quantity": 2}]},
    ]
    assert run(write("\n".join(json.dumps(line) for line in lines), "orders.jsonl")).status == 0
    assert content() == [
        ("ann", "EUR", 457, [("TEA", 1, 450), ("MUG", 1, 7)]),
        ("bob", "GBP", 5000, [("HAT", 2, 5000)]),
    ]


def test_standard_input_is_read_to_its_end_first(
    run: Callable[..., CommandRun], write: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Pipe(io.BytesIO):
        def isatty(self) -> bool:
            return False

        def seek(self, *_: Any) -> int:
            raise io.UnsupportedOperation

    stdin = io.TextIOWrapper(Pipe(GOOD.encode()))
    monkeypatch.setattr("sys.stdin", stdin)
    assert run("-", "--format", "csv").status == 0
    again = run(write(GOOD), "--json")  # the same content is the same batch, from any source
    assert (again.result["placed"], again.result["placed_before"]) == (0, 3)


# -- bad lines and files ---------------------------------------------------------------------------------

DEEP = "[" * 5000
CSV_FAULTS = [
    ("ann,NONE,1", "line 2: sku: NONE is not in the catalogue. Use a SKU from the catalogue."),
    (
        "ann,TEA,0",
        "line 2: quantity: Input should be greater than or equal to 1. Give a whole number from 1 to 10000",
    ),
    ("ann,TEA,-3", "line 2: quantity: Input should be greater than or equal to 1"),
    ("ann,TEA,10001", "line 2: quantity: Input should be less than or equal to 10000"),
    ("ann,TEA,1.5", "line 2: quantity: '1.5' is not a number. Write a whole number in digits"),
    ("ann,TEA,١", "line 2: quantity: '١' is not a number"),
    ("ann,TEA," + "9" * 5000, "line 2: quantity: '9999"),
    ("ann,TEA,", "line 2: quantity: is missing"),
    ("ann,GOLD,2", "line 2: amount: Input should be less than or equal to 1000000000000"),
    (
        "ann,TEA\r1",
        "line 2: line: is not CSV: it contains a carriage return; end lines with LF or CRLF.",
    ),
    ("ann,HAT,1", "line 2: sku: HAT is sold in GBP, the order is in EUR. Place one order for each currency."),
    ("ann smith,TEA,1", "line 2: customer: String should match pattern"),
    (",TEA,1", "line 2: customer: String should have at least 1 character"),
    ("a" * 65 + ",TEA,1", "line 2: customer: String should have at most 64 characters"),
    ("ann,TEA", "line 2: line: has 2 values for 3 columns"),
    ("ann,TEA,1,2", "line 2: line: has 4 values for 3 columns"),
    ('ann,"TEA,1', "line 2: line: is not CSV: unexpected end of data. Close the quotes on the same line."),
    (b"ann,T\0A,1", "line 2: line: contains NUL. Write plain text, as UTF-8."),
    (b"ann,T\xe9,1", "line 2: line: is not UTF-8 from byte 6 on. Save the file as UTF-8"),
    (
        b"ann,T\xed\xa0\x80,1",
        "line 2: line: is not UTF-8 from byte 6 on. Save the file as UTF-8, without lone surrogates.",
    ),
    (b"a" * 200_000, "line 2: line: is longer than 100,000 bytes. Put one order on a line."),
    ("ann,\x1b[31mT,1", "line 2: sku: String should match pattern"),
]


@pytest.mark.parametrize(("row", "fault"), CSV_FAULTS)
def test_a_bad_row_is_named_and_nothing_is_placed(
    run: Callable[..., CommandRun], write: Callable[..., str], row: str | bytes, fault: str
) -> None:
    row = row.encode() if isinstance(row, str) else row
    refused = run(write(b"customer,sku,quantity\n" + row + b"\nbob,MUG,1\n"))
    assert refused.status == 2
    assert fault in refused.err
    assert "One line is bad, and nothing was placed. Correct the file, or use --skip-bad." in refused.err
    assert nothing_is_written()


ORDER_FAULTS = [
    (
        "A,ann,EUR,TEA,1,\nA,ann,EUR,TEA,2,",
        "line 3: sku: TEA is repeated. Add up the quantities in one line.",
    ),
    (
        "A,ann,EUR,TEA,1,\nA,bob,EUR,MUG,2,",
        "line 3: customer: is 'bob' here and 'ann' in line 2 of the same order",
    ),
    (
        "A,ann,EUR,TEA,1,\nA,ann,GBP,HAT,2,",
        "line 3: currency: is 'GBP' here and 'EUR' in line 2 of the same order",
    ),
    ("A,ann,EUR,TEA,1,-5", "line 2: amount: Input should be greater than or equal to 0"),
    ("A,ann,EUR,TEA,1,4.50", "line 2: amount: '4.50' is not a number. Write a whole number"),
    ("A,ann,euros,TEA,1,", "line 2: currency: String should match pattern"),
    (
        "\n".join(f"A,ann,EUR,SKU-{n},1," for n in range(500)),
        "line 2: lines: are too many. Give 1 to 100 lines.",
    ),
]


@pytest.mark.parametrize(("rows", "fault"), ORDER_FAULTS)
def test_an_order_of_several_rows_is_refused_at_its_bad_row(
    run: Callable[..., CommandRun], write: Callable[..., str], rows: str, fault: str
) -> None:
    refused = run(write(f"order,customer,currency,sku,quantity,amount\n{rows}\n"))
    assert refused.status == 2
    assert fault in refused.err
    assert nothing_is_written()


LINE = {"sku": "TEA", "quantity": 1}
JSON_FAULTS = [
    ('{"customer": ', "line 1: line: is not JSON: Expecting value"),
    (DEEP, "line 1: line: is not JSON: nested too deeply or a number too long"),
    ("[1]", "line 1: line: is not an object. Write one object like"),
    ('{"customer": "ann"}', "line 1: lines: is missing"),
    ({"customer": "ann", "lines": []}, "line 1: lines: are missing"),
    (
        {"customer": "ann", "lines": [{"sku": f"S{n}", "quantity": 1} for n in range(101)]},
        "line 1: lines: are too many",
    ),
    ({"customer": "ann", "lines": [LINE, LINE]}, "line 1: lines[1].sku: TEA is repeated"),
    ({"customer": "ann", "lines": {"sku": "TEA"}}, "line 1: lines: is not a list"),
    ({"customer": "ann", "lines": [5]}, "line 1: lines[0]: is not an object"),
    ({"customer": 5, "lines": [LINE]}, "line 1: customer: Input should be a valid string"),
    ({"customer": "a\0b", "lines": [LINE]}, "line 1: customer: String should match pattern"),
    ({"customer": "\ud800", "lines": [LINE]}, "line 1: customer: "),
    ({"customer": "ann", "lines": [{"sku": "\udfff", "quantity": 1}]}, "line 1: lines[0].sku: "),
    ({"customer": "ann", "currency": "\ud800", "lines": [LINE]}, "currency: Input should be a valid string"),
    (
        {"customer": "ann", "lines": [{"sku": "TEA", "quantity": True}]},
        "lines[0].quantity: Input should be a valid integer",
    ),
    (
        {"customer": "ann", "lines": [{"sku": "TEA", "quantity": 1.0}]},
        "lines[0].quantity: Input should be a valid integer",
    ),
    ({"customer": "ann", "lines": [{"sku": "TEA", "quantity": 10**30}]}, "line 1: lines[0].quantity: "),
    (
        {"customer": "ann", "lines": [{"sku": "TEA", "quantiy": 1}]},
        "line 1: lines[0].quantiy: is an unknown field",
    ),
    ('{"customer": "ann", "customer": "bob", "lines": []}', "line 1: customer: is repeated"),
    (
        '{"customer": "ann", "lines": [{"sku": "TEA", "quantity": NaN}]}',
        "line 1: line: is not JSON: NaN is not a number",
    ),
    (
        {"customer": "ann", "lines": [LINE, {"sku": "HAT", "quantity": 1}]},
        "line 1: lines[1].sku: HAT is sold in GBP",
    ),
]


@pytest.mark.parametrize(("line", "fault"), JSON_FAULTS)
def test_a_bad_line_of_json_is_named_and_nothing_is_placed(
    run: Callable[..., CommandRun], write: Callable[..., str], line: Any, fault: str
) -> None:
    text = line if isinstance(line, str) else json.dumps(line)
    refused = run(write(f"{text}\n" + json.dumps({"customer": "bob", "lines": [LINE]}), "orders.jsonl"))
    assert refused.status == 2
    assert fault in refused.err
    assert nothing_is_written()


FILES = [
    ("", "orders.csv", "is empty. Its first line names the columns"),
    ("customer,sku,quantity\n", "orders.csv", "contains no order"),
    (
        "customer,sku\nann,TEA\n",
        "orders.csv",
        "line 1 lacks the column quantity. It names the columns, separated by commas",
    ),
    (
        "customer;sku;quantity\n",
        "orders.csv",
        "line 1 separates the columns with semicolons. Separate them with commas",
    ),
    ("customer,sku,quantity,colour\n", "orders.csv", "has the unknown column 'colour'"),
    ("customer,sku,quantity,sku\n", "orders.csv", "has the column sku twice"),
    (GOOD.encode("utf-16"), "orders.csv", "is UTF-16 or UTF-32. Save it as UTF-8"),
    (GOOD, "orders.xls", "has none of the suffixes .csv, .jsonl, .ndjson. Use --format"),
]


@pytest.mark.parametrize(("text", "name", "fault"), FILES)
def test_an_unreadable_file_is_refused_as_a_whole(
    run: Callable[..., CommandRun], write: Callable[..., str], text: str | bytes, name: str, fault: str
) -> None:
    path = write(text, name)
    refused = run(path, "--skip-bad")
    assert refused.status == 2
    assert f"{path} " in refused.err
    assert fault in refused.err


def test_a_missing_file_and_invalid_options_are_refused(
    run: Callable[..., CommandRun], tmp_path: Path
) -> None:
    assert "no.csv cannot be read: No such file or directory." in run(str(tmp_path / "no.csv")).err
    assert "cannot be read: Is a directory." in run(str(tmp_path), "--format=csv").err
    assert "--batch: use 1 to 100 printable characters" in run("x.csv", "--batch", "a\nb").err
    assert "--timeout needs --wait" in run("x.csv", "--timeout=3").err
    assert "'0' is not a whole number from 1 to 1,000" in run("x.csv", "--at-once=0").err


def test_many_bad_lines_are_counted_and_the_first_are_named(
    run: Callable[..., CommandRun], write: Callable[..., str]
) -> None:
    refused = run(write("customer,sku,quantity\n" + "ann,TEA,0\n" * 450))
    assert refused.err.count("greater than or equal to 1") == 20
    assert "… and 430 more" in refused.err
    assert "450 lines are bad, and nothing was placed." in refused.err


def test_bad_lines_can_be_skipped_with_exit_status_1(
    run: Callable[..., CommandRun], write: Callable[..., str]
) -> None:
    path = write(GOOD + "ann,NONE,1\n")
    done = run(path, "--skip-bad", "--json")
    assert done.status == 1
    assert "line 5: sku: NONE is not in the catalogue" in done.err
    assert {name: done.result[name] for name in ("ended", "good", "bad", "placed", "skipped", "money")} == {
        "ended": "placed", "good": 3, "bad": 1, "placed": 3, "skipped": 1, "money": {"EUR": 3000},
    }  # fmt: skip
    assert done.result["faults"][0]["line"] == 5
    again = run(path, "--skip-bad", "--json")
    assert (again.result["placed"], again.result["placed_before"]) == (0, 3)
    assert Order.objects.count() == 3
