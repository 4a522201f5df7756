"""The audit trail only grows, and stores each event and each dead letter once."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from ordersaga.ids import new_id
from ordersaga.participant import Event
from tests.support.time_scale import scaled
from webapp.audit.models import DeadLetter, SagaEvent
from workers.audit.writer import NewDeadLetter, write, write_dead_letters, write_events

AT = "2026-01-02T03:04:05.678+00:00"

pytestmark = pytest.mark.usefixtures("orders_database")


def event(topic: str = "signal.StockReserved", *, data: str = '{"order": "1"}', **changed: Any) -> Event:
    result: dict[str, Any] = {
        "id": new_id(),
        "saga": new_id(),
        "cause": new_id(),
        "topic": topic,
        "participant": "inventory",
        "step": "inventory.reserve_stock",
        "task": "t-1",
        "attempt": 1,
        "again": False,
        "at": AT,
        "reason": None,
        "data": data,
    }
    return Event(**{**result, **changed})


def heard(*events: Event) -> None:
    with transaction.atomic():
        write(events, connection)


def buried(**changed: Any) -> Event:
    data = {
        "what": "dead letter",
        "step": "inventory.reserve_stock",
        "topic": "signal.OrderPlaced",
        "attempts": 5,
        "error": "builtins.ValueError",
        "traceback": "Traceback …",
        "signal": '{"order":"1"}',
        **changed,
    }
    return event("notice", data=json.dumps(data), reason="ValueError: no")


def test_an_event_is_stored_with_cause_task_attempt_and_times() -> None:
    result = event(again=True, attempt=3)
    heard(result)
    row = SagaEvent.objects.get()
    assert (str(row.event_id), str(row.saga_id), str(row.cause)) == (result.id, result.saga, result.cause)
    assert (row.kind, row.name, row.participant, row.step) == (
        "signal", "StockReserved", "inventory", "inventory.reserve_stock",
    )  # fmt: skip
    assert (row.task_id, row.attempt, row.again, row.data) == ("t-1", 3, True, {"order": "1"})
    assert row.said_at.isoformat(timespec="milliseconds") == AT
    assert row.heard_at > row.said_at


@pytest.mark.parametrize(
    ("topic", "data", "kind", "name"),
    [
        ("refusal.OutOfStock", "{}", "refusal", "OutOfStock"),
        ("answer", "{}", "answer", "answer"),
        ("attention", "{}", "attention", "attention"),
        ("notice", '{"what": "barred"}', "notice", "barred"),
        ("notice", "{}", "notice", "notice"),
        ("novelty.Thing", "{}", "notice", "Thing"),
    ],
)
def test_every_kind_of_topic_is_stored(topic: str, data: str, kind: str, name: str) -> None:
    heard(event(topic, data=data))
    row = SagaEvent.objects.get()
    assert (row.kind, row.name) == (kind, name)


def test_a_repeated_event_adds_no_row() -> None:
    events = [event() for _ in range(400)]
    heard(*events)
    heard(*events[::-1], event())
    assert SagaEvent.objects.count() == 401


def test_a_sagas_events_are_read_in_order() -> None:
    saga = new_id()
    later, first = event(saga=saga, at="2026-01-02T03:04:06+00:00"), event(saga=saga, at=AT)
    heard(later, first)
    assert [str(e.event_id) for e in SagaEvent.objects.filter(saga_id=saga)] == [first.id, later.id]


def test_two_workers_with_the_same_events_do_not_deadlock() -> None:
    events = [event() for _ in range(400)]
    together = Barrier(2)

    def work(mine: list[Event]) -> None:
        try:
            with transaction.atomic():
                connection.ensure_connection()
                together.wait(timeout=scaled(20))
                write_events(mine, connection)
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(work, [events, events[::-1]]))
    assert SagaEvent.objects.count() == 400


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_sagaevent SET name = ''",
        "DELETE FROM audit_sagaevent",
        "TRUNCATE audit_sagaevent CASCADE",
    ],
)
def test_the_trail_cannot_be_changed(statement: str) -> None:
    heard(event())
    with pytest.raises(DatabaseError, match="append-only"), connection.cursor() as cursor:
        cursor.execute(statement)
    assert SagaEvent.objects.count() == 1


@pytest.mark.parametrize(
    "data", ['{"a": "x\\u0000y"}', '{"a": "\\ud800"}', '{"a": ["\\uDFFF"]}', '{"a": "\\\\u0000"}']
)
def test_text_that_postgresql_rejects_does_not_stop_the_trail(data: str) -> None:
    heard(event(data=data, reason="no\0thing \ud800"))
    assert SagaEvent.objects.get().data.keys() == {"a"}


def test_a_given_up_signal_is_in_the_trail_and_the_dead_letters() -> None:
    result = buried()
    heard(result, event())
    heard(result)
    dead_letter = DeadLetter.objects.get()
    assert (dead_letter.source, dead_letter.participant, str(dead_letter.saga_id)) == (
        "participant",
        "inventory",
        result.saga,
    )
    assert (dead_letter.topic, dead_letter.step, dead_letter.attempts) == (
        "signal.OrderPlaced",
        "inventory.reserve_stock",
        5,
    )
    assert (dead_letter.error, dead_letter.message) == ("builtins.ValueError", "ValueError: no")
    assert bytes(dead_letter.body) == b'{"order":"1"}'
    assert SagaEvent.objects.filter(name="dead letter").count() == 1


def test_a_dead_message_is_stored_unchanged_for_each_delivery() -> None:
    body = bytes(range(256))
    dead_letter = NewDeadLetter(
        "broker",
        "message-1",
        "inventory",
        body,
        headers={"x-death": [{"count": 1, "odd": b"\x00"}], "n\0": 1},
    )
    for _ in range(2):
        write_dead_letters([dead_letter, dead_letter], connection)
    write_dead_letters([NewDeadLetter("broker", "message-2", "inventory", body)], connection)
    assert [bytes(row.body) for row in DeadLetter.objects.all()] == [body, body]
    assert len({row.digest for row in DeadLetter.objects.all()}) == 1
