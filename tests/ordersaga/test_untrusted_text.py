"""Envelopes and statements keep any text of any field unchanged and uninterpreted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
import psycopg2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordersaga import Saga, Signal
from ordersaga.envelope import PackHeader, SignalRow, encode_envelope, encode_pack, encode_row, read_packs
from ordersaga.errors import EnvelopeError
from ordersaga.ids import new_id
from ordersaga.outbox import timer_text
from ordersaga.signing import Keyring
from ordersaga.sql import array, text_array
from ordersaga.trace import is_traceparent
from tests.support.databases import Databases
from tests.support.postgres import Postgres

ANY_TEXT = st.text(st.characters(exclude_categories=())) | st.sampled_from(
    ['"', "\\", "%1$s", "%", "\0", "\ud800", '","x":"', "]}]}", "{}", ",", "\u2028", "null"]
)
"""Including lone surrogates, and texts with a meaning in JSON, in PostgreSQL's arrays and in format()."""
SOME_TEXT = st.none() | ANY_TEXT
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
FORGED = f'{TRACE}","x",{{}}]]}},{{"participant":"orders","step":null,"task":null,"attempt":1,"signals":[["'
NOT_TRACES = (
    FORGED, "", "00-abc-def-01", TRACE.upper(), TRACE + "\n", " " + TRACE, TRACE + "-00", f"ff{TRACE[2:]}",
    f"00-{'0' * 32}-00f067aa0ba902b7-01", f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01",
)  # fmt: skip


def kept(text: str | None) -> str | None:
    """Return a text as packing leaves it: UTF-8 has no lone surrogates."""
    return None if text is None else text.encode(errors="replace").decode()


@given(st.lists(SOME_TEXT, min_size=8, max_size=8), ANY_TEXT)
def test_any_text_in_any_field_is_read_as_it_was(texts: list[str | None], data: str) -> None:
    id_, cause, at, trace, reason, step, task, participant = texts
    saga = new_id()
    head = PackHeader(participant or "", step, task, 2)
    row = SignalRow(id_ or "", saga, cause, 1, at or "", 0, trace, reason, json.dumps({"text": kept(data)}))

    body = encode_envelope(data, [encode_pack(head, [encode_row(row), encode_row(row)])])

    [(read, rows)] = read_packs(body)
    assert read == (kept(head.participant), kept(step), kept(task), 2)
    wanted = (
        kept(row.id),
        kept(row.saga),
        kept(cause),
        1,
        kept(row.at),
        0,
        kept(trace),
        kept(reason) or None,
        {"text": kept(data)},
    )
    assert [each[:-1] for each in rows] == [wanted, wanted]
    assert orjson.loads(body)["topic"] == kept(data)


@given(ANY_TEXT)
def test_a_saga_id_that_is_not_a_uuid_is_refused(saga: str) -> None:
    """Logs would show it, and it would be re-sent and retried, though no database can store it."""
    row = SignalRow("", saga, None, 1, "", 0, None, None, "{}")
    with pytest.raises(EnvelopeError, match="a saga's id is not a UUID"):
        read_packs(
            encode_envelope(
                "signal.Named", [encode_pack(PackHeader("orders", None, None, 1), [encode_row(row)])]
            )
        )


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT)
def test_any_text_in_a_signature_is_refused(signature: str, id_: str, topic: str) -> None:
    keys = Keyring([("a", b"0123456789abcdef")])
    for each in (signature, f"a:{signature}"):
        with pytest.raises(EnvelopeError):
            keys.verify(each, id_, topic, 1, b"body")


@pytest.fixture(scope="module")
def query(postgres: Postgres) -> Iterator[Callable[..., Any]]:
    """Returns the only value of a query."""
    with postgres.connect("postgres") as cursor:

        def value(statement: str, *values: object) -> Any:
            cursor.execute(statement, values)
            return cursor.fetchone()[0]

        yield value


