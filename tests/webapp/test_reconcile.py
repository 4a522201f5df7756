"""``manage.py reconcile``: silent on consistent databases, patient with young sagas,
clear if it cannot read.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from argparse import ArgumentTypeError
from collections.abc import Iterator

import psycopg2
import pytest

from tests.support import bulk_data
from tests.support.databases import OWNERS, Databases, copies, drop
from tests.support.postgres import Postgres
from tests.support.processes import ROOT
from tests.support.time_scale import scaled
from tests.webapp.corruptions import CORRUPTIONS, ORPHANS, STRANGER, Corruption
from tests.webapp.reconcile_samples import (
    DELETE_COMPLETION,
    INSERT_COMPLETION,
    CorruptibleDatabases,
    RecordedWaits,
    RehearsedOrders,
    SampleDatabases,
    SampleOrder,
    audit,
    corruptible,
    rehearsed_on,
    samples,
)
from webapp.ops.management.commands.reconcile import grace
from webapp.ops.reconcile import Unreadable
from webapp.ops.reconcile.codes import MEANING
from webapp.ops.reconcile.snapshots import merge_by_saga

__all__ = ["corruptible", "samples"]


def reconcile(databases: Databases, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", "reconcile", *arguments],
        cwd=ROOT,
        env={**os.environ, **databases.env},
        capture_output=True,
        text=True,
        check=False,
        timeout=scaled(60),
    )


def change(url: str, sql: str, *parameters: object) -> None:
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            assert cursor.rowcount
    finally:
        connection.close()


# -- violations ------------------------------------------------------------------------------------------


def test_settled_orders_give_no_violation(corruptible: CorruptibleDatabases) -> None:
    report = corruptible.audit()
    assert not report.violations
    assert report.looked_at == {"orders": 11, "SKUs": 4, "wallets": 3}
    assert report.warnings == ["1 open dead letter(s) in the inventory database"]


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda corruption: corruption.what)
def test_a_corruption_is_named(corruption: Corruption, corruptible: CorruptibleDatabases) -> None:
    booked = corruptible.orders.get(corruption.order)
    corruptible.corrupt(corruption.database, corruption.sql, booked)
    report = corruptible.audit()
    codes = corruption.codes.split()
    assert sorted(set(report.counts)) == sorted(codes)
    first = next(violation for violation in report.violations if violation.code == codes[0])
    words = " ".join(f"{side} {output}" for side, output in first.evidence.items())
    assert [word for word in corruption.evidence.split() if word not in words] == [], words
    if booked is not None and first.code != "pack-missing":  # sagas share packs
        assert {v.saga for v in report.violations} <= {booked.saga, None}
        assert first.saga == booked.saga
        assert first.order == (None if first.code == "saga-without-order" else booked.order)
    if first.code != "wallet-not-its-entries":  # wallets have no time of their last change
        assert first.age is not None
        assert first.age >= 0


@pytest.mark.parametrize(("database", "sql"), ORPHANS)
def test_effects_of_an_unknown_saga_are_orphans(
    database: str, sql: str, corruptible: CorruptibleDatabases
) -> None:
    corruptible.corrupt(database, sql, SampleOrder("77", STRANGER))
    report = corruptible.audit()
    assert [(v.code, v.saga) for v in report.violations] == [(f"orphan-in-{database}", STRANGER)]


def test_every_code_is_named_by_some_corruption() -> None:
    named = {code for corruption in CORRUPTIONS for code in corruption.codes.split()}
    assert named | {f"orphan-in-{database}" for database, _ in ORPHANS} == set(MEANING)


def test_effects_swapped_between_two_sagas_are_named_for_both(corruptible: CorruptibleDatabases) -> None:
    """Sums per SKU do not differ."""
    one, other = corruptible.orders["confirmed"].saga, corruptible.orders["cancelled when charged"].saga
    corruptible.corrupt("inventory", "DROP INDEX movement_once;"
        f"UPDATE movement SET saga_id = CASE saga_id WHEN '{one}' THEN '{other}'::uuid ELSE '{one}' END"
        f" WHERE saga_id IN ('{one}', '{other}') AND sku = 'TEA' AND kind <> 'held'")  # fmt: skip
    assert sorted((v.code, v.saga) for v in corruptible.audit().violations) == sorted(
        [("movements-disagree", one), ("movements-disagree", other)]
    )


def test_unknown_steps_and_participants_are_ignored(corruptible: CorruptibleDatabases) -> None:
    """The journal of a fifth participant may be in any database, and its answers and events beside the
    others'.
    """
    saga = corruptible.orders["confirmed"].saga
    corruptible.corrupt("payments", f"INSERT INTO ordersaga_journal (saga_id, step, state, pack_id) VALUES"
        f" ('{saga}', 'loyalty.credit', 'done', 1)")  # fmt: skip
    saga = corruptible.orders["declined"].saga
    corruptible.corrupt(
        "orders",
        f"UPDATE ordersaga_saga SET participants = participants || 'loyalty'::text WHERE id = '{saga}';"
        f"INSERT INTO ordersaga_answer VALUES ('{saga}', 'loyalty');"
        "INSERT INTO audit_sagaevent (event_id, saga_id, kind, name, participant, again, said_at, data)"
        f" SELECT gen_random_uuid(), '{saga}', kind, name, 'loyalty', false, now(), '{{}}'"
        " FROM (VALUES ('signal', 'PointsTaken'), ('answer', 'answer')) AS said (kind, name)",
    )
    assert corruptible.audit().clean


def test_an_ended_sagas_first_pack_may_be_pruned_first(
    corruptible: CorruptibleDatabases,
) -> None:
    """It ended after the horizon, and its pack was written before."""
    saga = corruptible.orders["confirmed"]
    corruptible.corrupt("orders", "UPDATE ops_horizon SET forgotten = now() - interval '30 d'")
    corruptible.corrupt(
        "orders", "UPDATE ordersaga_saga SET started_at = now() - interval '40 d' WHERE id = %(saga)s", saga
    )
    corruptible.corrupt("orders", "DELETE FROM ordersaga_pack WHERE topic = 'signal.OrderPlaced'"
        " AND id = (SELECT pack_id FROM ordersaga_saga WHERE id = %(saga)s)", saga)  # fmt: skip
    assert corruptible.audit().clean


# -- the command -----------------------------------------------------------------------------------------


def test_a_clean_result_exits_with_0_and_a_summary(samples: SampleDatabases) -> None:
    done = reconcile(samples.databases, "--grace", "0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "13 checks, 11 orders, 4 SKUs, 3 wallets, no violation" in done.stdout
    assert "deadlines" in done.stdout
    assert "1 open dead letter(s) in the inventory database" in done.stdout


def test_a_violation_exits_with_1_and_its_evidence(samples: SampleDatabases) -> None:
    order, saga = samples.orders["confirmed"]
    change(samples.databases.orders, "UPDATE orders_order SET amount = amount + 1 WHERE id = %s", order)
    try:
        shown = reconcile(samples.databases, "--grace", "0")
        result = json.loads(reconcile(samples.databases, "--grace", "0", "--json").stdout)
    finally:
        change(samples.databases.orders, "UPDATE orders_order SET amount = amount - 1 WHERE id = %s", order)
    assert shown.returncode == 1, shown.stderr
    assert "charge-not-as-ordered: wallet, amount or currency charged are not the order's" in shown.stdout
    assert f"order {order} · saga {saga}" in shown.stdout
    assert "2 violations" in shown.stdout
    assert result["counts"] == {"charge-not-as-ordered": 1, "order-not-its-lines": 1}
    assert result["checks"]["money"] == 1
    assert result["violations"][0]["evidence"]["ledger"] == "charged wallet:ann 1350 EUR"
    assert (result["violations"][0]["order"], result["violations"][0]["saga"]) == (order, saga)


def test_an_unreadable_database_exits_with_2(samples: SampleDatabases) -> None:
    done = reconcile(without(samples.databases, "payments"))
    assert done.returncode == 2
    assert "The payments database does not answer:" in done.stderr
    assert "Traceback" not in done.stderr
    assert "private" not in done.stderr, "the password"


@pytest.mark.parametrize("owner", OWNERS)
def test_each_unreadable_database_is_named(owner: str, samples: SampleDatabases) -> None:
    with pytest.raises(Unreadable, match=f"The {owner} database does not answer"):
        audit(without(samples.databases, owner))


def test_a_database_that_is_not_migrated_cannot_be_read(samples: SampleDatabases) -> None:
    empty = samples.databases.payments.rpartition("/")[0] + "/postgres"
    with pytest.raises(
        Unreadable, match=r"payments database lacks tables .*does not exist.*manage\.py migrate"
    ):
        audit(Databases(samples.databases.orders, samples.databases.inventory, empty))


def without(databases: Databases, owner: str) -> Databases:
    nowhere = getattr(databases, owner).rpartition("/")[0] + "/nowhere"
    return Databases(**{**vars(databases), owner: nowhere})


@pytest.mark.parametrize("text", ["-1", "soon", "nan", "1e9", "1e400"])
def test_an_invalid_grace_period_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="not a number of seconds"):
        grace(text)


# -- the grace -------------------------------------------------------------------------------------------


MOVES = "UPDATE ordersaga_saga SET moved_at = now() WHERE id = %(saga)s"


def test_a_young_suspect_is_read_again_and_cleared(corruptible: CorruptibleDatabases) -> None:
    order = corruptible.orders["confirmed"]
    corruptible.corrupt("orders", DELETE_COMPLETION, order)
    corruptible.corrupt("orders", MOVES, order)
    waits = RecordedWaits(lambda: corruptible.corrupt("orders", INSERT_COMPLETION, order))
    assert corruptible.audit(grace=1.5, wait=waits).clean
    assert [suspects for _, suspects in waits.recorded] == [1]


def test_a_young_suspect_that_remains_is_named_after_the_grace(corruptible: CorruptibleDatabases) -> None:
    order = corruptible.orders["confirmed"]
    corruptible.corrupt("orders", DELETE_COMPLETION, order)
    corruptible.corrupt("orders", MOVES, order)
    waits = RecordedWaits()
    report = corruptible.audit(grace=1.5, wait=waits)
    assert [(v.code, v.saga) for v in report.violations] == [("audit-incomplete", order.saga)]
    assert [suspects for _, suspects in waits.recorded] == [1]


def test_an_old_suspect_is_named_without_waiting(corruptible: CorruptibleDatabases) -> None:
    times = {
        "orders": {
            "ordersaga_journal": ["at"],
            "ordersaga_saga": ["started_at", "moved_at", "ended_at"],
            "orders_order": ["placed_at", "confirmed_at"],
            "orders_cancelrequest": ["asked_at", "answered_at"],
        },
        "inventory": {"ordersaga_journal": ["at"], "reservation": ["at"], "movement": ["at"]},
        "payments": {"ordersaga_journal": ["at"], "ledger_transaction": ["at"]},
    }
    for database, tables in times.items():
        for table, columns in tables.items():
            earlier = ", ".join(f"{column} = {column} - interval '1 h'" for column in columns)
            corruptible.corrupt(database, f"UPDATE {table} SET {earlier}")
    corruptible.corrupt("orders", DELETE_COMPLETION, corruptible.orders["confirmed"])
    waits = RecordedWaits()
    report = corruptible.audit(grace=60, wait=waits)
    assert not waits.recorded
    assert [v.code for v in report.violations] == ["audit-incomplete"]
    assert report.violations[0].age == pytest.approx(3600, abs=60)


def test_a_suspect_that_keeps_breaking_other_rules_is_not_named(corruptible: CorruptibleDatabases) -> None:
    """Each new fault has its own grace period; a saga that never settles is left to the next run."""
    order = corruptible.orders["confirmed"]
    charge_row = "WHERE saga_id = %(saga)s AND step = 'payments.charge'"
    faults = iter(
        [
            f"UPDATE ordersaga_journal SET state = 'intent' {charge_row}",
            "UPDATE ledger_transaction SET order_number = '77' WHERE saga_id = %(saga)s",
            """INSERT INTO ordersaga_journal (saga_id, step, state)
               VALUES (%(saga)s, 'payments.refusal', 'heard')""",
            "DELETE FROM ledger_transaction WHERE saga_id = %(saga)s",
            f"UPDATE ordersaga_journal SET state = 'barred', pack_id = NULL {charge_row}",
        ]
    )
    corruptible.corrupt("orders", DELETE_COMPLETION, order)
    corruptible.corrupt("orders", MOVES, order)
    worse = RecordedWaits(lambda: corruptible.corrupt("payments", next(faults), order))
    report = corruptible.audit(grace=1.5, wait=worse)
    assert report.moving == 1
    assert not report.violations


def test_orders_in_flight_give_no_false_alarm(databases: Databases) -> None:
    """Sagas of several outcomes run while each audit takes its snapshots."""
    stop, failed = threading.Event(), []
    with rehearsed_on(databases) as rehearsed:
        rehearsed.seed()

        def place_orders() -> None:
            try:
                while not stop.is_set():
                    _place_some(rehearsed)
            except Exception as error:
                failed.append(error)
                raise

        placer = threading.Thread(target=place_orders)
        placer.start()
        try:
            reports = [audit(databases, grace=3) for _ in range(4)]
        finally:
            stop.set()
            placer.join()
        rehearsed.run()
        reports.append(audit(databases))
    assert not failed
    assert [report.violations for report in reports] == [[]] * 5
    assert reports[0].looked_at["orders"] < reports[-1].looked_at["orders"]


def _place_some(rehearsed: RehearsedOrders) -> None:
    """Place two orders, and deliver envelopes until eight are left."""
    rehearsed.place()
    rehearsed.place("eve")
    rehearsed.rehearsal.collect()
    while len(rehearsed.rehearsal.queued) > 8:
        rehearsed.rehearsal.deliver(rehearsed.rehearsal.queued[0])
        rehearsed.rehearsal.collect()


# -- the size --------------------------------------------------------------------------------------------


@pytest.fixture
def many(postgres: Postgres, database_templates: dict[str, str]) -> Iterator[Databases]:
    made = copies(postgres, database_templates)
    bulk_data.fill(2_000, [getattr(made, owner) for owner in OWNERS])
    yield made
    drop(postgres, made)


def test_the_last_of_two_thousand_batched_orders_is_found(many: Databases) -> None:
    clean = audit(many)
    assert clean.clean
    assert clean.looked_at == {"orders": 2_000, "SKUs": 50, "wallets": 100}
    change(many.orders, "UPDATE orders_order SET confirmed_at = NULL WHERE id = 1999")
    assert [(v.code, v.order) for v in audit(many).violations] == [("journal-without-effect", "1999")]


def test_a_common_violation_is_counted_and_kept_1000_times(many: Databases) -> None:
    change(many.orders, "UPDATE orders_order SET amount = amount + 1")
    report = audit(many)
    assert report.counts == {"order-not-its-lines": 2_000, "charge-not-as-ordered": 1_800}
    assert len(report.violations) == 2_000


def test_streams_are_merged_by_saga_with_gaps() -> None:
    order, stock, money = ("a", "b", "d"), ("b", "c"), ("d",)
    rows = merge_by_saga(
        iter([(saga, *[None] * 11) for saga in order]),
        iter([(saga, *[None] * 7) for saga in stock]),
        iter([(saga, *[None] * 6) for saga in money]),
    )
    assert [tuple(row and row.saga for row in found) for found in rows] == [
        ("a", None, None), ("b", "b", None), (None, "c", None), ("d", None, "d"),
    ]  # fmt: skip
