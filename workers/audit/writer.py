"""What the audit participant does with what it hears: the trail of every saga, and the one desk of dead
letters.

Both writers give the same result however often they are called with the same things, and never raise for what
a signal says: text that PostgreSQL cannot hold (NUL, lone surrogates) is written with replacement characters.
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

# Events of one pack have most in common, and ids need no quoting: that costs PostgreSQL half of what a JSON
# object for each event does. As arrays of their own the texts would cost the driver five times as much, so
# they travel as one JSON array.
EVENTS = """
    INSERT INTO audit_sagaevent
        (kind, name, participant, step, task_id, attempt, event_id, saga_id, cause, said_at, again, reason, data)
    SELECT %s, %s, %s, nullif(%s, ''), nullif(%s, ''), %s, event.id, event.saga, event.cause, event.at, event.again,
        event.told ->> 0, (event.told -> 1)::jsonb
    FROM ROWS FROM (unnest(%s::uuid[]), unnest(%s::uuid[]), unnest(%s::uuid[]), unnest(%s::timestamptz[]),
        unnest(%s::bool[]), json_array_elements(%s::json)) AS event (id, saga, cause, at, again, told)
    ON CONFLICT (event_id) DO NOTHING
"""
LETTERS = """
    INSERT INTO audit_deadletter
        (key, source, participant, saga_id, step, topic, error, message, traceback, body, digest, headers, attempts)
    SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::uuid[], %s::text[], %s::text[], %s::text[], %s::text[],
                         %s::text[], %s::bytea[], %s::text[], %s::jsonb[], %s::int[])
    ON CONFLICT (key) DO NOTHING
"""
KINDS = frozenset(SagaEvent.Kind.values)
NAME = 200
"""Characters of a step's or an exception's name: both stand in indexes, which hold no long texts."""
DEAD_LETTER = "dead letter"
"""What the engine's notice of a buried signal is called."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter on its way to the desk.

    :ivar key: the same text for each delivery of the same dead letter, so that it makes one row.
    :ivar participant: who gave it up, or the queue where it died.
    :ivar body: as it came, undecoded.
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
    """Write the trail and, for those that tell of a buried signal, the desk."""
    write_events(events, db)
    write_dead_letters(letters_of(events), db)


def write_events(events: Iterable[Event], db: BaseDatabaseWrapper) -> None:
    """Add ``events`` to the trail, those of one pack in one statement; those it has are passed over."""
    # a fixed order, so that two workers with the same events wait for one another and never deadlock
    ordered = sorted(
        ((_common(event), event.at, event.id, event) for event in events), key=itemgetter(0, 1, 2)
    )
    with db.cursor() as cursor:
        for common, pack in groupby(ordered, key=itemgetter(0)):
            cursor.execute(EVENTS, [*common, *_columns([event for *_, event in pack])])


def write_dead_letters(letters: Iterable[Letter], db: BaseDatabaseWrapper) -> None:
    """Add ``letters`` to the desk in one statement; those it has are passed over."""
    rows = sorted((_letter(letter) for letter in letters), key=lambda row: str(row[0]))
    if rows:
        with db.cursor() as cursor:
            cursor.execute(LETTERS, [list(column) for column in zip(*rows, strict=True)])


def letters_of(events: Iterable[Event]) -> list[Letter]:
    """The buried signals that ``events`` tell of."""
    letters = []
    for event in events:
        told = json.loads(event.data) if event.topic == "notice" else {}
        if told.get("what") == DEAD_LETTER:
            letter = Letter(
                source="participant",
                key=event.id,
                participant=event.participant,
                body=str(told["signal"]).encode(errors="replace"),
                topic=told["topic"],
                saga=event.saga,
                step=told["step"],
                error=told["error"],
                message=event.reason or "",
                traceback=told["traceback"],
                attempts=told["attempts"],
            )
            letters.append(letter)
    return letters


def _common(event: Event) -> tuple[str, str, str, str, str, int]:
    """What the events of a pack share: kind, name, participant, step, task, attempt; "" where
    there is none.
    """
    kind, _, name = event.topic.partition(".")
    if kind == "notice":
        name = str(json.loads(event.data).get("what", kind))
    known = kind if kind in KINDS else "notice"
    return known, _clean(name or kind), event.participant, event.step or "", event.task or "", event.attempt


def _columns(events: Sequence[Event]) -> list[str]:
    """Ids, sagas, causes, times and repeats as arrays, which need no quotes; reasons and data as one JSON
    text.
    """
    told = [
        (
            _clean(e.reason),
            orjson.Fragment(e.data if _holds(e.data) else json.dumps(_clean(json.loads(e.data)))),
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
    return [*map(array, columns), orjson.dumps(told).decode()]


def _letter(letter: Letter) -> tuple[Any, ...]:
    name = f"{letter.source}\0{letter.participant}\0{letter.key}".encode(errors="replace")
    texts = (letter.topic, letter.error[:NAME], letter.message, letter.traceback)
    headers = json.dumps(_clean(dict(letter.headers)), default=lambda value: _clean(str(value)))
    digest = hashlib.sha256(letter.body).hexdigest()
    return (
        *(
            hashlib.sha256(name).hexdigest(),
            letter.source,
            letter.participant,
            letter.saga,
            letter.step and letter.step[:NAME],
        ),
        *(_clean(text) for text in texts),
        *(letter.body, digest, headers, letter.attempts),
    )


def _holds(text: str) -> bool:
    """Whether PostgreSQL's jsonb surely holds this JSON text as it is."""
    return "\\u0000" not in text and "\\ud" not in text and "\\uD" not in text


def _clean(value: Any) -> Any:
    """``value`` without what PostgreSQL cannot hold: NUL and lone surrogates, in texts however deep."""
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
