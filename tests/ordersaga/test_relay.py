"""The relay publishes due rows once they are committed, and loses none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg2
import pytest

from ordersaga.claim import OutgoingEnvelope, claim
from ordersaga.relay import Relay
from ordersaga.sql.outbox import OBSERVERS
from tests.ordersaga.relay_environment import (
    SAGA,
    Begun,
    RecordingBroker,
    choreography_with_observer,
    count_rows,
    database,
    execute,
    insert_pack,
    run_relay,
    start_sagas,
    url,
    wait_until_asleep,
)
from tests.support.polling import eventually

__all__ = ["database", "run_relay", "url"]


def test_signals_of_many_transactions_leave_in_one_envelope(url: str) -> None:
    start_sagas(url, *range(50), together=False)
    broker = RecordingBroker()
    relay = Relay(url, "desk", broker)
    assert relay.drain() == 50
    assert len(broker.envelopes) == 1
    assert sorted(broker.numbers) == list(range(50))
    assert relay.drain() == 0
    relay.close()


def test_many_sagas_at_once_are_cut_into_full_envelopes(url: str) -> None:
    start_sagas(url, *range(1000))
    broker = RecordingBroker()
    relay = Relay(url, "desk", broker)
    relay.drain()
    relay.close()
    assert [p.signals for p in broker.envelopes] == [400, 400, 200]


def test_copies_for_observers_are_batched_by_the_second(url: str) -> None:
    start_sagas(url, *range(50), together=False)
    broker = RecordingBroker()
    relay = Relay(url, "desk", broker, choreography=choreography_with_observer("signal.Begun"))
    assert (relay.drain(), [p.routing_key for p in broker.envelopes]) == (50, ["signal.Begun"])
    start_sagas(url, *range(50, 60), together=False)

    def all_carried() -> bool:
        relay.drain()
        return count_rows(url) == 0

    eventually(all_carried, 5, "the second's end")
    relay.close()
    copies = [p.signals for p in broker.envelopes if p.routing_key == f"to.{OBSERVERS}"]
    assert (sum(copies), len(copies) <= 2) == (60, True)  # two, if a second ended in between
    assert sorted(broker.numbers) == sorted([*range(60), *range(60)])


def test_signals_for_observers_only_are_sent_to_them(url: str) -> None:
    start_sagas(url, 1)
    broker = RecordingBroker()
    relay = Relay(url, "desk", broker, choreography=choreography_with_observer())
    assert (relay.drain(), count_rows(url)) == (0, 1)
    eventually(relay.drain, 5, "the second's end")
    relay.close()
    assert [p.routing_key for p in broker.envelopes] == [f"to.{OBSERVERS}"]


def test_what_no_participant_consumes_is_not_published(url: str) -> None:
    """The broker would keep it as an unroutable message, and without an observer nothing would remove it."""
    start_sagas(url, 1)
    broker, whole = RecordingBroker(), choreography_with_observer()
    whole.observed = False
    relay = Relay(url, "desk", broker, choreography=whole)
    assert (relay.drain(), count_rows(url)) == (0, 0)
    relay.close()


def test_an_unconfirmed_row_stays_and_is_published_again(url: str) -> None:
    start_sagas(url, 1)
    broker = RecordingBroker(failures=1)
    relay = Relay(url, "desk", broker)
    with pytest.raises(ConnectionError):
        relay.drain()
    assert count_rows(url) == 1
    relay.drain()
    relay.close()
    assert (broker.numbers, count_rows(url)) == ([1], 0)


def test_a_crash_after_the_confirm_publishes_twice(url: str) -> None:
    start_sagas(url, 1)
    broker = RecordingBroker()
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        broker(claim(cursor, "desk").envelopes)
        connection.rollback()
    relay = Relay(url, "desk", broker)
    relay.drain()
    relay.close()
    assert broker.numbers == [1, 1]


def test_two_relays_share_an_outbox_and_send_nothing_twice(url: str, run_relay: Any) -> None:
    one, two = RecordingBroker(), RecordingBroker()
    run_relay(one)
    run_relay(two)
    start_sagas(url, *range(200), together=False)
    eventually(lambda: count_rows(url) == 0, 30, "the outbox is empty")
    eventually(lambda: len(one.numbers) + len(two.numbers) == 200, 10, "all are sent")
    assert sorted(one.numbers + two.numbers) == list(range(200))


def test_nothing_is_published_before_its_commit(url: str) -> None:
    connection = psycopg2.connect(url)
    SAGA.start(Begun(number=1), db=connection)
    relay = Relay(url, "desk", broker := RecordingBroker())
    assert relay.drain() == 0
    connection.rollback()
    connection.close()
    assert relay.drain() == 0
    relay.close()
    assert broker.envelopes == []


def test_a_sleeping_relay_wakes_on_notify_and_survives_no_broker(url: str, run_relay: Any) -> None:
    broker = RecordingBroker(failures=2)
    errors = run_relay(broker)
    start_sagas(url, 1)
    eventually(lambda: broker.numbers == [1], 30, "the signal is sent")
    assert len(errors) == 2
    assert count_rows(url, "deadline") == 1


@pytest.mark.parametrize("call", ["desk", ""], ids=["by its name", "by a release without names"])
def test_a_sleeping_relay_wakes_only_on_its_own_notify(
    call: str, url: str, run_relay: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Relay, "MAX_IDLE_SECONDS", 60.0)  # only a NOTIFY wakes it
    woken: list[str] = []
    run_relay(broker := RecordingBroker(), on_round=lambda: woken.append("turned"))
    start_sagas(url, 1)
    eventually(lambda: broker.numbers == [1], 10, "the first signal is sent")
    before = wait_until_asleep(woken)
    insert_pack(url, "notice")
    execute(url, "NOTIFY ordersaga_outbox, 'till'")
    eventually(lambda: len(woken) > before, 10, "a NOTIFY for another participant wakes it")
    wait_until_asleep(woken)
    assert len(broker.envelopes) == 1, "it looked, though another was called"
    execute(url, f"SELECT pg_notify('ordersaga_outbox', '{call}')")
    eventually(lambda: len(broker.envelopes) == 2, 10, "the call for it")


def test_rows_committed_while_a_relay_publishes_need_no_notify(
    url: str, run_relay: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Relay, "MAX_IDLE_SECONDS", 60.0)
    monkeypatch.setattr(Relay, "REPOLL_DELAYS", ())
    broker = RecordingBroker()

    def publish(envelopes: Sequence[OutgoingEnvelope]) -> None:
        if not broker.envelopes:
            start_sagas(url, 2)  # the first row is still pending, so there is no NOTIFY
        broker(envelopes)

    run_relay(publish)
    start_sagas(url, 1)
    eventually(lambda: broker.numbers == [1, 2], 10, "the second is found when the first is done")


def test_a_relay_survives_the_loss_of_its_connection(url: str, run_relay: Any) -> None:
    broker = RecordingBroker()
    run_relay(broker)
    start_sagas(url, 1)
    eventually(lambda: broker.numbers == [1], 30, "the first signal is sent")
    execute(
        url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'relay desk' AND datname = current_database()",
    )
    start_sagas(url, 2)
    eventually(lambda: broker.numbers == [1, 2], 30, "the second signal is sent")
