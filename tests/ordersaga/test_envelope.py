"""Envelopes are packed as text, signed as a whole, and read in every version ever used."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordersaga import DeclarationError, Refusal, Signal
from ordersaga.claim import OutboxRow, build_envelopes
from ordersaga.envelope import (
    FULL_SIGNALS,
    PackHeader,
    Reader,
    SignalRow,
    encode_envelope,
    encode_pack,
    encode_row,
    read_packs,
    read_rows,
    split_rows,
)
from ordersaga.errors import ConfigurationError, EnvelopeError
from ordersaga.ids import derived_id, new_id
from ordersaga.signing import Keyring

HEAD = PackHeader("orders", "confirm", "task-1", 2)
SECRET = b"0123456789abcdef0123456789abcdef"


class Price(Signal, version=3):
    cents: int

    @classmethod
    def upcast(cls, version: int, data: dict[str, Any]) -> dict[str, Any]:
        if version == 2:
            return {"cents": data["euros"] * 100}
        return super().upcast(version, data)


def row(data: object, *, version: int = 3, saga: str | None = None) -> SignalRow[str]:
    return SignalRow(
        new_id(),
        saga or new_id(),
        None,
        version,
        "2026-01-01T00:00:00.000+00:00",
        0,
        None,
        None,
        json.dumps(data),
    )


def body(*rows: SignalRow[str], topic: str = "signal.Price") -> bytes:
    return encode_envelope(topic, [encode_pack(HEAD, [encode_row(r) for r in rows])])


def test_an_encoded_envelope_decodes_to_itself() -> None:
    written = row({"cents": 7})._replace(cause=new_id(), trace="00-abc-def-01", reason='too "late"', again=1)
    [(head, [read])] = read_packs(body(written))
    assert head == HEAD
    assert read.by == "orders"
    assert read == (*written[:-2], {"cents": 7}, "orders")


@given(st.text(max_size=50), st.text(max_size=50))
def test_any_text_survives_encoding(reason: str, value: str) -> None:
    reason = reason.encode(errors="ignore").decode()
    value = value.encode(errors="ignore").decode()
    [read] = read_rows(body(row({"t": value})._replace(reason=reason or None)))
    assert (read.data, read.reason) == ({"t": value}, reason or None)


@pytest.mark.parametrize("again", [True, False])
def test_a_boolean_again_flag_is_read_as_a_number(again: bool) -> None:
    [read] = read_rows(body(row({"cents": 5})._replace(again=again)))
    assert read.again is int(again)


def test_older_versions_are_translated_and_newer_ones_are_set_aside() -> None:
    good, bad = Reader(Price).read(
        body(row({"cents": 5}), row({"euros": 2}, version=2), row({"x": 1}, version=4))
    )
    assert [r.data for r in good] == [Price(cents=5), Price(cents=200)]
    assert "newer than 3" in str(bad[0].error)


def test_retired_versions_and_unknown_fields_are_set_aside() -> None:
    good, bad = Reader(Price).read(
        body(row({}, version=1), row({"cents": 1, "more": 2}), row({"cents": "x"}))
    )
    assert not good
    assert "override upcast()" in str(bad[0].error)
    assert "more" in str(bad[1].error)
    assert "cents" in str(bad[2].error)


def test_garbage_is_not_an_envelope() -> None:
    for rubbish in (b"", b"\xff\x00", b"[]", b'{"packs": 3}', b'{"packs": [{"signals": [[1]]}]}'):
        with pytest.raises(EnvelopeError):
            read_rows(rubbish)


def test_a_signature_covers_id_topic_count_and_body() -> None:
    keys = Keyring([("a", SECRET)])
    signature = keys.sign("id", "signal.Price", 1, b"body")
    keys.verify(signature, "id", "signal.Price", 1, b"body")
    for forged in (
        ("x", "signal.Price", 1, b"body"),
        ("id", "signal.X", 1, b"body"),
        ("id", "signal.Price", 2, b"body"),
    ):
        with pytest.raises(EnvelopeError, match="wrong signature"):
            keys.verify(signature, *forged)
    with pytest.raises(EnvelopeError, match="wrong signature"):
        keys.verify(signature, "id", "signal.Price", 1, b"bodY")
    with pytest.raises(EnvelopeError, match="not signed"):
        keys.verify("", "id", "signal.Price", 1, b"body")


def test_two_keys_are_accepted_and_one_signs() -> None:
    old, both = Keyring([("old", SECRET)]), Keyring([("new", SECRET[::-1]), ("old", SECRET)])
    both.verify(old.sign("i", "t", 1, b""), "i", "t", 1, b"")
    assert both.sign("i", "t", 1, b"").startswith("new:")
    with pytest.raises(EnvelopeError, match="unknown key 'new'"):
        old.verify(both.sign("i", "t", 1, b""), "i", "t", 1, b"")


def test_weak_keys_are_refused() -> None:
    for keys, word in (
        ([], "no signing key"),
        ([("a", b"short")], "16 bytes"),
        ([("a", SECRET), ("a", SECRET)], "share an id"),
    ):
        with pytest.raises(ConfigurationError, match=word):
            Keyring(keys)
    assert Keyring.parse(f"a:{SECRET.decode()}, b:{SECRET.decode()}").sign("i", "t", 1, b"").startswith("a:")


def outbox_row(topic: str, recipient: str | None, signals: int, payload: str = "{}") -> OutboxRow:
    return OutboxRow(
        1,
        "said",
        topic,
        recipient,
        signals,
        payload,
        None,
        False,
        0.0,
        datetime.now(UTC),
        None,
        None,
        None,
        0,
    )


def test_packs_of_one_topic_share_an_envelope_until_it_is_full() -> None:
    rows = [
        outbox_row("signal.A", None, 150),
        outbox_row("signal.B", None, 1),
        outbox_row("signal.A", None, 250),
        outbox_row("signal.A", None, 1),
        outbox_row("signal.A", "desk", 1),
    ]
    sent = {(p.topic, p.recipient, p.signals) for p in build_envelopes(rows)}
    assert sent == {
        ("signal.A", None, 400),
        ("signal.A", None, 1),
        ("signal.B", None, 1),
        ("signal.A", "desk", 1),
    }


def test_rows_are_cut_so_that_each_part_fills_one_envelope() -> None:
    def sizes(rows: list[str]) -> list[int]:
        return [part.stop - part.start for part in split_rows(rows)]

    assert sizes([]) == []
    assert sizes(["x"] * (FULL_SIGNALS + 1)) == [FULL_SIGNALS, 1]
    assert sizes(["x" * 600_000] * 3) == [1, 1, 1]
    assert sizes(["ü" * 300_000] * 3) == [1, 1, 1], "bytes count, not characters"


def test_signals_refuse_unknown_fields() -> None:
    class Sized(Signal):
        kilos: float

    with pytest.raises(ValueError, match="kilos"):
        Sized(kilos=float("nan"))
    with pytest.raises(ValueError, match="extra"):
        Sized.model_validate({"kilos": 1, "extra": 2})
    sized = Sized(kilos=1)
    with pytest.raises(ValueError, match="frozen"):
        setattr(sized, "kilos", 2)  # noqa: B010 - the type checker would refuse it, too
    with pytest.raises(DeclarationError, match="version is 0"):

        class Zero(Signal, version=0):
            pass


def test_a_refusal_has_a_reason_in_words() -> None:
    class OutOfMilk(Refusal):
        pass

    assert OutOfMilk().reason() == "Out of milk"


def test_ids_sort_by_time_and_are_version_7() -> None:
    ids = [new_id() for _ in range(2000)]
    assert len(set(ids)) == 2000
    assert {uuid.UUID(i).version for i in ids} == {7}
    assert {uuid.UUID(i).variant for i in ids} == {uuid.RFC_4122}
    assert [i[:10] for i in ids] == sorted(i[:10] for i in ids)


def test_derived_ids_are_version_8_and_sort_beside_their_origin() -> None:
    origins = [new_id() for _ in range(200)]
    ids = [derived_id(origin, part) for origin in origins for part in ("a", "b", "\ud800")]
    assert ids == [derived_id(origin, part) for origin in origins for part in ("a", "b", "\ud800")]
    assert len(set(ids)) == 600
    assert {(uuid.UUID(i).version, uuid.UUID(i).variant) for i in ids} == {(8, uuid.RFC_4122)}
    assert [i[:13] for i in ids[::3]] == [origin[:13] for origin in origins]
