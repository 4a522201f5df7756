"""What pruning deletes and keeps, interrupted, concurrent, and refused by the database."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg2.errors
import pytest
from django.core.management import call_command

from ordersaga.celery.dead_letters import DeadMessage
from ordersaga.sql import NO_SAGA
from tests.support import bulk_data
from tests.support.databases import Databases
from tests.support.fixtures import in_process, shared_in_process
from tests.support.in_process import InProcessSagas
from tests.support.pruning import age, opened, pruned, rows
from tests.support.time_scale import scaled
from webapp.audit.models import DeadLetter
from webapp.audit.services import discard
from webapp.ops.prune import Pruned, prune, sagas
from webapp.ops.prune.sql import NEXT_SAGAS
from webapp.orders.exceptions import OrderRefused
from webapp.orders.pricing import Item, NewOrder
from webapp.orders.services import place_orders
from workers.audit.dead_letters import keep
from workers.settings import read

__all__ = ["in_process", "shared_in_process"]

MONTH = timedelta(days=30)
KEY = "SELECT idempotency_key, id FROM orders_order WHERE saga_id = %s"
PACKS = "SELECT count(*) FROM ordersaga_pack"
LETTER = """
INSERT INTO audit_deadletter
    (source, key, participant, saga_id, topic, error, message, traceback, body, digest, headers, attempts)
VALUES ('broker', %s, 'inventory', %s, 't', 'rejected', '', '', '', '', '{}', 1)
"""
LARGE = """
INSERT INTO audit_deadletter
    (source, key, participant, topic, error, message, traceback, body, digest, headers, attempts)
SELECT 'broker', n, 'audit', 't', 'rejected', '', '', repeat('x', 1024 * 1024)::bytea, '', '{}', 1
FROM generate_series(1, 100) AS n
"""
SETTLED = (
    "UPDATE audit_deadletter SET outcome = 'discarded', settled_at = now() - interval '40 days',"
    " settled_by = 'staff 1', settled_why = 'a test' WHERE saga_id = %s"
)


@pytest.fixture
def old(in_process: InProcessSagas) -> Iterator[list[str]]:
    """Five orders that ended more than a month ago: three confirmed, two rolled back."""
    sagas = [in_process.factory.place("TEA") for _ in range(3)] + [
        in_process.factory.place("GONE") for _ in range(2)
    ]
    in_process.rehearsal().run()
    age(in_process, sagas, days=31)
    yield sagas
    in_process.probe.wait_until_clean(timeout=0)


def test_a_dry_run_counts_and_changes_nothing(in_process: InProcessSagas, old: list[str]) -> None:
    counted = pruned(in_process, MONTH, dry=True)
    assert counted["sagas"] == 5
    assert pruned(in_process, MONTH, dry=True) == counted

    gone = pruned(in_process, MONTH)
    assert {kind: gone[kind] for kind in counted if kind != "packs"} == {k: counted[k] for k in counted}


def test_packs_are_deleted_when_unreferenced(in_process: InProcessSagas, old: list[str]) -> None:
    together = in_process.factory.place_many(2)  # both in the packs of one transaction
    in_process.rehearsal().run()
    age(in_process, together[:1], days=31)  # all packs are old now

    gone = pruned(in_process, MONTH)
    assert gone["packs"] > 0
    kept = sum(in_process.probe.query(owner, PACKS)[0][0] for owner in ("orders", "inventory", "payments"))
    assert kept >= 3, "the packs of the other order are kept"

    age(in_process, together[1:], days=31)
    pruned(in_process, MONTH)
    assert [in_process.probe.query(owner, PACKS)[0][0] for owner in ("orders", "inventory", "payments")] == [
        0,
        0,
        0,
    ]


def test_an_order_with_an_open_dead_letter_is_kept(in_process: InProcessSagas, old: list[str]) -> None:
    in_process.probe.query("orders", LETTER, old[0], old[0])
    assert pruned(in_process, MONTH)["sagas"] == 4
    assert rows(in_process, old[0])

    in_process.probe.query("orders", SETTLED, old[0])
    gone = pruned(in_process, MONTH)
    assert (gone["sagas"], gone["dead letters"]) == (1, 1)
    assert rows(in_process, old[0]) == {}


def test_orders_that_share_a_dead_letter_are_kept(in_process: InProcessSagas, old: list[str]) -> None:
    together, rehearsal = in_process.factory.place_many(2), in_process.rehearsal()
    rehearsal.collect("orders")
    [output] = rehearsal.waiting("inventory", "signal.OrderPlaced")
    rehearsal.run()
    keep(DeadMessage("audit", output.envelope.body, {}, {}))
    age(in_process, together, days=31)
    [dead_letter] = DeadLetter.objects.filter(outcome=None)
    assert dead_letter.saga_id is None

    assert pruned(in_process, MONTH, batch=1)["sagas"] == len(old)
    discard(dead_letter.id, by="staff 1", reason="a test")
    assert pruned(in_process, MONTH)["sagas"] == 0
    assert all(rows(in_process, saga) for saga in together)

    in_process.probe.query(
        "orders",
        "UPDATE audit_deadletter SET settled_at = now() - interval '40 days' WHERE id = %s",
        dead_letter.id,
    )
    counted = pruned(in_process, MONTH, dry=True)
    gone = pruned(in_process, MONTH)
    assert (gone["sagas"], gone["dead letters"]) == (counted["sagas"], counted["dead letters"]) == (2, 1)
    assert all(rows(in_process, saga) == {} for saga in together)


def test_an_order_with_a_just_replayed_dead_letter_is_kept(
    in_process: InProcessSagas, old: list[str]
) -> None:
    in_process.probe.query("orders", LETTER, old[0], old[0])
    discard(DeadLetter.objects.get(saga_id=old[0]).id, by="staff 1", reason="a test")
    assert pruned(in_process, MONTH)["sagas"] == len(old) - 1
    assert rows(in_process, old[0])


def test_large_dead_letters_are_not_loaded_together(in_process: InProcessSagas) -> None:
    in_process.probe.query("orders", LARGE)
    try:
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak of memory use
        before = memory("VmRSS")
        pruned(in_process, MONTH, dry=True)
        assert memory("VmHWM") - before < 30 * 1024, "KiB"
    finally:
        in_process.probe.query(
            "orders", "DELETE FROM audit_deadletter WHERE body = repeat('x', 1024 * 1024)::bytea"
        )


def memory(what: str) -> int:
    """Return a figure of this process's memory, in KiB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what))
    return int(line.split()[1])


