"""The relay sends timers when they are due, and holds reminders while queues are busy."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import psycopg2

from ordersaga import Watchdog
from ordersaga.outbox import WATCHDOG
from ordersaga.relay import Relay
from tests.ordersaga.relay_environment import (
    SAGA,
    RecordingBroker,
    choreography_with_observer,
    count_rows,
    database,
    execute,
    start_sagas,
    url,
)

__all__ = ["database", "url"]

WAIT = """
SELECT ceil(extract(epoch FROM due_at - clock_timestamp()))::int
FROM ordersaga_outbox WHERE kind = 'watchdog'
"""


def test_a_timer_is_sent_when_due_and_again_until_deleted(url: str) -> None:
    start_sagas(url, 1)
    due = "UPDATE ordersaga_outbox SET due_at = now() WHERE kind = 'deadline'"
    relay = Relay(url, "desk", broker := RecordingBroker())
    relay.drain()
    assert [p.topic for p in broker.envelopes] == ["signal.Begun"]
    for _ in range(2):
        execute(url, due)
        relay.drain()
    relay.close()
    assert [(p.topic, p.routing_key) for p in broker.envelopes[1:]] == [
        ("signal.DeadlinePassed", "to.desk")
    ] * 2
    assert count_rows(url, "deadline") == 1


def test_a_timer_is_due_again_by_the_intervals_of_the_watchdog(url: str) -> None:
    start_sagas(url, 1)
    whole = choreography_with_observer("signal.Begun")
    whole.saga = replace(SAGA, watchdog=Watchdog(first=timedelta(seconds=3), cap=timedelta(seconds=10)))
    relay = Relay(url, "desk", RecordingBroker(), choreography=whole)
    waits = []
    for _ in range(4):
        execute(url, "UPDATE ordersaga_outbox SET due_at = clock_timestamp() WHERE kind = 'watchdog'")
        relay.drain()
        with psycopg2.connect(url) as connection, connection.cursor() as cursor:
            cursor.execute(WAIT)
            waits += [wait for (wait,) in cursor.fetchall()]
    relay.close()
    assert waits == [3, 6, 10, 10], "seconds"


HELD = "UPDATE ordersaga_outbox SET due_at = clock_timestamp() WHERE kind = 'watchdog'"


def reminders(relay: Relay, broker: RecordingBroker, times: int, url: str) -> int:
    """Count the reminders that leave when the watchdog comes due ``times`` times."""
    before = len(broker.envelopes)
    for _ in range(times):
        execute(url, HELD)
        relay.drain()
    return sum(envelope.topic == WATCHDOG for envelope in broker.envelopes[before:])


def test_a_reminder_waits_while_messages_wait_in_a_queue(url: str) -> None:
    start_sagas(url, 1)
    queued, stopped = [5], [False]
    relay = Relay(
        url,
        "desk",
        broker := RecordingBroker(),
        queue_depth=lambda: queued[0],
        has_unconsumed_queue=lambda: stopped[0],
    )
    relay.QUEUE_DEPTH_TTL = 0.0
    assert reminders(relay, broker, 2 * Relay.MAX_HELD_REMINDERS, url) == 0, "the queue does not change"
    queued[0] = 4
    assert reminders(relay, broker, 1, url) == 1, "the queue is consumed, and never empty"
    assert reminders(relay, broker, Relay.MAX_HELD_REMINDERS - 1, url) == Relay.MAX_HELD_REMINDERS - 1

    stopped[0] = True
    assert reminders(relay, broker, 5, url) == 0, "no consumer is connected"

    queued[0] = 0
    assert reminders(relay, broker, 1, url) == 1
    relay.close()