@given(participant=ANY_TEXT)
def test_a_timer_is_an_envelope_for_any_participant_name(query: Callable[..., Any], participant: str) -> None:
    text = timer_text(participant)
    saga = new_id()
    filled = query("SELECT format(%s, %s, %s)", text, "0-0", saga)
    [(head, [row])] = read_packs(encode_envelope("watchdog", [filled]))
    assert (head.participant, row.id, row.saga, row.data) == (kept(participant), "0-0", saga, {})


@given(texts=st.lists(ANY_TEXT.filter(lambda text: "\0" not in text and kept(text) == text)))
def test_an_array_of_texts_keeps_its_texts(query: Callable[..., Any], texts: list[str]) -> None:
    assert query("SELECT %s::text[]", text_array(texts)) == texts


@pytest.mark.parametrize("value", ["a,b", "{", "}", '"', "\\", ""])
def test_an_array_of_ids_refuses_other_text(value: str) -> None:
    with pytest.raises(ValueError, match="ids and numbers"):
        array([new_id(), value])


def test_arrays_of_ids_and_numbers_are_written_plainly() -> None:
    assert [array([]), array([1]), array(["a-1", "NULL"])] == ["{}", "{1}", "{a-1,NULL}"]


@pytest.mark.parametrize("text", NOT_TRACES)
def test_an_invalid_traceparent_is_recognised(text: str) -> None:
    assert not is_traceparent(text)


def test_a_traceparent_of_any_version_but_ff_is_valid() -> None:
    assert is_traceparent(TRACE)
    assert is_traceparent(f"fe{TRACE[2:]}")


# -- traces of started sagas -----------------------------------------------------------------------------


class Named(Signal):
    thing: str


SAGA = Saga(
    "toy", begins_with=Named, initiator="orders", participants=["orders"], deadline=timedelta(minutes=1)
)
WRITING = "begun AS (SELECT %(thing)s::text AS number)"


def start_with(db: Any, thing: str = "tea", trace: str | None = None) -> None:
    SAGA.start_with(
        WRITING, {"thing": thing}, lambda mark: Named(thing=mark), db=db, saga=new_id(), trace=trace
    )


def rows_of(cursor: Any) -> list[SignalRow[Any]]:
    """Return the first signals of all sagas."""
    cursor.execute("SELECT payload FROM ordersaga_pack ORDER BY id")
    return [
        row
        for (payload,) in cursor.fetchall()
        for _, rows in read_packs(encode_envelope("t", [payload]))
        for row in rows
    ]


def test_a_crafted_trace_cannot_inject_anything(databases: Databases) -> None:
    """Each of the three ways to start a saga names the parameter; a valid trace is kept."""
    with closing(psycopg2.connect(databases.orders)) as db:
        for begin in (
            lambda trace: SAGA.start(Named(thing="a"), db=db, trace=trace),
            lambda trace: SAGA.start_many({new_id(): Named(thing="a")}, db=db, trace=trace),
            lambda trace: start_with(db, trace=trace),
        ):
            with pytest.raises(ValueError, match="`trace` is not a W3C traceparent"):
                begin(FORGED)
            begin(TRACE)
        assert [row.trace for row in rows_of(db.cursor())] == [TRACE] * 3


def test_a_number_field_of_any_text_is_only_text(databases: Databases) -> None:
    things = ['"', 'x"}]]},{"participant":"forged', "\\", '\\"', "\n", "7"]
    with closing(psycopg2.connect(databases.orders)) as db:
        for thing in things:
            start_with(db, thing)
        assert [row.data for row in rows_of(db.cursor())] == [{"thing": thing} for thing in things]


def test_ids_of_many_sagas_are_read_as_that_of_one(databases: Databases) -> None:
    saga = UUID(new_id())
    with closing(psycopg2.connect(databases.orders)) as db:
        with pytest.raises(ValueError, match="the same UUID"):
            SAGA.start_many({str(saga): Named(thing="a"), saga.hex: Named(thing="b")}, db=db)
        with pytest.raises(ValueError, match="badly formed"):
            SAGA.start_many({'x","y': Named(thing="a")}, db=db)
        SAGA.start_many({f"{{{str(saga).upper()}}}": Named(thing="a")}, db=db)
        assert [row.saga for row in rows_of(db.cursor())] == [str(saga)]
