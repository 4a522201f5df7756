"""``manage.py reconcile --watch`` reports new and resolved violations until Ctrl-C."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import psycopg2
from rich.console import Console

from tests.support.databases import Databases
from tests.support.polling import eventually
from tests.support.processes import Process
from webapp.ops.reconcile import Report, Violation
from webapp.ops.reconcile.report import Watch, show_changes

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def report(*violations: Violation) -> Report:
    made = Report(looked_at={"orders": 3}, seconds=0.1)
    for violation in violations:
        made.add(violation)
    return made


def lost(sku: str, units: int) -> Violation:
    return Violation("stock-lost", {"SKU": sku, "sum": str(units)}, 1.0)


def test_a_lasting_violation_is_reported_once() -> None:
    watch = Watch()
    assert watch.changes(report(lost("TEA", 1))) == ([lost("TEA", 1)], [])
    assert watch.changes(report(lost("TEA", 2))) == ([], [])
    assert watch.changes(report(lost("MUG", 1))) == ([lost("MUG", 1)], [lost("TEA", 2)])
    assert watch.changes(report()) == ([], [lost("MUG", 1)])


def test_each_run_prints_a_line_with_changes_below() -> None:
    console = Console(width=200, record=True, force_terminal=False)
    show_changes(console, AT, report(lost("TEA", 1)), [lost("TEA", 1)], [])
    show_changes(console, AT, report(), [], [lost("TEA", 1)])
    result = console.export_text().splitlines()
    assert result[0].startswith("03:04:05 13 checks, 3 orders, 1 violation")
    assert result[1].startswith("  new stock-lost: ")
    assert "SKU: TEA" in result[3]
    assert any(line.startswith("  gone stock-lost: ") for line in result)


def test_watch_exits_on_ctrl_c_with_the_last_status(
    databases: Databases, spawn: Callable[..., Process]
) -> None:
    def stock(units: int) -> None:
        link = psycopg2.connect(databases.inventory)
        with link, link.cursor() as cursor:
            cursor.execute("DELETE FROM product WHERE sku = 'ODD'")
            if units:
                cursor.execute(
                    "INSERT INTO product (sku, received, on_hand, held, sold) VALUES ('ODD', %s, %s, 0, 0)",
                    [units, units],
                )
        link.close()

    command = [sys.executable, "manage.py", "reconcile", "--grace=0", "--watch=0.1", "--json"]
    process = spawn("watch", command, env=databases.env)

    def looks() -> list[dict[str, Any]]:
        return [
            json.loads(line)
            for line in process.logs().splitlines()
            if line.startswith("{") and line.endswith("}")
        ]

    eventually(lambda: looks() and looks()[-1]["clean"], 20, "a clean look")
    stock(5)  # without a movement
    eventually(lambda: not looks()[-1]["clean"], 20, "a look that finds it")
    assert [v["code"] for look in looks() for v in look["new"]] == ["product-not-its-movements"]
    stock(0)
    eventually(lambda: looks()[-1]["clean"], 20, "a clean look again")
    assert [v["evidence"]["SKU"] for look in looks() for v in look["gone"]] == ["ODD"]
    process.send(signal.SIGINT)
    assert process.wait(10) == 0, process.logs()
    assert "Traceback" not in process.logs()
