"""The relay cuts large signals and packs into valid envelopes."""

from __future__ import annotations

import psycopg2
import pytest

from ordersaga.envelope import (
    FULL_BYTES,
    MAX_BYTES,
    MAX_SIGNAL_BYTES,
    PackHeader,
    SignalRow,
    encode_pack,
    encode_row,
)
from ordersaga.errors import SignalTooLarge
from ordersaga.ids import new_id
from ordersaga.journal import Journal
from ordersaga.outbox import Outbox, read_emitted
from ordersaga.relay import Relay
from tests.ordersaga.relay_environment import (
    SAGA,
    Begun,
    RecordingBroker,
    count_rows,
    database,
    start_large_sagas,
    url,
)

__all__ = ["database", "url"]


def test_a_claim_respects_its_byte_limit(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ordersaga.claim.CLAIM_BYTES", 1_000_000)
    monkeypatch.setattr("ordersaga.relay.CLAIM_BYTES", 1_000_000)
    for number in range(40):
        start_large_sagas(url, 100_000, number)
    relay, sizes, limits = Relay(url, "desk", broker := RecordingBroker()), [], []
    while relay.drain():
        sizes.append(sum(len(envelope.body) for envelope in broker.envelopes))
        limits.append(relay._limit)
        broker.envelopes.clear()
    relay.close()
    assert sum(sizes) > 4_000_000
    assert max(sizes) < 1_200_000
    assert limits[0] < 30, "the next claim locks few rows that it may not take"


def test_many_large_signals_are_cut_into_valid_envelopes(url: str) -> None:
    start_large_sagas(url, 30_000, *range(400))
    relay = Relay(url, "desk", broker := RecordingBroker())
    while relay.drain():
        pass
    relay.close()
    assert sorted(broker.numbers) == list(range(400))
    assert max(len(envelope.body) for envelope in broker.envelopes) <= 1.1 * FULL_BYTES
    assert {envelope.rows[0].payload.count('"participant"') for envelope in broker.envelopes} == {1}


def test_a_steps_signals_are_cut_into_packs_of_its_journal(url: str) -> None:
    sagas = sorted(new_id() for _ in range(50))
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        begun = Journal(cursor, "desk").begin_step("desk.step", sagas)
        outbox = Outbox(PackHeader("desk", "step", None, 1), notices=False)
        for number, saga in enumerate(sagas):
            outbox.emit(saga, Begun(number=number, text="x" * 50_000))
        outbox.flush(cursor, begun.pack_id)
        entries = Journal(cursor, "desk").read(sagas)
        packs = {entry.saga: [entry.pack_id] for entry in entries if entry.pack_id is not None}
        found = read_emitted(cursor, packs)
        cursor.execute(
            "SELECT max(octet_length(payload)) FROM ordersaga_pack WHERE id = ANY(%s)",
            [[p for [p] in packs.values()]],
        )
        [(largest,)] = cursor.fetchall()
    assert len({pack for [pack] in packs.values()}) == 3
    assert largest <= FULL_BYTES + 1000
    assert [[row.data["number"] for _, row in found[saga]] for saga in sagas] == [
        [number] for number in range(50)
    ]


def test_an_oversized_pack_of_an_old_release_is_cut_by_the_relay(url: str) -> None:
    def row(number: int) -> str:
        data = f'{{"number": {number}, "text": "{"x" * 30_000}"}}'
        return encode_row(
            SignalRow(new_id(), new_id(), None, 1, "2026-01-01T00:00:00.000+00:00", 0, None, None, data)
        )

    payload = encode_pack(PackHeader("desk", None, None, 1), [row(number) for number in range(400)])
    assert len(payload) > MAX_BYTES
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        insert = """
            INSERT INTO ordersaga_outbox (participant, topic, signals, payload)
            VALUES ('desk', 'signal.Begun', 400, %s)
        """
        cursor.execute(insert, [payload])
    relay = Relay(url, "desk", broker := RecordingBroker())
    relay.drain()
    relay.close()
    assert (sorted(broker.numbers), count_rows(url)) == (list(range(400)), 0)
    assert max(len(envelope.body) for envelope in broker.envelopes) <= 1.1 * FULL_BYTES


def test_a_signal_that_is_too_large_is_refused_when_it_is_emitted(url: str) -> None:
    connection = psycopg2.connect(url)
    try:
        with pytest.raises(
            SignalTooLarge, match=r"Begun has 3,\d+,\d+ bytes and a signal may have 3,145,728"
        ):
            SAGA.start(Begun(number=1, text="x" * MAX_SIGNAL_BYTES), db=connection)
        with pytest.raises(SignalTooLarge):
            SAGA.start(Begun(number=1, text="\N{SNOWMAN}" * (MAX_SIGNAL_BYTES // 3)), db=connection)
        SAGA.start(Begun(number=1, text="x" * (MAX_SIGNAL_BYTES - 1000)), db=connection)
        connection.commit()
    finally:
        connection.close()
    assert count_rows(url) == 1