def test_an_open_order_is_never_pruned(in_process: InProcessSagas) -> None:
    saga = in_process.factory.place("TEA")
    age(in_process, [saga], days=365)
    assert pruned(in_process, MONTH)["sagas"] == 0
    in_process.rehearsal().run()
    in_process.probe.wait_until_confirmed([saga], timeout=0)


def test_old_keys_are_pruned_and_cannot_be_looked_up(in_process: InProcessSagas, old: list[str]) -> None:
    pruned(in_process, MONTH)
    [(key, number)] = in_process.probe.query("orders", KEY, old[0])
    assert key == f"forgotten:{number}"
    with pytest.raises(OrderRefused, match="idempotency_key"):
        place_orders([NewOrder("ann", [Item("TEA", 1)], key)])


@pytest.mark.parametrize("after", [1, 2, 3])
def test_interrupted_pruning_leaves_whole_batches(
    in_process: InProcessSagas, old: list[str], after: int
) -> None:
    calls = Counter[str]()

    def interrupt(_: Pruned) -> None:
        calls["times"] += 1
        if calls["times"] == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pruned(in_process, MONTH, batch=1, on_progress=interrupt)
    in_process.probe.wait_until_clean(timeout=0)
    assert all(rows(in_process, saga) == {} or len(rows(in_process, saga)) >= 4 for saga in old)
    pruned(in_process, MONTH)
    assert all(rows(in_process, saga) == {} for saga in old)


def test_two_concurrent_prunes_take_each_order_once(in_process: InProcessSagas) -> None:
    sagas = in_process.factory.place_many(30)
    in_process.rehearsal().run()
    age(in_process, sagas, days=31)

    def run() -> Counter[str]:
        with opened(in_process.probe.databases) as databases:
            return prune(databases, MONTH, batch=4).gone

    with ThreadPoolExecutor(2) as threads:
        gone = [each.result(scaled(60)) for each in [threads.submit(run) for _ in range(2)]]

    assert all(rows(in_process, saga) == {} for saga in sagas)
    assert sum(each["keys"] for each in gone) == 30
    in_process.probe.wait_until_clean(timeout=0)


