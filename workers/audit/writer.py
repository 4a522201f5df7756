"""The participant ``audit``: it stores the events of every saga, and all dead letters.

Both writers are idempotent, and do not raise for the content of a signal: text that PostgreSQL cannot store
(NUL, lone surrogates) is written with replacement characters.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any, Literal

import orjson
from django.db.backends.base.base import BaseDatabaseWrapper

from ordersaga.contrib.django import DjangoDatabase
from ordersaga.participant import Event, Participant
from ordersaga.sql import array
from webapp.audit.models import SagaEvent
from workers.settings import settings

# Events of a pack share most values, and ids need no quoting: this costs PostgreSQL half as much as a JSON
# object for each event. The texts are one JSON array: separate arrays cost the driver five times more.
EVENTS = """
    INSERT INTO audit_sagaevent
        (kind, name, participant, step, task_id, attempt,
        event_id, saga_id, cause, said_at, again, reason, data)
    SELECT %s, %s, %s, nullif(%s, ''), nullif(%s, ''), %s,
        event.id, event.saga, event.cause, event.at, event.again, event.texts ->> 0, (event.texts -> 1)::jsonb
    FROM ROWS FROM (unnest(%s::uuid[]), unnest(%s::uuid[]), unnest(%s::uuid[]), unnest(%s::timestamptz[]),
        unnest(%s::bool[]), json_array_elements(%s::json)) AS event (id, saga, cause, at, again, texts)
    ON CONFLICT (event_id) DO NOTHING
"""
DEAD_LETTERS = """
    INSERT INTO audit_deadletter
        (key, source, participant, saga_id, step, topic, error, message, traceback,
        body, digest, headers, attempts)
    SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::uuid[], %s::text[], %s::text[], %s::text[],
        %s::text[], %s::text[], %s::bytea[], %s::text[], %s::jsonb[], %s::int[])
    ON CONFLICT (key) DO NOTHING
"""
KINDS = frozenset(SagaEvent.Kind.values)
NAME = 200
"""The longest name of a step or an exception in characters, because both are indexed."""
DEAD_LETTER = "dead letter"
"""The engine's notice that a participant gave up a step and kept its signal as a dead letter."""


@dataclass(frozen=True, slots=True)
class NewDeadLetter:
    """A dead letter to store.

    :ivar key: identifies the dead letter, so that repeated deliveries are one row.
    :ivar participant: the participant that gave it up, or the queue where it died.
    :ivar body: undecoded.
    """

    source: Literal["participant", "broker", "unheard"]
    key: str
    participant: str
    body: bytes
    topic: str = ""
    saga: str | None = None
    step: str | None = None
    error: str = ""
    message: str = ""
    traceback: str = ""
    headers: Mapping[str, Any] = field(default_factory=dict)
    attempts: int = 1


def write(events: Sequence[Event], db: BaseDatabaseWrapper) -> None:
    """Store events, and the dead letters among them."""
    write_events(events, db)
    write_dead_letters(dead_letters_of(events), db)


def write_events(events: Iterable[Event], db: BaseDatabaseWrapper) -> None:
    """Insert ``events``, one statement for each pack; existing events are skipped."""
    # a fixed order, so that two workers with the same events do not deadlock
    ordered = sorted(
        ((_common(event), event.at, event.id, event) for event in events), key=itemgetter(0, 1, 2)
    )
    with db.cursor() as cursor:
        for common, pack in groupby(ordered, key=itemgetter(0)):
            cursor.execute(EVENTS, [*common, *_columns([event for *_, event in pack])])


def write_dead_letters(dead_letters: Iterable[NewDeadLetter], db: BaseDatabaseWrapper) -> None:
    """Insert ``dead_letters`` with one statement; existing ones are skipped."""
    rows = sorted((_row(dead_letter) for dead_letter in dead_letters), key=lambda row: str(row[0]))
    if rows:
        with db.cursor() as cursor:
            cursor.execute(DEAD_LETTERS, [list(column) for column in zip(*rows, strict=True)])


def dead_letters_of(events: Iterable[Event]) -> list[NewDeadLetter]:
    """The dead letters that notices among ``events`` contain."""
    dead_letters = []
    for event in events:
        notice = json.loads(event.data) if event.topic == "notice" else {}
        if notice.get("what") == DEAD_LETTER:
            dead_letter = NewDeadLetter(
                source="participant",
                key=event.id,
                participant=event.participant,
                body=str(notice["signal"]).encode(errors="replace"),
                topic=notice["topic"],
                saga=event.saga,
                step=notice["step"],
                error=notice["error"],
                message=event.reason or "",
                traceback=notice["traceback"],
                attempts=notice["attempts"],
            )
            dead_letters.append(dead_letter)
    return dead_letters


def _common(event: Event) -> tuple[str, str, str, str, str, int]:
    """The values that events of a pack share: kind, name, participant, step, task, attempt; "" if missing."""
    kind, _, name = event.topic.partition(".")
    if kind == "notice":
        name = str(json.loads(event.data).get("what", kind))
    known = kind if kind in KINDS else "notice"
    return known, _clean(name or kind), event.participant, event.step or "", event.task or "", event.attempt


def _columns(events: Sequence[Event]) -> list[str]:
    """Ids, sagas, causes, times and ``again`` as arrays without quotes; reasons and data as one JSON text."""
    texts = [
        (
            _clean(e.reason),
            orjson.Fragment(e.data if _is_storable(e.data) else json.dumps(_clean(json.loads(e.data)))),
        )
        for e in events
    ]
    columns = (
        (e.id for e in events),
        (e.saga for e in events),
        (e.cause or "NULL" for e in events),
        (e.at for e in events),
        ("t" if e.again else "f" for e in events),
    )
    return [*map(array, columns), orjson.dumps(texts).decode()]


def _row(dead_letter: NewDeadLetter) -> tuple[Any, ...]:
    name = f"{dead_letter.source}\0{dead_letter.participant}\0{dead_letter.key}".encode(errors="replace")
    texts = (dead_letter.topic, dead_letter.error[:NAME], dead_letter.message, dead_letter.traceback)
    headers = json.dumps(_clean(dict(dead_letter.headers)), default=lambda value: _clean(str(value)))
    digest = hashlib.sha256(dead_letter.body).hexdigest()
    return (
        *(
            hashlib.sha256(name).hexdigest(),
            dead_letter.source,
            dead_letter.participant,
            dead_letter.saga,
            dead_letter.step and dead_letter.step[:NAME],
        ),
        *(_clean(text) for text in texts),
        *(dead_letter.body, digest, headers, dead_letter.attempts),
    )


def _is_storable(text: str) -> bool:
    """Whether PostgreSQL's jsonb can certainly store this JSON text."""
    return "\\u0000" not in text and "\\ud" not in text and "\\uD" not in text


def _clean(value: Any) -> Any:
    """Replace NUL and lone surrogates, which PostgreSQL cannot store, in all nested texts."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_clean(str(key)): _clean(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(inner) for inner in value]
    if isinstance(value, float) and not -1e308 < value < 1e308:
        return str(value)
    return value


audit = participant = Participant(
    "audit", database=DjangoDatabase("default", direct=settings().orders_direct_url)
)
participant.observe(write)
