from __future__ import annotations

from datetime import timedelta

import pytest

from tests.support.in_process import InProcessSagas
from tests.support.installation import Installation

RETRIES = "SELECT count(*) FROM ordersaga_outbox WHERE kind = 'retry' AND payload LIKE '%%' || %s || '%%'"
ATTEMPTS = "SELECT attempts FROM ordersaga_journal WHERE saga_id = %s AND step = 'orders.expire_order'"
TIMERS = "SELECT kind FROM ordersaga_outbox WHERE saga_id = %s ORDER BY kind"


def test_a_deadline_is_a_row_that_is_deleted_when_obsolete(installation: Installation) -> None:
    with installation.amqp.recording() as messages:
        installation.proxies["payments"].refuse()
        saga = installation.factory.place("TEA")
        assert installation.probe.query("orders", TIMERS, saga) == [("deadline",), ("watchdog",)]
        installation.proxies["payments"].accept()

        installation.probe.wait_until_confirmed([saga])

    assert installation.probe.query("orders", TIMERS, saga) == []
    headers = [message.properties["application_headers"] for message in messages]
    assert headers
    assert all(not {"eta", "expires", "retries", "x-delay"} & header.keys() for header in headers)


def test_a_deadline_survives_the_death_of_all_workers(installation: Installation) -> None:
    installation.proxies["payments"].refuse()
    saga = installation.factory.place("TEA", deadline=timedelta(seconds=2))
    installation.pools["orders"].kill()
    installation.pools["orders"].start()

    found = installation.probe.wait_for_status(saga, "ROLLING_BACK")

    assert found.refusal == "OrderExpired"
    installation.proxies["payments"].accept()
    installation.probe.wait_until_rolled_back([saga])


def test_a_deadline_sent_again_starts_no_second_series_of_retries(
    in_process: InProcessSagas, monkeypatch: pytest.MonkeyPatch
) -> None:
    saga = in_process.factory.place("TEA")
    expire = next(step for step in in_process.choreography.steps if step.name == "expire_order")
    works = expire.function

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the step fails")

    rehearsal = in_process.rehearsal()
    rehearsal.collect(retries=False)
    held = [queued for queued in rehearsal.queued if queued.to != "orders"]
    monkeypatch.setattr(expire, "function", fail)
    for attempt in (1, 2, 3):
        rehearsal.queued.clear()
        rehearsal.make_timers_due("deadline", saga)
        rehearsal.collect(retries=False)
        [queued] = [queued for queued in rehearsal.queued if queued.envelope.topic == "signal.DeadlinePassed"]
        rehearsal.deliver(queued)
        assert in_process.probe.query("orders", RETRIES, saga) == [(1,)]
        assert in_process.probe.query("orders", ATTEMPTS, saga) == [(attempt,)]
    monkeypatch.setattr(expire, "function", works)
    rehearsal.queued[:] = held
    rehearsal.run()
    assert in_process.probe.saga(saga).refusal == "OrderExpired"
    in_process.probe.wait_until_rolled_back([saga], timeout=0)