def test_reconcile_finds_missing_money_of_a_pruned_order(in_process: InProcessSagas, old: list[str]) -> None:
    pruned(in_process, MONTH)
    in_process.probe.query("inventory", "ALTER TABLE reservation DISABLE TRIGGER USER")
    held = "UPDATE reservation SET quantity = quantity + %s WHERE saga_id = %s"
    in_process.probe.query("inventory", held, 1, old[0])
    try:
        assert "goods-not-as-ordered" in {v.code for v in in_process.probe.reconcile().violations}
    finally:
        in_process.probe.query("inventory", held, -1, old[0])
        in_process.probe.query("inventory", "ALTER TABLE reservation ENABLE TRIGGER USER")


# -- what the database refuses ---------------------------------------------------------------------------


def test_the_audit_trail_refuses_to_delete_young_events(in_process: InProcessSagas) -> None:
    saga = in_process.factory.place("TEA")
    in_process.rehearsal().run()
    for pruning, refusal in (("off", "append-only"), ("on", "keeps what was heard after the horizon")):
        with pytest.raises(psycopg2.errors.RestrictViolation, match=refusal):
            in_process.probe.query(
                "orders",
                "SELECT set_config('ordersaga.pruning', %s, true);"
                " DELETE FROM audit_sagaevent WHERE saga_id = %s",
                pruning,
                saga,
            )
    assert in_process.probe.audit_trail(saga)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ops_horizon SET forgotten = now()",
        "UPDATE ops_horizon SET forgotten = now() - interval '10 years'",
        "DELETE FROM ops_horizon",
        "TRUNCATE ops_horizon",
    ],
)
def test_the_horizon_is_a_week_away_and_never_moves_back(in_process: InProcessSagas, statement: str) -> None:
    pruned(in_process, MONTH)
    with pytest.raises((psycopg2.errors.CheckViolation, psycopg2.errors.RestrictViolation)):
        in_process.probe.query("orders", statement)


# -- the command -----------------------------------------------------------------------------------------


def test_the_command_reports_what_was_deleted(
    in_process: InProcessSagas,
    old: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    urls = in_process.probe.databases
    ours = read(
        env="test",
        orders_database_url=urls.orders,
        inventory_database_url=urls.inventory,
        payments_database_url=urls.payments,
    )
    monkeypatch.setattr("webapp.ops.management.commands.prune.settings", lambda: ours)
    call_command("prune", "--retention", "P30D", "--json")
    calls = json.loads(capsys.readouterr().out)
    assert calls["gone"]["sagas"] == 5
    call_command("prune", "--retention", "P30D")
    assert "nothing deleted" in capsys.readouterr().out


def test_ctrl_c_exits_with_130_and_reports_progress(
    in_process: InProcessSagas,
    old: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    urls = in_process.probe.databases
    ours = read(
        env="test",
        orders_database_url=urls.orders,
        inventory_database_url=urls.inventory,
        payments_database_url=urls.payments,
    )
    monkeypatch.setattr("webapp.ops.management.commands.prune.settings", lambda: ours)
    forget = sagas.delete_sagas

    def interrupted_by_the_second(*given: Any) -> Counter[str]:
        monkeypatch.setattr(sagas, "delete_sagas", ctrl_c)
        return forget(*given)

    def ctrl_c(*_: object) -> Counter[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr(sagas, "delete_sagas", interrupted_by_the_second)
    with pytest.raises(SystemExit) as ended:
        call_command("prune", "--retention", "P30D", "--batch", "2", "--json")
    assert ended.value.code == 130
    calls = json.loads(capsys.readouterr().out)
    assert calls["interrupted"]
    assert 0 < calls["gone"]["sagas"] <= 2


def test_a_window_is_read_from_the_index_alone(databases: Databases) -> None:
    """Otherwise pruning a million orders would read them two thousand times."""
    bulk_data.fill_orders(5_000, databases.orders)
    with psycopg2.connect(databases.orders) as connection, connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {NEXT_SAGAS}", [NO_SAGA, 100])
        [(plans,)] = cursor.fetchall()
    assert most_rows(plans[0]["Plan"]) < 1_000
    connection.close()


def most_rows(node: dict[str, Any]) -> int:
    """Return the most rows that a node of the plan has returned."""
    return max([int(node["Actual Rows"]), *(most_rows(child) for child in node.get("Plans", []))])
