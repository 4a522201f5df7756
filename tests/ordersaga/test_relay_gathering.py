"""The relay gathers a stream of signals into full envelopes while the workers are busy."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from ordersaga.claim import OutgoingEnvelope
from ordersaga.envelope import (
    FULL_SIGNALS,
)
from ordersaga.relay import Relay
from ordersaga.sql.outbox import OBSERVERS
from tests.ordersaga.relay_environment import (
    RecordingBroker,
    database,
    run_relay,
    start_sagas,
    url,
)
from tests.support.polling import eventually

__all__ = ["database", "run_relay", "url"]


def test_single_signals_leave_at_once_and_a_stream_is_gathered(
    url: str, run_relay: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # so that the signals of this test form a stream, however slowly they start
    monkeypatch.setattr(Relay, "STREAM", 0.1)
    monkeypatch.setattr(Relay, "BURST", 3)
    broker = RecordingBroker()
    run_relay(broker, linger=timedelta(seconds=3))
    for number in range(1, 5):
        start_sagas(url, number)
        eventually(lambda number=number: number in broker.numbers, 2, "a lone signal leaves at once")  # type: ignore[misc]
    start_sagas(url, 5)
    start_sagas(url, 6)
    eventually(lambda: len(broker.numbers) == 6, 10, "those of the stream")
    assert [envelope.signals for envelope in broker.envelopes] == [1, 1, 1, 1, 2]


@pytest.mark.parametrize(
    ("every", "packs", "gathers"),
    [(0.025, 1, False), (0.010, 1, True), (0.5, 50, True), (0.5, 5, False)],
    ids=["twenty orders a second", "a stream", "few rounds that carry much", "few rounds that carry little"],
)
def test_gathering_counts_packs_whatever_the_round_takes(
    every: float, packs: int, gathers: bool, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("ordersaga.leaky_bucket.time", SimpleNamespace(monotonic=lambda: now[0]))
    relay = Relay(url, "desk", RecordingBroker())
    result = []
    for _ in range(40):
        now[0] += every
        result.append(relay._decide_linger([OutgoingEnvelope("", "signal.Begun", None, packs, b"", packs)]))
    assert result[-1] is gathers


def test_observer_signals_and_full_envelopes_are_not_gathered(url: str) -> None:
    relay = Relay(url, "desk", RecordingBroker())
    assert not relay._decide_linger(
        [
            OutgoingEnvelope("", "signal.Begun", OBSERVERS, 90, b"", 90),
            OutgoingEnvelope("", "notice", None, 90, b"", 90),
        ]
    )
    assert not relay._decide_linger([OutgoingEnvelope("", "signal.Begun", None, FULL_SIGNALS, b"", 90)])
    assert relay._decide_linger([OutgoingEnvelope("", "signal.Begun", None, 90, b"", 90)])


def test_the_relay_gathers_while_the_workers_are_behind(url: str) -> None:
    waiting = [0]
    relay = Relay(url, "desk", RecordingBroker(), queue_depth=lambda: waiting[0])
    few = [OutgoingEnvelope("", "signal.Begun", None, 3, b"", 3)]
    relay._decide_linger(few)
    assert not relay._decide_linger(few)
    waiting[0], relay._query_at = Relay.BACKLOG_THRESHOLD, 0.0
    assert relay._decide_linger(few)


def test_longer_queues_make_the_relay_gather_longer(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Relay, "QUEUE_DEPTH_TTL", 0.0)  # no answer is cached
    waiting = [0]
    relay = Relay(
        url, "desk", RecordingBroker(), linger=timedelta(milliseconds=25), queue_depth=lambda: waiting[0]
    )
    pauses = []
    for waiting[0] in (0, 4, 1000):
        pauses.append(relay._long_linger())
    assert pauses == [0.025, pytest.approx(0.2), 1.0]
