"""The journal is pruned after a retention that is longer than any message may take to return."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command

from tests.support.in_process import InProcessSagas
from tests.support.pruning import age, pruned, rows
from workers.retention import BROKER_KEEPS, minimum_retention
from workers.settings import settings

MONTH = timedelta(days=30)


def test_old_ended_sagas_are_pruned_and_reconcile_stays_clean(in_process: InProcessSagas) -> None:
    old = [
        in_process.factory.place("TEA"),
        in_process.factory.place("GONE"),
        in_process.factory.place("FREE"),
    ]
    in_process.rehearsal().run()
    before = {
        saga: (
            in_process.probe.saga(saga),
            in_process.probe.ledger(saga),
            in_process.probe.reservations(saga),
        )
        for saga in old
    }
    age(in_process, old, days=31)
    young = [in_process.factory.place("TEA"), in_process.factory.place("GONE")]
    in_process.rehearsal().run()

    gone = pruned(in_process, MONTH)

    assert gone["sagas"] == 3
    assert all(rows(in_process, saga) == {} for saga in old)
    assert all(
        rows(in_process, saga).keys() >= {"orders", "inventory", "payments", "trail"} for saga in young
    )
    assert {
        s: (in_process.probe.saga(s), in_process.probe.ledger(s), in_process.probe.reservations(s))
        for s in old
    } == before
    in_process.probe.wait_until_clean(timeout=0)
    assert pruned(in_process, MONTH)["sagas"] == 0


def test_messages_within_the_horizon_find_their_journal_rows(
    in_process: InProcessSagas,
) -> None:
    saga = in_process.factory.place("TEA")
    rehearsal, delivered = in_process.rehearsal(), []
    rehearsal.collect()
    while rehearsal.queued:
        delivered.append(rehearsal.queued[0])
        rehearsal.deliver(rehearsal.queued[0])
        rehearsal.collect()
    money, moved = in_process.probe.ledger(saga), in_process.probe.movements(saga)
    age(in_process, [saga], days=29)
    pruned(in_process, MONTH)

    for queued in delivered:
        rehearsal.deliver(queued)
    rehearsal.run()

    assert len(delivered) >= 5
    assert (in_process.probe.ledger(saga), in_process.probe.movements(saga)) == (money, moved)
    in_process.probe.wait_until_clean(timeout=0)


@pytest.mark.parametrize("days", ["P1D", "P7D"])
def test_a_retention_below_the_minimum_is_refused(days: str) -> None:
    with pytest.raises(
        CommandError, match="is too short: a message may be redelivered for 7 days"
    ) as refused:
        call_command("prune", "--retention", days)
    assert refused.value.returncode == 2


def test_the_horizon_counts_deadline_reminders_retries_and_the_broker() -> None:
    ours = settings().model_copy(
        update={"deadline": timedelta(days=2), "watchdog": timedelta(minutes=1), "watchdog_rounds": 2}
    )
    assert (
        minimum_retention(ours)
        == timedelta(days=2) + timedelta(minutes=3) + timedelta(hours=1) + BROKER_KEEPS
    )
